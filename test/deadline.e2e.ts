import { getEventListeners, getMaxListeners, once } from 'node:events';
import { getRtSmsHttpToken, type CallOptions, type RtSmsError, type RtSmsService } from 'nestjs-rt-sms';
import type { HttpService } from '@nestjs/axios';
import { failureOf, msisdnOf, startAccount, startFault, TEXT, type AccountOptions } from './faults/account.js';
import { ConnectProxy } from './faults/connect-proxy.js';
import type { FaultName, FaultServer, FaultServerOptions } from './faults/fault-server.js';
import { atEnd } from './platforms.js';

/** As the bench measures it, the caller is settled within milliseconds; here a busy machine must not matter. */
const LATE_MS = 250;
const LIMIT_MS = 120;

interface State {
  /** What a send is doing when its time is up. */
  state: string;
  outcome: 'not_sent' | 'unknown';
  fault: FaultName;
  server?: FaultServerOptions;
  options?: AccountOptions;
  /** Brings the account to where the next send comes into this state. */
  prepare?(sms: RtSmsService, server: FaultServer, http: () => HttpService): unknown;
}

/** The only connection is in use for longer than the next send has. */
const occupy = async (sms: RtSmsService, server: FaultServer) => {
  const occupied = failureOf(sms.send({ msisdn: msisdnOf(0), text: TEXT }, { timeoutMs: 3 * LIMIT_MS }));
  atEnd(() => occupied);
  await once(server, 'read');
};

const STATES: State[] = [
  {
    state: 'waiting for a connection to be free',
    outcome: 'not_sent',
    fault: 'silent',
    options: { connections: 1 },
    prepare: occupy,
  },
  {
    state: 'waiting for the rate',
    outcome: 'not_sent',
    fault: 'healthy',
    options: { rate: { perSecond: 1 } },
    prepare: (sms) => sms.send({ msisdn: msisdnOf(0), text: TEXT }),
  },
  {
    state: 'waiting for the rate between two attempts',
    outcome: 'not_sent',
    fault: 'system-error',
    options: { rate: { perSecond: 1 }, retry: { send: 10 } },
  },
  { state: 'connecting', outcome: 'not_sent', fault: 'connect-hang' },
  { state: 'shaking hands', outcome: 'not_sent', fault: 'tls-hang' },
  {
    state: 'waiting for the proxy',
    outcome: 'not_sent',
    fault: 'healthy',
    // The address is known only when the test runs.
    options: { proxy: 'hang' },
  },
  {
    state: 'held by an interceptor',
    outcome: 'not_sent',
    fault: 'healthy',
    prepare: (_sms, _server, http) => http().axiosRef.interceptors.request.use(() => new Promise(() => undefined)),
  },
  { state: 'waiting for the answer', outcome: 'unknown', fault: 'silent' },
  {
    state: 'waiting for the answer below axios',
    outcome: 'unknown',
    fault: 'silent',
    prepare: (_sms, _server, http) => http().axiosRef,
  },
  { state: 'reading headers that drip', outcome: 'unknown', fault: 'dripping-headers' },
  { state: 'waiting for half a header', outcome: 'unknown', fault: 'half-header-hang' },
  { state: 'reading a body that drips', outcome: 'unknown', fault: 'dripping-body' },
  { state: 'waiting for half a body', outcome: 'unknown', fault: 'half-body-hang' },
  { state: 'reading a body over TLS that drips', outcome: 'unknown', fault: 'dripping-body', server: { tls: true } },
];

async function enter({ fault, server: serverOptions, options = {}, prepare }: State) {
  const server = await startFault(fault, serverOptions);
  if (options.proxy) {
    const proxy = await ConnectProxy.start({ mode: 'hang' });
    atEnd(() => proxy.close());
    options = { ...options, proxy: proxy.url };
  }
  // No other time-out comes first.
  const account = await startAccount(server, { timeouts: { connectMs: 30_000 }, ...options });
  await prepare?.(account.sms, server, () => account.app.get(getRtSmsHttpToken()));
  return { server, ...account };
}

/** Sends, and tells the failure and how long it took. */
async function timed(sms: RtSmsService, options: CallOptions) {
  const began = performance.now();
  const error = (await failureOf(sms.send({ msisdn: msisdnOf(1), text: TEXT }, options))) as RtSmsError;
  return { error, tookMs: performance.now() - began };
}

describe.each(STATES)('a send that is $state', (state) => {
  const { outcome } = state;

  it('fails at its deadline, by its phase, and is not sent later', async () => {
    const { server, sms, app } = await enter(state);
    const { error, tookMs } = await timed(sms, { timeoutMs: LIMIT_MS });
    expect(error).toMatchObject({ name: 'RtSmsTimeoutError', outcome, retryable: outcome === 'not_sent' });
    expect(error.message).toContain(`${LIMIT_MS} ms`);
    expect(tookMs).toBeGreaterThan(LIMIT_MS - 5);
    expect(tookMs).toBeLessThan(LIMIT_MS + LATE_MS);
    expect(error.durationMs).toBeGreaterThan(LIMIT_MS - 5);
    const reads = server.reads.get(msisdnOf(1)) ?? 0;
    await app.close();
    expect(server.reads.get(msisdnOf(1)) ?? 0).toBe(reads);
    if (state.fault !== 'system-error') expect(reads).toBe(outcome === 'unknown' ? 1 : 0);
  });

  it('fails at once when its signal says so, and leaves no listener', async () => {
    const { server, sms, app } = await enter(state);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), LIMIT_MS);
    const { error, tookMs } = await timed(sms, { signal: controller.signal, timeoutMs: 20_000 });
    expect(error).toMatchObject({ name: 'RtSmsAbortedError', outcome, retryable: outcome === 'not_sent' });
    expect(tookMs).toBeLessThan(LIMIT_MS + LATE_MS);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    const reads = server.reads.get(msisdnOf(1)) ?? 0;
    await app.close();
    expect(server.reads.get(msisdnOf(1)) ?? 0).toBe(reads);
  });
});

describe('what a send that was given up leaves behind', () => {
  it.each(['silent', 'tls-hang', 'connect-hang'] as const)('no open connection: %s', async (fault) => {
    const server = await startFault(fault);
    const { sms, app } = await startAccount(server, { timeouts: { connectMs: 30_000 } });
    await timed(sms, { timeoutMs: LIMIT_MS });
    const began = performance.now();
    await app.close();
    expect(performance.now() - began).toBeLessThan(LATE_MS);
    while (server.connections > 0) await once(server, 'disconnect');
  });

  it('its place in the queue', async () => {
    const server = await startFault('silent', { times: 1 });
    const { sms } = await startAccount(server, { connections: 1, queueLimit: 1 });
    const first = failureOf(sms.send({ msisdn: msisdnOf(0), text: TEXT }, { timeoutMs: 400 }));
    await once(server, 'read');
    await timed(sms, { timeoutMs: 50 });
    const third = sms.send({ msisdn: msisdnOf(2), text: TEXT });
    expect(await first).toMatchObject({ outcome: 'unknown' });
    await expect(third).resolves.toMatchObject({ attempts: 1 });
    expect([...server.reads]).toEqual([
      [msisdnOf(0), 1],
      [msisdnOf(2), 1],
    ]);
  });

  it('a handshake that ends too late for it, and serves the next', async () => {
    const server = await startFault('tls-hang', { times: 1 });
    const { sms } = await startAccount(server, { connections: 1, timeouts: { connectMs: 300 } });
    await timed(sms, { timeoutMs: LIMIT_MS });
    await expect(sms.send({ msisdn: msisdnOf(2), text: TEXT })).resolves.toMatchObject({ attempts: 1 });
    expect([...server.reads]).toEqual([[msisdnOf(2), 1]]);
  });

  it('its start under the rate', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server, { rate: { perSecond: 1 } });
    await sms.send({ msisdn: msisdnOf(0), text: TEXT });
    for (let i = 0; i < 3; i++) await timed(sms, { timeoutMs: 30 });
    const began = performance.now();
    await sms.send({ msisdn: msisdnOf(2), text: TEXT });
    expect(performance.now() - began).toBeLessThan(1_010 + LATE_MS);
    expect([...server.reads.keys()]).toEqual([msisdnOf(0), msisdnOf(2)]);
  });
});

describe('a signal', () => {
  it('that has fired already keeps anything from being sent', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server);
    const { error } = await timed(sms, { signal: AbortSignal.abort() });
    expect(error).toMatchObject({ name: 'RtSmsAbortedError', outcome: 'not_sent', attempts: 0 });
    expect(server.postsRead).toBe(0);
  });

  it('may be shared by many calls, and keeps no listener of any', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server);
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 100 }, (_, i) => sms.send({ msisdn: msisdnOf(i), text: TEXT }, { signal })));
    await failureOf(sms.getStatus('message-id-VvkmLHkfhCX9', { signal }));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    // No limit, so Node does not warn of a leak that is none.
    expect(getMaxListeners(signal)).toBe(Infinity);
  });
});

it('a status request has a deadline of its own', async () => {
  const server = await startFault('silent', { method: 'GET' });
  const { sms } = await startAccount(server, { timeouts: { statusMs: LIMIT_MS } });
  const began = performance.now();
  const error = await failureOf(sms.getStatus('message-id-VvkmLHkfhCX9'));
  expect(error).toMatchObject({ name: 'RtSmsTimeoutError', operation: 'status', retryable: true, attempts: 1 });
  expect(error).not.toHaveProperty('outcome');
  expect(performance.now() - began).toBeLessThan(LIMIT_MS + LATE_MS);
});
