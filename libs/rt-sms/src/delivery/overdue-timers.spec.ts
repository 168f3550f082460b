import { jest } from '@jest/globals';
import { OverdueTimers } from './overdue-timers.js';

const DAY_MS = 24 * 3_600_000;

beforeEach(() => void jest.useFakeTimers());
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

function running() {
  const fired: string[] = [];
  const timers = new OverdueTimers(({ key }) => {
    fired.push(key);
    timers.remove(key);
  });
  timers.start();
  return { timers, fired };
}

it('many timers share one Node timer, which keeps no process alive and is never longer than Node allows', async () => {
  const { timers, fired } = running();
  const started = jest.spyOn(globalThis, 'setTimeout');
  for (let n = 0; n < 100; n++) timers.add(`m${n}`, { afterMs: 1_000, inMs: 30 * DAY_MS + n });
  expect(started).toHaveBeenCalledTimes(1);
  expect((started.mock.results[0]!.value as NodeJS.Timeout).hasRef()).toBe(false);
  await jest.advanceTimersByTimeAsync(30 * DAY_MS - 1);
  expect(fired).toEqual([]);
  await jest.advanceTimersByTimeAsync(101);
  expect(fired).toEqual(Array.from({ length: 100 }, (_, n) => `m${n}`));
  for (const [, ms] of started.mock.calls) expect(ms).toBeLessThan(2 ** 31);
});

it('an earlier timer fires earlier, a removed one never, a message has one, and none fires after stop()', async () => {
  const { timers, fired } = running();
  timers.add('late', { afterMs: 1_000, inMs: 5_000 });
  timers.add('soon', { afterMs: 1_000, inMs: 1_000 });
  timers.add('soon', { afterMs: 1_000, inMs: 2_000 });
  timers.add('over', { afterMs: 1_000, inMs: -1 });
  timers.add('gone', { afterMs: 1_000, inMs: 1_500 });
  timers.remove('gone');
  timers.remove('gone');
  await jest.advanceTimersByTimeAsync(0);
  expect(fired).toEqual(['over']);
  await jest.advanceTimersByTimeAsync(4_999);
  expect(fired).toEqual(['over', 'soon']);
  timers.stop();
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(fired).toEqual(['over', 'soon']);
});

it('before start() none fires; those whose time has passed fire then', async () => {
  const fired: string[] = [];
  const timers = new OverdueTimers((timer) => fired.push(timer.key) && timers.remove(timer.key));
  timers.add('a', { afterMs: 1_000, inMs: 1_000, id: 'id' });
  expect(timers.get('a')!.left).toEqual({ afterMs: 1_000, inMs: 1_000, id: 'id' });
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(fired).toEqual([]);
  timers.start();
  await jest.advanceTimersByTimeAsync(0);
  expect(fired).toEqual(['a']);
});
