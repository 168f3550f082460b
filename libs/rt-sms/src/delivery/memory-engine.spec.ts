import { jest } from '@jest/globals';
import { RtSmsConnectionError } from '../rt-sms.errors.js';
import type { EngineHost } from './engine.js';
import { MemoryEngine } from './memory-engine.js';

const DAY_MS = 24 * 3_600_000;

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

it('an expiry further off than a timer reaches holds, also where the message is on its way when the timer ends', async () => {
  const outcomes: string[] = [];
  let fail: ((error: Error) => void) | undefined;
  const host = {
    options: { account: 'default', engineLimit: 10, idempotencyMs: DAY_MS },
    gate: { error: undefined, onOpen: () => undefined },
    slot: (go: (ticket: undefined) => void) => {
      go(undefined);
      return () => undefined;
    },
    send: () => new Promise((_, reject) => (fail = reject)),
    job: <T>(work: () => Promise<T>) => work(),
    during: <T>(work: () => Promise<T>) => work(),
    emit: { expired: async (id: string) => outcomes.push(`expired ${id}`) },
  };
  const engine = new MemoryEngine(host as unknown as EngineHost);
  engine.start();
  const message = {
    msisdn: '79270000001',
    shortcode: 'SHOP',
    text: 'Hello',
    priority: 'normal',
    notBefore: 0,
  } as const;
  await engine.enqueue([{ ...message, id: 'far', expiresAt: Date.now() + 30 * DAY_MS }]);
  await jest.advanceTimersByTimeAsync(25 * DAY_MS);
  expect(fail).toBeDefined();
  fail!(new RtSmsConnectionError('refused', false, { account: 'default', operation: 'send' }));
  fail = undefined;
  // It is sent again, and on its way again when its time is over; that is for the send to say.
  await jest.advanceTimersByTimeAsync(4 * DAY_MS);
  expect(fail).toBeDefined();
  fail!(new RtSmsConnectionError('refused', false, { account: 'default', operation: 'send' }));
  await jest.advanceTimersByTimeAsync(0);
  expect(outcomes).toEqual([]);
  host.gate.error = new Error('shut') as unknown as undefined;
  await jest.advanceTimersByTimeAsync(DAY_MS);
  expect(outcomes).toEqual(['expired far']);
});
