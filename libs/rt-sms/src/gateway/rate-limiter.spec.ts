import { jest } from '@jest/globals';
import fc from 'fast-check';
import { RateLimiter } from './rate-limiter.js';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** Maximum number of starts in any second. */
function busiest(starts: number[]): number {
  return Math.max(0, ...starts.map((from) => starts.filter((at) => at >= from && at < from + 1_000).length));
}

const arrival = fc.record({
  afterMs: fc.integer({ min: 0, max: 400 }),
  /** Time from the permit to the start. A negative value releases the permit instead. */
  delayMs: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: -1_500, max: 1_500 })),
  /** Time after which the wait is cancelled. */
  patienceMs: fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.integer({ min: 0, max: 2_000 })),
});

it('limits the starts in any sliding second, also of late starts, and grants permits as soon as possible', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(arrival, { maxLength: 80 }), (perSecond, arrivals) => {
      const rate = new RateLimiter(perSecond);
      const starts: { n: number; at: number }[] = [];
      const waiting = new Set<number>();
      let granted = 0;
      arrivals.forEach(({ afterMs, patienceMs, delayMs }, n) => {
        jest.advanceTimersByTime(afterMs);
        waiting.add(n);
        const cancel = rate.acquire((permit) => {
          waiting.delete(n);
          granted++;
          const start = () => {
            granted--;
            starts.push({ n, at: performance.now() });
            permit.start();
          };
          // A send with a permit may still wait for a connection, or never get one.
          if (delayMs === 0) start();
          else if (delayMs < 0) setTimeout(() => (granted--, permit.release()), -delayMs);
          else setTimeout(start, delayMs);
        });
        if (patienceMs !== Infinity) {
          setTimeout(() => {
            cancel();
            waiting.delete(n);
          }, patienceMs);
        }
        // Sends wait only while the last second is full.
        const since = performance.now() - 1_011;
        if (waiting.size > 0)
          expect(starts.filter(({ at }) => at > since).length + granted).toBeGreaterThanOrEqual(perSecond);
      });
      jest.runAllTimers();
      expect(waiting.size).toBe(0);
      expect(busiest(starts.map(({ at }) => at))).toBeLessThanOrEqual(perSecond);
    }),
    { numRuns: 300 },
  );
});

it('grants free permits at once', () => {
  const rate = new RateLimiter(3);
  const starts: number[] = [];
  for (let n = 0; n < 4; n++) {
    rate.acquire((permit) => {
      permit.start();
      starts.push(n);
    });
  }
  expect(starts).toEqual([0, 1, 2]);
  jest.advanceTimersByTime(999);
  expect(starts).toEqual([0, 1, 2]);
  jest.advanceTimersByTime(12);
  expect(starts).toEqual([0, 1, 2, 3]);
});

it('does not count cancelled waits, and has no timer without waits', () => {
  const rate = new RateLimiter(1);
  rate.acquire((permit) => permit.start());
  const cancels = Array.from({ length: 10 }, () => rate.acquire(() => expect(true).toBe(false)));
  expect(jest.getTimerCount()).toBe(1);
  for (const cancel of cancels) cancel();
  expect(jest.getTimerCount()).toBe(0);
  let started = false;
  rate.acquire(() => (started = true));
  jest.advanceTimersByTime(1_011);
  expect(started).toBe(true);
});
