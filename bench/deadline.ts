// Delay between the deadline and its error, in each state of a send.
import { once } from 'node:events';
import { RtSmsService, type RtSmsError, type RtSmsOptions } from 'nestjs-rt-sms';
import { ConnectProxy } from '../test/faults/connect-proxy.js';
import { FaultServer, type FaultName } from '../test/faults/fault-server.js';
import { messageOf, startAccount } from './account.js';
import { percentile, report } from './figures.js';

/** Number of concurrent sends; it equals the number of connections, so that all of them reach the state. */
const AT_ONCE = 10;
const ROUNDS = 5;
const LIMIT_MS = 100;

/** States with the fault, or the scarce resource of the account, that leads to them. */
const STATES: Record<string, { fault: FaultName; options?: Partial<RtSmsOptions>; outcome: string }> = {
  'waiting for a free connection': { fault: 'silent', options: { connections: 1 }, outcome: 'not_sent' },
  'waiting for the rate': { fault: 'healthy', options: { rate: { perSecond: 1 } }, outcome: 'not_sent' },
  connecting: { fault: 'connect-hang', outcome: 'not_sent' },
  'TLS handshake': { fault: 'tls-hang', outcome: 'not_sent' },
  'waiting for the proxy': { fault: 'healthy', options: { proxy: 'hang' }, outcome: 'not_sent' },
  'waiting for the answer': { fault: 'silent', outcome: 'unknown' },
  'headers that drip': { fault: 'dripping-headers', outcome: 'unknown' },
  'body that drips': { fault: 'dripping-body', outcome: 'unknown' },
};

const lateMs: number[] = [];
/** Delay of a bare timer that is set with each call: the share of the machine and the event loop. */
const timerLateMs: number[] = [];

async function round(state: string): Promise<void> {
  const { fault, options = {}, outcome } = STATES[state]!;
  const server = await FaultServer.start(fault);
  const proxy = await ConnectProxy.start({ mode: 'hang' });
  const app = await startAccount({
    url: server.url,
    connections: AT_ONCE,
    timeouts: { connectMs: 30_000 },
    ...(server.url.startsWith('https') ? { tls: { ca: server.ca } } : {}),
    ...options,
    ...(options.proxy ? { proxy: proxy.url } : {}),
  });
  const sms = app.get(RtSmsService);
  let before: Promise<unknown> | undefined;
  if (options.connections || options.rate) {
    const read = once(server, 'read');
    before = sms.send(messageOf(0), { timeoutMs: 3 * LIMIT_MS }).catch((error: RtSmsError) => error);
    await read;
  }
  const sends = Array.from({ length: AT_ONCE }, async (_, n) => {
    const began = performance.now();
    const timer = new Promise((resolve) => setTimeout(resolve, LIMIT_MS)).then(() =>
      timerLateMs.push(performance.now() - began - LIMIT_MS),
    );
    const error = await sms.send(messageOf(n + 1), { timeoutMs: LIMIT_MS }).then(
      () => undefined,
      (failure: RtSmsError) => failure,
    );
    lateMs.push(performance.now() - began - LIMIT_MS);
    if (error?.code !== 'RT_SMS_TIMEOUT' || error.outcome !== outcome)
      throw new Error(`${state}: not ${outcome} by a time-out`, { cause: error });
    await timer;
  });
  await Promise.all(sends);
  await before;
  await server.close();
  await proxy.close();
  await app.close();
}

const states = Object.keys(STATES);
for (let i = 0; i < ROUNDS; i++) for (const state of states) await round(state);
const what = `deadline, ${states.length} states`;
report([
  { what: `${what}: late by (median)`, value: percentile(lateMs, 50), unit: 'ms' },
  { what: `${what}: a bare timer late by (p99)`, value: percentile(timerLateMs, 99), unit: 'ms' },
  { what: `${what}: late by (p99)`, value: percentile(lateMs, 99), unit: 'ms', bar: { atMost: 50 } },
]);
