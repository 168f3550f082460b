import { jest } from '@jest/globals';
import { engineConformance, runEngine } from './engine-conformance.js';
import { overdueConformance } from './overdue-conformance.js';
import { atEnd } from './platforms.js';
import { quickest } from './timing.js';

jest.setTimeout(60_000);

const inMemory = () => undefined;
const hello = { msisdn: '79270000001', text: 'Hello' };

engineConformance('in memory', inMemory, { inProcess: true });
overdueConformance('in memory', inMemory, { inProcess: true });

describe('the engine in memory, beyond the conformance suite', () => {
  it('continues after a waiting message has expired', async () => {
    const { sms, settled, outcomes } = await runEngine(inMemory, { rate: { perSecond: 1 } });
    await sms.enqueue(hello, { id: 'first' });
    await settled('first');
    const expiresAt = new Date(Date.now() + 200);
    await sms.enqueueMany([
      { message: hello, id: 'expires', expiresAt, priority: 'otp' },
      { message: hello, id: 'last' },
    ]);
    await settled('last');
    expect(outcomes('expires')).toEqual(['expired']);
  });

  it('forgets an id idempotencyMs after its message settled, and not before', async () => {
    const { sms, settled, gateway, outcomes } = await runEngine(inMemory, { idempotencyMs: 60_000 });
    const now = performance.now.bind(performance);
    let passedMs = 0;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + passedMs);
    atEnd(() => clock.mockRestore());
    await sms.enqueue(hello, { id: 'a', delayMs: 500 });
    // If the time were counted from here, it would be over when the message has settled.
    passedMs = 59_800;
    await settled('a');
    await expect(sms.enqueue({ ...hello, text: 'Other' }, { id: 'a' })).rejects.toThrow("id: 'a'");
    passedMs += 60_000;
    await expect(sms.find('a')).resolves.toBeUndefined();
    await sms.enqueue({ ...hello, text: 'Other' }, { id: 'a' });
    await gateway.waitForMessage(({ text }) => text === 'Other');
    expect(outcomes('a').length).toBeGreaterThan(0);
  });

  it('queues and sends ten thousand in one call', async () => {
    const { sms, until, gateway, events } = await runEngine(inMemory, { connections: 20, engineLimit: 30_000 });
    // Only the last of three rounds is sent.
    const tookMs = await quickest((round) =>
      sms.enqueueMany(
        Array.from({ length: 10_000 }, (_, n) => ({
          message: hello,
          id: `m${n} of ${round}`,
          ...(round < 2 && { delayMs: 3_600_000 }),
        })),
      ),
    );
    expect(tookMs).toBeLessThan(1_000);
    await until(() => events.length === 10_000);
    expect(gateway.messages).toHaveLength(10_000);
  }, 90_000);
});
