import dns, { type LookupAddress } from 'node:dns';
import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import type { RtSmsError } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { failureOf, msisdnOf, startAccount, startFault, TEXT } from './account.js';
import { ConnectProxy } from './connect-proxy.js';
import { fullBacklog } from './dead-ends.js';

const MESSAGE = { msisdn: msisdnOf(1), text: TEXT };
const SLOW = '127.0.0.2';
const REFUSING = '127.0.0.3';
const NAME = 'gateway.test';
/** By then Node itself would have abandoned the first address. */
const LONGER_THAN_NODE_WAITS_MS = 400;

/** Lets the name resolve to these addresses in this process. */
function resolveTo(...addresses: string[]): void {
  const found = addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 }));
  const lookup = jest.spyOn(dns, 'lookup');
  lookup.mockImplementation(((_name: string, _options: object, callback: (...result: unknown[]) => void) =>
    process.nextTick(callback, null, found)) as unknown as typeof dns.lookup);
  atEnd(() => lookup.mockRestore());
}

describe.each([{ tls: false }, { tls: true }])('a name with several addresses, %j', ({ tls }) => {
  async function startNamed(connectMs: number) {
    const server = await startFault('healthy', { tls });
    const url = new URL(server.url);
    const port = Number(url.port);
    url.hostname = tls ? 'localhost' : NAME;
    const options = { timeouts: { connectMs, sendMs: 20_000 }, retry: { send: 0 } };
    const { sms } = await startAccount({ url: url.href, ca: server.ca }, options);
    return { server, port, sms };
  }
  async function slowAddress(port: number) {
    const slow = await fullBacklog({ address: SLOW, port, to: port });
    atEnd(() => slow.close());
    return slow;
  }

  it('the first is slow, the second refuses: the first has all of connectMs', async () => {
    const { server, port, sms } = await startNamed(10_000);
    const slow = await slowAddress(port);
    resolveTo(SLOW, REFUSING);
    const sent = sms.send(MESSAGE);
    await sleep(LONGER_THAN_NODE_WAITS_MS);
    slow.wake();
    await expect(sent).resolves.toMatchObject({ attempts: 1 });
    expect(server.postsRead).toBe(1);
  });

  it.each([
    ['never answers', [SLOW, '127.0.0.1']],
    ['refuses', [REFUSING, '127.0.0.1']],
    ['has another family, and refuses', ['::1', REFUSING, '127.0.0.1']],
  ])('the first %s, the last is well: it is used, and the rest is let go', async (_, addresses) => {
    const { server, port, sms } = await startNamed(10_000);
    await slowAddress(port);
    resolveTo(...addresses);
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
    expect(server.postsRead).toBe(1);
  });

  it('none answers: connectMs is over once, for all of them', async () => {
    const { port, sms } = await startNamed(700);
    await slowAddress(port);
    resolveTo(SLOW, SLOW, SLOW);
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable: true });
    expect(error.message).toContain('no connection within 700 ms');
  });

  it('each refuses: the error names them all', async () => {
    const { sms } = await startNamed(10_000);
    resolveTo(REFUSING, '127.0.0.4');
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable: true });
    expect(error.message).toMatch(/ECONNREFUSED 127\.0\.0\.3:\d+, .*ECONNREFUSED 127\.0\.0\.4:\d+/);
  });

  it('the same for a proxy', async () => {
    const proxy = await ConnectProxy.start();
    atEnd(() => proxy.close());
    const url = new URL(proxy.url);
    const slow = await slowAddress(Number(url.port));
    url.hostname = NAME;
    const server = await startFault('healthy', { tls });
    const { sms } = await startAccount(server, {
      proxy: url.href,
      timeouts: { connectMs: 10_000 },
      retry: { send: 0 },
    });
    resolveTo(SLOW, REFUSING);
    const sent = sms.send(MESSAGE);
    await sleep(LONGER_THAN_NODE_WAITS_MS);
    slow.wake();
    await expect(sent).resolves.toMatchObject({ attempts: 1 });
    expect(proxy.heads).toHaveLength(1);
  });
});
