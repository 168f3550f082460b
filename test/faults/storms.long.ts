import axios from 'axios';
import axiosRetry, { isNetworkError, isRetryableError } from 'axios-retry';
import type { RtSmsError } from 'nestjs-rt-sms';
import { LOGIN, msisdnOf, PASSWORD, startAccount, startFault, TEXT } from './account.js';
import { FAULT_VARIANTS, FAULTS, type FaultName, type FaultServerOptions } from './fault-server.js';

const SENDS = 100;
const IN_FLIGHT = 20;

/** Sends 100 messages to different numbers, 20 in flight. Returns the results by number. */
async function storm<T>(send: (msisdn: string) => Promise<T>): Promise<Map<string, T>> {
  const became = new Map<string, T>();
  let next = 0;
  const worker = async () => {
    while (next < SENDS) {
      const msisdn = msisdnOf(next++);
      became.set(msisdn, await send(msisdn));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return became;
}

/** Applies the fault to each third connection or request. Connection faults need new connections from time to time. */
async function startStorm(name: FaultName, options?: FaultServerOptions) {
  const { level } = FAULTS.find((fault) => fault.name === name)!;
  const server = await startFault(name, level === 'address' ? {} : { every: 3, ...options });
  if (level === 'connection') {
    server.on('read', () => {
      if (server.postsRead % 10 === 0) server.closeIdle();
    });
  }
  return server;
}

const STORM_TIMEOUTS = { connectMs: 100, sendMs: 200 };
let stormed = 0;

describe('100 sends with retries on, 20 in flight, while each third meets the fault', () => {
  it.each(FAULT_VARIANTS)('$name over $over: none is sent twice', async ({ name, tls, repeatable }) => {
    const server = await startStorm(name, { tls });
    const { sms } = await startAccount(server, { timeouts: STORM_TIMEOUTS });
    const outcomes = await storm((msisdn) =>
      sms.send({ msisdn, text: TEXT }).then(
        () => 'sent',
        (error: RtSmsError) => error.outcome!,
      ),
    );
    expect(outcomes.size).toBe(SENDS);
    // A message that the gateway did not save may be sent again, and its deadline may pass before that.
    if (!repeatable) expect(server.twice).toEqual([]);
    // The reported outcomes match the gateway's records.
    for (const [msisdn, outcome] of outcomes) {
      const reads = server.reads.get(msisdn) ?? 0;
      if (outcome === 'sent' || outcome === 'rejected') expect([msisdn, reads > 0]).toEqual([msisdn, true]);
      if (outcome === 'not_sent' && !repeatable) expect([msisdn, reads]).toEqual([msisdn, 0]);
    }
    stormed++;
  });

  it('were faults enough', () => {
    expect(stormed).toBeGreaterThanOrEqual(100);
  });
});

describe('the same run with axios and axios-retry, which shows that the gateway would notice', () => {
  it.each([
    'fin-after-request',
    'rst-after-request',
    'half-header-fin',
    'truncated-by-rst',
    'silent',
    'garbage-status-line',
    '307',
    '429',
    '500',
    '502-html',
    '503',
    '504',
  ] as const)('%s: many are sent twice', async (name) => {
    const server = await startStorm(name);
    const client = axios.create({ timeout: STORM_TIMEOUTS.sendMs, auth: { username: LOGIN, password: PASSWORD } });
    axiosRetry(client, {
      retries: 3,
      shouldResetTimeout: true,
      retryCondition: (error) => isNetworkError(error) || error.code === 'ECONNABORTED' || isRetryableError(error),
    });
    await storm((msisdn) =>
      client.post(server.url, { msisdn, shortcode: 'SHOP', text: TEXT }).catch((error: unknown) => error),
    );
    expect(server.reads.size).toBe(SENDS);
    expect(server.twice.length).toBeGreaterThan(10);
  });
});
