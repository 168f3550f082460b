import { jest } from '@jest/globals';
import fc from 'fast-check';
import { PendingSends } from './pending-sends.js';

/** A send whose end the test decides. */
function work(inFlight: PendingSends) {
  let end!: () => void;
  const done = inFlight.track(() => new Promise<void>((resolve) => (end = resolve)));
  return { done, end };
}

/** Those who wait go a turn after the send has told its caller. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('InFlight', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('does not make anybody wait while nothing is in flight', () => {
    const go = jest.fn();
    new PendingSends().settled(1_000, go);
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('waits for all that runs now, not for what begins later', async () => {
    const inFlight = new PendingSends();
    const [first, second] = [work(inFlight), work(inFlight)];
    const go = jest.fn();
    inFlight.settled(1_000, go);
    const later = work(inFlight);
    second.end();
    await second.done;
    await turn();
    expect(go).not.toHaveBeenCalled();
    first.end();
    await first.done;
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
    later.end();
    await later.done;
    await turn();
    await jest.advanceTimersByTimeAsync(2_000);
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('waits no longer than it was told, and then only once', async () => {
    const inFlight = new PendingSends();
    const slow = work(inFlight);
    const go = jest.fn();
    inFlight.settled(1_000, go);
    await jest.advanceTimersByTimeAsync(999);
    expect(go).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(1);
    expect(go).toHaveBeenCalledTimes(1);
    slow.end();
    await slow.done;
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('lets the caller of the send know before anybody who waits for it', async () => {
    const inFlight = new PendingSends();
    const { done, end } = work(inFlight);
    const order: string[] = [];
    inFlight.settled(1_000, () => order.push('waiter'));
    const told = done.then(() => order.push('caller'));
    end();
    await told;
    await turn();
    expect(order).toEqual(['caller', 'waiter']);
  });

  it('a failed send has settled, too, and its error reaches its caller', async () => {
    const inFlight = new PendingSends();
    const go = jest.fn();
    const failing = inFlight.track(() => Promise.reject(new Error('no')));
    inFlight.settled(1_000, go);
    await expect(failing).rejects.toThrow('no');
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('lets each waiter go exactly when the last send before it has settled', async () => {
    const steps = fc.array(fc.oneof(fc.constant('send' as const), fc.constant('wait' as const), fc.nat({ max: 30 })));
    await fc.assert(
      fc.asyncProperty(steps, async (acts) => {
        const inFlight = new PendingSends();
        const sends: { done: Promise<void>; end: () => void; ended: boolean }[] = [];
        const waiters: { for: typeof sends; gone: number }[] = [];
        const check = () => {
          for (const waiter of waiters) expect(waiter.gone).toBe(waiter.for.every(({ ended }) => ended) ? 1 : 0);
        };
        for (const act of acts) {
          if (act === 'send') sends.push({ ...work(inFlight), ended: false });
          else if (act === 'wait') {
            const waiter = { for: sends.filter(({ ended }) => !ended), gone: 0 };
            waiters.push(waiter);
            inFlight.settled(1_000, () => waiter.gone++);
          } else if (sends[act] && !sends[act].ended) {
            sends[act].ended = true;
            sends[act].end();
            await sends[act].done;
            await turn();
          }
          check();
        }
        for (const send of sends) {
          send.ended = true;
          send.end();
        }
        await Promise.all(sends.map(({ done }) => done));
        await turn();
        check();
        expect(jest.getTimerCount()).toBe(0);
      }),
    );
  });
});
