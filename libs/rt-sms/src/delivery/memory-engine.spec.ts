import { jest } from '@jest/globals';
import { RtSmsConnectionError } from '../rt-sms.errors.js';
import type { RatePermit } from '../gateway/call-options.js';
import type { EngineHost } from './engine.js';
import { MemoryEngine } from './memory-engine.js';

const DAY_MS = 24 * 3_600_000;
const MESSAGE = {
  msisdn: '79270000001',
  shortcode: 'SHOP',
  text: 'Hello',
  priority: 'normal',
  notBefore: 0,
} as const;
/** Common part of all hosts: no rate, and no spans. */
const HOST = {
  options: { account: 'default', engineLimit: 10, idempotencyMs: DAY_MS },
  acquirePermit: (go: (permit: undefined) => void) => {
    go(undefined);
    return () => undefined;
  },
  traceJob: <T>(work: () => Promise<T>) => work(),
  trackSend: <T>(work: () => Promise<T>) => work(),
};

beforeEach(() => void jest.useFakeTimers());
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

it('an expiry beyond the longest timer works, also if the message is in flight when the timer fires', async () => {
  const outcomes: string[] = [];
  let fail: ((error: Error) => void) | undefined;
  const host = {
    ...HOST,
    breaker: { error: undefined, onRestored: () => undefined },
    send: () => new Promise((_, reject) => (fail = reject)),
    emit: { expired: async (id: string) => outcomes.push(`expired ${id}`) },
  };
  const timers = jest.spyOn(globalThis, 'setTimeout');
  const engine = new MemoryEngine(host as unknown as EngineHost);
  engine.start();
  await engine.enqueue([{ ...MESSAGE, id: 'far', expiresAt: Date.now() + 30 * DAY_MS }]);
  await jest.advanceTimersByTimeAsync(25 * DAY_MS);
  expect(fail).toBeDefined();
  fail!(new RtSmsConnectionError('refused', false, { account: 'default', operation: 'send' }));
  fail = undefined;
  // The retry is in flight when the message expires, so the outcome depends on that send.
  await jest.advanceTimersByTimeAsync(4 * DAY_MS);
  expect(fail).toBeDefined();
  fail!(new RtSmsConnectionError('refused', false, { account: 'default', operation: 'send' }));
  await jest.advanceTimersByTimeAsync(0);
  expect(outcomes).toEqual([]);
  host.breaker.error = new Error('shut') as unknown as undefined;
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(outcomes).toEqual(['expired far']);
  for (const [, ms] of timers.mock.calls) expect(ms).toBeLessThan(2 ** 31);
});

it('a system clock that is set back does not lengthen a delay, and one set forward does not forget an id', async () => {
  const sent: string[] = [];
  const host = {
    ...HOST,
    breaker: { error: undefined, onRestored: () => undefined },
    send: async ({ id }: { id: string }) => {
      sent.push(id);
      return { uid: `message-id-${id}`, attempts: 1 };
    },
    follow: () => undefined,
    emit: { accepted: async () => true },
  };
  const engine = new MemoryEngine(host as unknown as EngineHost);
  engine.start();
  const item = { ...MESSAGE, id: 'later', notBefore: Date.now() + 10_000 };
  await engine.enqueue([item]);
  jest.setSystemTime(Date.now() - DAY_MS);
  await jest.advanceTimersByTimeAsync(9_000);
  expect(sent).toEqual([]);
  await jest.advanceTimersByTimeAsync(2_000);
  expect(sent).toEqual(['later']);
  jest.setSystemTime(Date.now() + 2 * DAY_MS);
  await engine.enqueue([item]);
  await jest.advanceTimersByTimeAsync(20_000);
  expect(sent).toEqual(['later']);
});

it('a permit that is granted when no message waits is released', async () => {
  const starts: ((permit: RatePermit) => void)[] = [];
  const host = {
    ...HOST,
    breaker: { error: undefined, onRestored: () => undefined },
    acquirePermit: (go: (permit: RatePermit) => void) => {
      starts.push(go);
      return () => undefined;
    },
    emit: { cancelled: async () => true },
  };
  const engine = new MemoryEngine(host as unknown as EngineHost);
  engine.start();
  await engine.enqueue([{ ...MESSAGE, id: 'a' }]);
  await engine.enqueue([{ ...MESSAGE, id: 'b' }]);
  expect(starts).toHaveLength(1);
  expect([await engine.cancel('a'), await engine.cancel('b')]).toEqual([true, true]);
  const permit = { start: jest.fn(), release: jest.fn() };
  starts[0]!(permit);
  await jest.advanceTimersByTimeAsync(0);
  expect([permit.start.mock.calls.length, permit.release.mock.calls.length]).toEqual([0, 1]);
  expect(starts).toHaveLength(1);
});

it('a shutdown logs one warning with the number of refused messages, without their content', async () => {
  const warn = jest.fn();
  const refused: string[] = [];
  const host = {
    ...HOST,
    logger: { warn },
    breaker: { error: undefined, onRestored: () => undefined },
    emit: { refused: async (id: string) => refused.push(id) },
  };
  const engine = new MemoryEngine(host as unknown as EngineHost);
  const notBefore = Date.now() + DAY_MS;
  await engine.enqueue([
    { ...MESSAGE, id: 'a' },
    { ...MESSAGE, id: 'b', notBefore },
  ]);
  await engine.stop();
  expect(refused).toEqual(['a', 'b']);
  expect(warn.mock.calls).toEqual([[expect.stringMatching(/^Refused 2 queued messages during shutdown, because /)]]);
  expect(warn.mock.calls.join()).not.toMatch(/Hello|79270000001/);
});

it('a shutdown with an empty queue logs no warning', async () => {
  const warn = jest.fn();
  const engine = new MemoryEngine({
    ...HOST,
    logger: { warn },
    breaker: { onRestored: () => undefined },
  } as unknown as EngineHost);
  await engine.stop();
  expect(warn).not.toHaveBeenCalled();
});
