// How late the caller hears of its deadline, whatever the send is doing at that moment.
import { once } from 'node:events';
import { RtSmsService, type RtSmsError, type RtSmsOptions } from 'nestjs-rt-sms';
import { ConnectProxy } from '../test/faults/connect-proxy.js';
import { FaultServer, type FaultName } from '../test/faults/fault-server.js';
import { messageOf, startAccount } from './account.js';
import { percentile, tell } from './figures.js';

const SENDS = 50;
const LIMIT_MS = 100;

/** The state, by the fault that leads to it, or by what the account is short of. */
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
for (const [state, { fault, options = {}, outcome }] of Object.entries(STATES)) {
  const server = await FaultServer.start(fault);
  const proxy = await ConnectProxy.start({ mode: 'hang' });
  const app = await startAccount({
    url: server.url,
    connections: SENDS + 1,
    timeouts: { connectMs: 30_000 },
    ...(server.url.startsWith('https') ? { tls: { ca: server.ca } } : {}),
    ...options,
    ...(options.proxy ? { proxy: proxy.url } : {}),
  });
  const sms = app.get(RtSmsService);
  const first = sms.send(messageOf(0), { timeoutMs: 20 * LIMIT_MS }).catch((error: RtSmsError) => error);
  if (options.connections) await once(server, 'read');
  if (options.rate) await first;
  const sends = Array.from({ length: SENDS }, async (_, n) => {
    const began = performance.now();
    const error = await sms.send(messageOf(n + 1), { timeoutMs: LIMIT_MS }).then(
      () => undefined,
      (failure: RtSmsError) => failure,
    );
    if (error?.code !== 'RT_SMS_TIMEOUT' || error.outcome !== outcome)
      throw new Error(`${state}: not so`, { cause: error });
    lateMs.push(performance.now() - began - LIMIT_MS);
  });
  await Promise.all(sends);
  await server.close();
  await proxy.close();
  await app.close();
}
tell([
  {
    what: `deadline, ${Object.keys(STATES).length} states: late by (median)`,
    value: percentile(lateMs, 50),
    unit: 'ms',
  },
  {
    what: `deadline, ${Object.keys(STATES).length} states: late by (p99)`,
    value: percentile(lateMs, 99),
    unit: 'ms',
    bar: { atMost: 50 },
  },
]);
