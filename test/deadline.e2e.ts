import { getEventListeners, getMaxListeners, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRtSmsHttpToken, type CallOptions, type RtSmsError, type RtSmsService } from 'nestjs-rt-sms';
import type { HttpService } from '@nestjs/axios';
import { starts } from './engine-conformance.js';
import { failureOf, msisdnOf, startAccount, startFault, TEXT, type AccountOptions } from './faults/account.js';
import { ConnectProxy } from './faults/connect-proxy.js';
import type { FaultName, FaultServer, FaultServerOptions } from './faults/fault-server.js';
import { atEnd } from './platforms.js';
import { atOnce, lateBy } from './timing.js';

/** The bench measures milliseconds; this limit also holds on a busy machine. */
const LATE_MS = 250;
const LIMIT_MS = 120;
/** Shorter than a close that waits: the grace period is 5 s, the time to connect is 30 s. */
const PROMPT_MS = 4_000;

/** Releases what the test has set up in addition to its send. */
type Release = () => Promise<unknown>;

interface State {
  /** State of the send at its deadline. */
  state: string;
  outcome: 'not_sent' | 'unknown';
  fault: FaultName;
  server?: FaultServerOptions;
  options?: AccountOptions;
  /** Prepares the account so that the next send reaches this state. */
  prepare?(sms: RtSmsService, server: FaultServer, http: () => HttpService): Promise<Release> | void;
}

const FIRST = { msisdn: msisdnOf(0), text: TEXT };

/** Uses the only connection until the test releases it. */
const occupy = async (sms: RtSmsService, server: FaultServer): Promise<Release> => {
  const { signal, abort } = abortable();
  const occupied = failureOf(sms.send(FIRST, { signal, timeoutMs: 20_000 }));
  await once(server, 'read');
  return () => {
    abort();
    return occupied;
  };
};

function abortable() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

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
    // In the same turn as the next one, so that the second of the rate cannot end between the two.
    prepare(sms) {
      const first = sms.send(FIRST);
      atEnd(() => first);
    },
  },
  {
    state: 'waiting for the rate between two attempts',
    outcome: 'not_sent',
    fault: 'system-error',
    options: { rate: { perSecond: 2 }, retry: { send: 10 } },
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
    prepare: (_sms, _server, http) => void http().axiosRef.interceptors.request.use(() => new Promise(() => undefined)),
  },
  { state: 'waiting for the answer', outcome: 'unknown', fault: 'silent' },
  {
    state: 'waiting for the answer below axios',
    outcome: 'unknown',
    fault: 'silent',
    prepare: (_sms, _server, http) => void http().axiosRef,
  },
  { state: 'reading headers that drip', outcome: 'unknown', fault: 'dripping-headers' },
  { state: 'waiting for half a header', outcome: 'unknown', fault: 'half-header-hang' },
  { state: 'reading a body that drips', outcome: 'unknown', fault: 'dripping-body' },
  { state: 'waiting for half a body', outcome: 'unknown', fault: 'half-body-hang' },
  { state: 'reading a body over TLS that drips', outcome: 'unknown', fault: 'dripping-body', server: { tls: true } },
];

async function enter({ fault, outcome, server: serverOptions, options = {}, prepare }: State) {
  // A send that must leave within its short time uses a connection that an earlier one has opened.
  const warm = outcome === 'unknown' || fault === 'system-error';
  const server = await startFault(fault, { ...serverOptions, ...(warm && { every: 2 }) });
  if (options.proxy) {
    const proxy = await ConnectProxy.start({ mode: 'hang' });
    atEnd(() => proxy.close());
    options = { ...options, proxy: proxy.url };
  }
  // So that no other time-out comes first.
  const account = await startAccount(server, { timeouts: { connectMs: 30_000 }, ...options });
  if (warm) await account.sms.send(FIRST);
  const release = (await prepare?.(account.sms, server, () => account.app.get(getRtSmsHttpToken()))) ?? undefined;
  if (release) atEnd(release);
  /** Resolves after the next message has arrived, if the fault lets it. */
  const arrived = async () => {
    if (outcome === 'unknown') while (!server.reads.has(msisdnOf(1))) await once(server, 'read');
  };
  return { server, ...account, arrived, release: () => release?.() };
}

/** Sends, and returns the failure, its duration, and its delay compared with a bare timer. */
async function timed(sms: RtSmsService, options: CallOptions) {
  const began = performance.now();
  const failing = failureOf(sms.send({ msisdn: msisdnOf(1), text: TEXT }, options)).then((error) => ({
    error: error as RtSmsError,
    tookMs: performance.now() - began,
  }));
  const lateMs = await lateBy(options.timeoutMs ?? 0, failing);
  return { ...(await failing), lateMs };
}

describe.each(STATES)('a send that is $state', (state) => {
  const { outcome } = state;

  it('fails at its deadline with the outcome of its phase, and is not sent later', async () => {
    const { server, sms, app, arrived, release } = await enter(state);
    const { error, tookMs, lateMs } = await timed(sms, { timeoutMs: LIMIT_MS });
    expect(error).toMatchObject({ name: 'RtSmsTimeoutError', outcome, retryable: outcome === 'not_sent' });
    expect(error.message).toContain(`${LIMIT_MS} ms`);
    expect(tookMs).toBeGreaterThan(LIMIT_MS - 5);
    expect(lateMs).toBeLessThan(LATE_MS);
    expect(error.durationMs).toBeGreaterThan(LIMIT_MS - 5);
    await arrived();
    const reads = server.reads.get(msisdnOf(1)) ?? 0;
    await release();
    await app.close();
    expect(server.reads.get(msisdnOf(1)) ?? 0).toBe(reads);
    if (state.fault !== 'system-error') expect(reads).toBe(outcome === 'unknown' ? 1 : 0);
  });

  it('fails at once when its signal aborts, and does not leave a listener', async () => {
    const { server, sms, app, arrived, release } = await enter(state);
    const { signal, abort } = abortable();
    const failing = failureOf(sms.send({ msisdn: msisdnOf(1), text: TEXT }, { signal, timeoutMs: 20_000 }));
    await Promise.all([arrived(), sleep(LIMIT_MS)]);
    abort();
    expect(await atOnce(failing)).toBe(true);
    expect(await failing).toMatchObject({ name: 'RtSmsAbortedError', outcome, retryable: outcome === 'not_sent' });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    const reads = server.reads.get(msisdnOf(1)) ?? 0;
    await release();
    await app.close();
    expect(server.reads.get(msisdnOf(1)) ?? 0).toBe(reads);
  });
});

describe('an abandoned send leaves', () => {
  it.each(['silent', 'tls-hang', 'connect-hang'] as const)('no open connection: %s', async (fault) => {
    const server = await startFault(fault);
    const { sms, app } = await startAccount(server, { timeouts: { connectMs: 30_000 } });
    await timed(sms, { timeoutMs: LIMIT_MS });
    const began = performance.now();
    await app.close();
    expect(performance.now() - began).toBeLessThan(PROMPT_MS);
    while (server.connections > 0) await once(server, 'disconnect');
  });

  it('its place in the queue', async () => {
    const server = await startFault('silent', { times: 1 });
    const { sms } = await startAccount(server, { connections: 1, queueLimit: 1 });
    const { signal, abort } = abortable();
    const first = failureOf(sms.send(FIRST, { signal }));
    await once(server, 'read');
    await timed(sms, { timeoutMs: 50 });
    const third = sms.send({ msisdn: msisdnOf(2), text: TEXT });
    abort();
    expect(await first).toMatchObject({ outcome: 'unknown' });
    await expect(third).resolves.toMatchObject({ attempts: 1 });
    expect([...server.reads]).toEqual([
      [msisdnOf(0), 1],
      [msisdnOf(2), 1],
    ]);
  });

  it('a handshake that ends too late for it, and serves the next', async () => {
    const server = await startFault('tls-hang', { times: 1 });
    const { sms } = await startAccount(server, { connections: 1, timeouts: { connectMs: 2_000 } });
    await timed(sms, { timeoutMs: LIMIT_MS });
    await expect(sms.send({ msisdn: msisdnOf(2), text: TEXT })).resolves.toMatchObject({ attempts: 1 });
    expect([...server.reads]).toEqual([[msisdnOf(2), 1]]);
  });

  it('its start under the rate', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server, { rate: { perSecond: 1 } });
    const startedAt = starts(server.url);
    const second = sleep(1_010).then(() => performance.now());
    // All in one turn, so that the second of the rate cannot end before one of them.
    const first = sms.send(FIRST);
    await Promise.all([30, 40, 50].map((timeoutMs) => timed(sms, { timeoutMs })));
    await Promise.all([first, sms.send({ msisdn: msisdnOf(2), text: TEXT })]);
    expect(startedAt).toHaveLength(2);
    expect(startedAt[1]! - (await second)).toBeLessThan(LATE_MS);
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

  it('may be shared by many calls, without leftover listeners', async () => {
    const server = await startFault('healthy');
    const { sms } = await startAccount(server);
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 100 }, (_, i) => sms.send({ msisdn: msisdnOf(i), text: TEXT }, { signal })));
    await failureOf(sms.getStatus('message-id-VvkmLHkfhCX9', { signal }));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    // Without a limit Node does not warn of a supposed leak.
    expect(getMaxListeners(signal)).toBe(Infinity);
  });
});

it('also limits a status request', async () => {
  const server = await startFault('silent', { method: 'GET' });
  const { sms } = await startAccount(server, { timeouts: { statusMs: LIMIT_MS } });
  const asking = failureOf(sms.getStatus('message-id-VvkmLHkfhCX9'));
  const lateMs = await lateBy(LIMIT_MS, asking);
  const error = await asking;
  expect(error).toMatchObject({ name: 'RtSmsTimeoutError', operation: 'status', retryable: true, attempts: 1 });
  expect(error).not.toHaveProperty('outcome');
  expect(lateMs).toBeLessThan(LATE_MS);
});
