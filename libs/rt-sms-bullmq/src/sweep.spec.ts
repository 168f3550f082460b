import { jest } from '@jest/globals';
import { Sweep } from './sweep.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** A sweep of a store that fails while `isDown`; `calls` are the ages that were given up, by queue. */
function sweepOf(keepMs: { send: number; check: number; unknown: number }) {
  const store = {
    isDown: false,
    calls: [] as [queue: string, ageMs: number][],
    complaints: 0,
    limits: { sweep: async () => undefined },
    removeCompleted(queue: string, at: number): Promise<void> {
      store.calls.push([queue, Date.now() - at]);
      return store.isDown ? Promise.reject(new Error('down')) : Promise.resolve();
    },
    warnThrottled: () => void store.complaints++,
    clock: { now: () => Date.now() },
  };
  return { store, sweep: new Sweep(store, keepMs) };
}

it('sweeps each queue by its own time, at the start and then at least once an hour, until it is stopped', async () => {
  const { store, sweep } = sweepOf({ send: 3 * DAY_MS, check: DAY_MS, unknown: DAY_MS });
  await sweep.start();
  const once = [
    ['send', 3 * DAY_MS],
    ['check', DAY_MS],
    ['unknown', DAY_MS],
  ];
  expect(store.calls).toEqual(once);
  await jest.advanceTimersByTimeAsync(HOUR_MS);
  expect(store.calls).toEqual([...once, ...once]);
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(store.calls.length).toBeGreaterThanOrEqual(3 * 25);
  sweep.stop();
  const { length } = store.calls;
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(store.calls).toHaveLength(length);
});

it('sweeps more often where rows are kept for a short time only', async () => {
  const { store, sweep } = sweepOf({ send: 4_000, check: DAY_MS, unknown: DAY_MS });
  await sweep.start();
  await jest.advanceTimersByTimeAsync(4_000);
  expect(store.calls).toHaveLength(9);
  sweep.stop();
});

it('after a failure it complains, and tries again within a minute', async () => {
  const { store, sweep } = sweepOf({ send: DAY_MS, check: DAY_MS, unknown: DAY_MS });
  store.isDown = true;
  await sweep.start();
  expect(store.complaints).toBe(1);
  store.isDown = false;
  store.calls.length = 0;
  await jest.advanceTimersByTimeAsync(60_000);
  expect(store.calls).toHaveLength(3);
  sweep.stop();
});

it('a sweep that ends after it was stopped is the last', async () => {
  const { store, sweep } = sweepOf({ send: DAY_MS, check: DAY_MS, unknown: DAY_MS });
  const running = sweep.start();
  sweep.stop();
  await running;
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(store.calls).toHaveLength(3);
});
