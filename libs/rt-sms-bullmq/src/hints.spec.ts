import { jest } from '@jest/globals';
import { Hints } from './hints.js';

const PAUSE_MS = 1_000;
const RETRY_MS = 2_000;

/** Hints whose store finds the messages in `found`; `handled` has the uids in the order in which they were looked for. */
function hints(...found: string[]) {
  const handled: string[] = [];
  let running = 0;
  let most = 0;
  const it = new Hints(
    async (uid) => {
      handled.push(uid);
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return found.includes(uid);
    },
    PAUSE_MS,
    RETRY_MS,
  );
  return { add: (uid: string) => it.add(uid), handled, most: () => most };
}
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

it('any number of hints about one message are handled at once, and once a second', async () => {
  const { add, handled } = hints('a');
  for (let n = 0; n < 1_000; n++) add('a');
  await pass(PAUSE_MS / 2);
  expect(handled).toEqual(['a']);
  await pass(PAUSE_MS);
  expect(handled).toEqual(['a', 'a']);
  await pass(60_000);
  expect(handled).toEqual(['a', 'a']);
});

it('a message that is not found is looked for once more, later', async () => {
  const { add, handled } = hints();
  add('a');
  await pass(RETRY_MS / 2);
  expect(handled).toEqual(['a']);
  await pass(60_000);
  expect(handled).toEqual(['a', 'a']);
});

it('handles one after the other, and drops what is too much', async () => {
  const { add, handled, most } = hints();
  for (let n = 0; n < 100_000; n++) add(`invented${n}`);
  await pass(60_000);
  expect(handled).toHaveLength(2_000);
  expect(most()).toBe(1);
  add('invented99999');
  await pass(1_000);
  expect(handled.at(-1)).toBe('invented99999');
  expect(jest.getTimerCount()).toBeLessThanOrEqual(1);
});

it('while the store hangs, hints neither wait for it nor pile up', async () => {
  let calls = 0;
  const hanging = new Hints(
    () => {
      calls++;
      return new Promise(() => undefined);
    },
    PAUSE_MS,
    RETRY_MS,
  );
  for (let n = 0; n < 100_000; n++) hanging.add(`uid${n}`);
  await pass(60_000);
  expect(calls).toBe(1);
});
