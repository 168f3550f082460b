import { once } from 'node:events';
import type { RtSmsError } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { atOnce } from '../timing.js';
import { failureOf, msisdnOf, startAccount, startFault, TEXT } from './account.js';
import { ConnectProxy, type ConnectProxyOptions } from './connect-proxy.js';
import type { FaultServer } from './fault-server.js';

const MESSAGE = { msisdn: msisdnOf(1), text: TEXT };

async function startProxy(options?: ConnectProxyOptions) {
  const proxy = await ConnectProxy.start(options);
  atEnd(() => proxy.close());
  return proxy;
}

/** Adds credentials to the address of a proxy. */
const withUser = ({ url }: ConnectProxy, user: string) => url.replace('://', `://${user}@`);

describe.each([{ tls: false }, { tls: true }])('a proxy, %j', ({ tls }) => {
  it('that the environment names is not used', async () => {
    const proxy = await startProxy();
    const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap((name) => [name, name.toLowerCase()]);
    const before = names.map((name) => [name, process.env[name]] as const);
    atEnd(() => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });
    for (const name of names) process.env[name] = proxy.url;
    const server = await startFault('healthy', { tls });
    const { sms } = await startAccount(server);
    await sms.send(MESSAGE);
    expect([proxy.heads, server.postsRead]).toEqual([[], 1]);
  });

  it('that is named carries everything, with its credentials', async () => {
    const proxy = await startProxy({ credentials: 'user:p@ss' });
    const server = await startFault('healthy', { tls, record: true });
    const { sms } = await startAccount(server, { proxy: withUser(proxy, 'user:p%40ss'), connections: 3 });
    const { uid } = await sms.send(MESSAGE);
    await sms.getStatus(uid);
    await Promise.all(Array.from({ length: 20 }, (_, n) => sms.send({ ...MESSAGE, msisdn: msisdnOf(n) })));
    expect(server.postsRead).toBe(21);
    // Each connection has one tunnel, and the proxy's credentials are sent only to the proxy.
    expect(proxy.tunnels).toBeLessThanOrEqual(3);
    expect(proxy.heads[0]).toContain(`CONNECT ${new URL(server.url).host} HTTP/1.1\r\n`);
    for (const { raw } of server.requests) expect(raw.toString()).not.toMatch(/proxy-/i);
  });

  it.each([201, 204, 299])('that opens the tunnel with %d is one that opened it', async (opened) => {
    const proxy = await startProxy({ opened });
    const server = await startFault('healthy', { tls });
    const { sms } = await startAccount(server, { proxy: proxy.url });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });

  it('with a password and no user is given it', async () => {
    const proxy = await startProxy({ credentials: ':p@ss' });
    const server = await startFault('healthy', { tls });
    const { sms } = await startAccount(server, { proxy: withUser(proxy, ':p%40ss') });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });

  it.each([
    ['refuses', { mode: 'refuse' }, '407', false],
    ['refuses the address', { mode: 'refuse', status: 403 }, '403', false],
    ['wants other credentials', { credentials: 'user:other' }, '407', false],
    ['hangs', { mode: 'hang' }, 'no connection within 200 ms', true],
    ['is gone', { mode: 'dead' }, 'ECONNREFUSED', true],
  ] as const)('that %s is named in the error', async (_, options, what, retryable) => {
    const proxy = await startProxy(options);
    const server = await startFault('healthy', { tls });
    const account = { proxy: withUser(proxy, 'user:p%40ssw'), retry: { send: 1 } };
    const hangs = { timeouts: { connectMs: 200 } };
    const { sms } = await startAccount(server, { ...account, ...(what.includes('200 ms') && hangs) });
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable });
    expect(error.attempts).toBe(retryable ? 2 : 1);
    expect(error.message).toContain(`${new URL(server.url).host} through the proxy ${new URL(proxy.url).host}`);
    expect(error.message).toContain(what);
    expect(error.message).not.toMatch(/p@ssw|p%40ssw|tls\.ca/);
    expect(server.postsRead).toBe(0);
  });

  it('that hung for a while does not affect later sends', async () => {
    const proxy = await startProxy();
    const server = await startFault('healthy', { tls });
    const { sms } = await startAccount(server, {
      proxy: proxy.url,
      timeouts: { connectMs: 1_000 },
      retry: { send: 0 },
    });
    proxy.mode = 'hang';
    const failures = await Promise.all(Array.from({ length: 3 }, () => failureOf(sms.send(MESSAGE))));
    for (const failure of failures) expect(failure).toMatchObject({ outcome: 'not_sent' });
    proxy.mode = 'ok';
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });
});

it('a fault behind the proxy has the outcome that it has without', async () => {
  const proxy = await startProxy();
  for (const [fault, outcome] of [
    ['tls-reset', 'not_sent'],
    ['self-signed', 'not_sent'],
    ['rst-after-request', 'unknown'],
    ['503', 'unknown'],
  ] as const) {
    const server = await startFault(fault, { tls: true });
    const { sms } = await startAccount(server, { proxy: proxy.url });
    expect(await failureOf(sms.send(MESSAGE))).toMatchObject({ outcome });
    expect(server.postsRead).toBe(outcome === 'unknown' ? 1 : 0);
  }
});

it.each(['302', '307'] as const)('a redirect is not followed: %s', async (name) => {
  const server = await startFault(name, { record: true });
  const { sms } = await startAccount(server);
  expect(await failureOf(sms.send(MESSAGE))).toMatchObject({ outcome: 'unknown', httpStatus: Number(name) });
  expect(server.requests.map(({ path }) => path)).toEqual(['/api/v2/send_message']);
});

it.each(['huge-body', 'huge-chunked-body'] as const)('an answer is not read beyond its limit: %s', async (name) => {
  const server = await startFault(name);
  const { sms } = await startAccount(server);
  const cut = once(server, 'disconnect');
  const before = process.memoryUsage().arrayBuffers;
  const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
  expect(error.message).toContain('longer than 262144 bytes');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20);
  await cut;
});

describe('the queue for a connection', () => {
  it.each([0, 1, 5])('takes queueLimit (%d) and refuses one more at once', async (queueLimit) => {
    const server = await startFault('silent', { times: 2 });
    const { sms } = await startAccount(server, { connections: 2, queueLimit });
    const controller = new AbortController();
    const { signal } = controller;
    const occupying = [0, 1].map((n) => failureOf(sms.send({ ...MESSAGE, msisdn: msisdnOf(n) }, { signal })));
    while (server.postsRead < 2) await once(server, 'read');
    const queued = Array.from({ length: queueLimit }, (_, n) => sms.send({ ...MESSAGE, msisdn: msisdnOf(2 + n) }));
    const refused = failureOf(sms.send({ ...MESSAGE, msisdn: msisdnOf(99) }));
    expect(await atOnce(refused)).toBe(true);
    expect(await refused).toMatchObject({
      name: 'RtSmsOverloadedError',
      outcome: 'not_sent',
      retryable: true,
      attempts: 1,
    });
    controller.abort();
    for (const error of await Promise.all(occupying)) expect(error).toMatchObject({ outcome: 'unknown' });
    await Promise.all(queued);
    expect(server.reads.has(msisdnOf(99))).toBe(false);
  });

  it('opens no more connections than `connections`', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server, { connections: 3 });
    await Promise.all(Array.from({ length: 100 }, (_, n) => sms.send({ ...MESSAGE, msisdn: msisdnOf(n) })));
    expect([server.accepted, server.postsRead]).toEqual([3, 100]);
  });
});

describe('connections that the gateway closed while they were idle', () => {
  it.each([
    { tls: false, how: 'fin' },
    { tls: false, how: 'rst' },
    { tls: true, how: 'fin' },
    { tls: true, how: 'rst' },
  ] as const)('are no failure, even with no retries, %j', async ({ tls, how }) => {
    const server: FaultServer = await startFault('stale-keep-alive', { tls });
    const { sms } = await startAccount(server, { connections: 5, retry: { send: 0 } });
    let n = 0;
    const five = () => Promise.all(Array.from({ length: 5 }, () => sms.send({ ...MESSAGE, msisdn: msisdnOf(n++) })));
    await five();
    for (let round = 0; round < 10; round++) {
      // The client cannot notice it before it sends, because all of this is one turn of the event loop.
      expect(server.closeIdle(how)).toBeGreaterThan(0);
      for (const { attempts } of await five()) expect(attempts).toBe(1);
    }
    expect([server.postsRead, server.twice]).toEqual([55, []]);
  });
});
