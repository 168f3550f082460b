import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { RtSmsPolicyError, RtSmsService } from 'nestjs-rt-sms';
import { gatewayOf, run } from '../durable/account.js';
import { describeStores, eventually, storeOfSuite } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { StoreProxy } from './store-proxy.js';

jest.setTimeout(120_000);

const HOUR = 3_600_000;
const LIMIT = 10;
/** Longer than any request waits for the store elsewhere. */
const SLOW_MS = 6_000;
const hello = { msisdn: '79270000001', text: 'Hello' };

describeStores('a store that is slow, on %s', (kind) => {
  const store = storeOfSuite(kind);

  /** Two replicas, each with its own proxy in front of the store. */
  async function replicas(messages: number) {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    atEnd(() => warn.mockRestore());
    const gateway = await gatewayOf();
    const name = `slow${process.hrtime.bigint()}`;
    const engine = kind === 'Redis' ? { prefix: name } : { schema: name };
    const options = { policy: { perRecipient: { messages, perMs: HOUR } }, tracking: false as const };
    const proxies: StoreProxy[] = [];
    const sms: RtSmsService[] = [];
    for (let n = 0; n < 2; n++) {
      const proxy = await StoreProxy.start(store);
      atEnd(() => proxy.close());
      proxies.push(proxy);
      sms.push((await run(gateway, proxy.options, { engine, options })).sms);
    }
    /** Sends `count` messages at once, in turn on both replicas, and counts what came of them. */
    const send = async (count: number) => {
      const results = await Promise.allSettled(
        Array.from({ length: count }, (_, n) => sms[n % 2]!.send(hello, { timeoutMs: 100_000 })),
      );
      const counts: Record<string, number> = {};
      for (const result of results) {
        const what =
          result.status === 'fulfilled' ? 'sent' : ((result.reason as RtSmsPolicyError).rule ?? String(result.reason));
        counts[what] = (counts[what] ?? 0) + 1;
      }
      return counts;
    };
    const isCountedAlone = () => warn.mock.calls.some(([line]) => String(line).includes('by itself'));
    return { gateway, proxies, sms, send, isCountedAlone };
  }

  it('not one message above the limit is sent, however long its answers take', async () => {
    const { proxies, send, gateway, isCountedAlone } = await replicas(LIMIT);
    await expect(send(2)).resolves.toEqual({ sent: 2 });
    for (const proxy of proxies) proxy.delayMs = SLOW_MS;
    const counts = await send(200);
    for (const proxy of proxies) proxy.delayMs = 0;
    expect(counts).toEqual({ sent: LIMIT - 2, perRecipient: 200 - LIMIT + 2 });
    expect(gateway.messages).toHaveLength(LIMIT);
    expect(isCountedAlone()).toBe(false);
  });

  it('a message waits for it until its deadline or signal, is not sent, and is given back', async () => {
    const { proxies, sms, gateway, isCountedAlone } = await replicas(2);
    const [one, two] = sms as [RtSmsService, RtSmsService];
    proxies[0]!.hold();
    const [late, ended, queued] = await Promise.all(
      [
        one.send(hello, { timeoutMs: 1_000 }),
        one.send(hello, { signal: AbortSignal.timeout(500) }),
        one.enqueue(hello, { id: 'a' }),
      ].map((sending) => sending.catch((error: unknown) => error)),
    );
    expect(late).toMatchObject({ code: 'RT_SMS_TIMEOUT', outcome: 'not_sent', retryable: true });
    expect(String(late)).toContain('limits of the send policy could not be counted within');
    expect(ended).toMatchObject({ code: 'RT_SMS_ABORTED', outcome: 'not_sent' });
    expect(queued).toMatchObject({ code: 'RT_SMS_TIMEOUT', outcome: 'not_sent' });
    expect(String(queued)).toContain('Nothing was queued');
    expect(gateway.messages).toHaveLength(0);
    proxies[0]!.release();
    await eventually(async () => two.send(hello));
    await eventually(async () => two.send(hello));
    await expect(two.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
    expect(isCountedAlone()).toBe(false);
  });

  it('a connection that is lost, also with an answer, neither adds to the limit nor takes from it', async () => {
    const { proxies, send, gateway, isCountedAlone } = await replicas(LIMIT);
    for (const proxy of proxies) proxy.cutAtAnswer();
    await expect(send(LIMIT)).resolves.toEqual({ sent: LIMIT });
    for (const proxy of proxies) {
      expect(proxy.cuts).toBeGreaterThan(0);
      proxy.cut();
    }
    await expect(send(100)).resolves.toEqual({ perRecipient: 100 });
    expect(gateway.messages).toHaveLength(LIMIT);
    expect(isCountedAlone()).toBe(false);
  });

  it('one that has answered nothing for 20 s is down, because its host may be gone with its connections open', async () => {
    const { proxies, sms, gateway, isCountedAlone } = await replicas(1);
    const [one] = sms as [RtSmsService];
    proxies[0]!.hold();
    await expect(one.send(hello, { timeoutMs: 2_000 })).rejects.toMatchObject({ outcome: 'not_sent' });
    await one.send(hello, { timeoutMs: 100_000 });
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
    expect(isCountedAlone()).toBe(true);
    expect(gateway.messages).toHaveLength(1);
    proxies[0]!.release();
    await eventually(async () => [await one.find('a')]);
  });

  it('negative control: one that refuses all connections is down, and each process has the whole limit', async () => {
    const { proxies, sms, send, isCountedAlone } = await replicas(LIMIT);
    for (const proxy of proxies) await proxy.refuse();
    await expect(send(100)).resolves.toEqual({ sent: 2 * LIMIT, perRecipient: 100 - 2 * LIMIT });
    expect(isCountedAlone()).toBe(true);
    for (const proxy of proxies) await proxy.accept();
    await eventually(async () => Promise.all(sms.map((each) => each.find('a'))));
  });
});
