import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import axios from 'axios';
import axiosRetry, { isNetworkError, isRetryableError } from 'axios-retry';
import { isRtSmsError, type RtSmsError } from 'nestjs-rt-sms';
import { failureOf, LOGIN, msisdnOf, PASSWORD, startAccount, startFault, TEXT } from './account.js';
import { FAULTS, faultTable, type Expectation, type FaultName, type FaultServerOptions } from './fault-server.js';

/** Short, for the faults that only a time-out ends: what hangs while connecting, and what hangs later. */
const timeoutsOf = ({ endsBy }: { endsBy?: 'connectMs' | 'sendMs' }) => {
  if (endsBy === undefined) return {};
  return { timeouts: endsBy === 'connectMs' ? { connectMs: 150 } : { sendMs: 250, statusMs: 250 } };
};
/** For a request that is to come through. */
const PATIENT = { timeoutMs: 20_000 };

const variants = FAULTS.flatMap((fault) =>
  fault.scheme || fault.level === 'address'
    ? [{ ...fault, over: fault.scheme === 'https' ? 'TLS' : 'TCP', tls: false }]
    : [
        { ...fault, over: 'TCP', tls: false },
        { ...fault, over: 'TLS', tls: true },
      ],
);

/** Everything that a log might take from an error, and all that must not be in it. */
function expectNoSecrets(error: RtSmsError, msisdn: string) {
  const chain: Error[] = [];
  for (let link: unknown = error; link instanceof Error; link = link.cause) chain.push(link);
  const shown = [
    ...chain.flatMap((link) => [String(link), link.stack]),
    inspect(error, { depth: 10, showHidden: true }),
    JSON.stringify(error),
    JSON.stringify(error, Object.getOwnPropertyNames(error)),
  ].join('\n');
  const basic = Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64');
  for (const secret of [PASSWORD, TEXT].flatMap((text) => [text, JSON.stringify(text).slice(1, -1)])) {
    expect(shown).not.toContain(secret);
  }
  for (const secret of [basic, 'Код 5829', 'xyzzy', msisdn, msisdn.slice(1)]) expect(shown).not.toContain(secret);
}

describe.each(variants)('$name over $over', (fault) => {
  const { name, tls, expected, orElse, repeatable } = fault;
  /** The expectation that was met: where a race decides there are two. */
  const met = (outcome: string): Expectation => (orElse?.outcome === outcome ? orElse : expected);

  it('is told by class, outcome, retryable, attempts and what the gateway read', async () => {
    // What has little time finds a connection that another message has opened: it is not to spend it on that.
    const warm = fault.endsBy === 'sendMs';
    const server = await startFault(name, { tls, ...(warm && { every: 2 }) });
    const { sms } = await startAccount(server, { retry: { send: 1 }, ...timeoutsOf(fault) });
    if (warm) await sms.send({ msisdn: msisdnOf(0), text: TEXT }, PATIENT);
    const msisdn = msisdnOf(1);
    const error: unknown = await sms.send({ msisdn, text: TEXT }).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    const outcome = isRtSmsError(error) ? error.outcome! : 'sent';
    const { errorClass, retryable, readsPost } = met(outcome);
    expect({
      outcome,
      errorClass: isRtSmsError(error) ? error.name : null,
      retryable: isRtSmsError(error) && error.retryable,
    }).toEqual({ outcome: met(outcome).outcome, errorClass, retryable });
    const attempts = retryable ? 2 : 1;
    if (isRtSmsError(error)) {
      expect(error.attempts).toBe(attempts);
      expectNoSecrets(error, msisdn);
    }
    const reads = readsPost ? (repeatable ? attempts : 1) : 0;
    while ((server.reads.get(msisdn) ?? 0) < reads) await once(server, 'read');
    expect([server.reads.get(msisdn) ?? 0, server.postsRead]).toEqual([reads, reads + (warm ? 1 : 0)]);
  });
});

/** The faults that a status request can meet; the rest lie before it. */
const answered = FAULTS.filter(({ level }) => level === 'request');

describe.each(answered.map((fault) => ({ ...fault })))('getStatus under $name', (fault) => {
  const { name, expected, orElse } = fault;

  async function ask(times?: number) {
    const server = await startFault(name, { method: 'GET', ...(times === undefined ? {} : { times }) });
    const { sms } = await startAccount(server, { retry: { status: 1 }, ...timeoutsOf(fault) });
    const { uid } = await sms.send({ msisdn: msisdnOf(1), text: TEXT }, PATIENT);
    return { server, uid, report: sms.getStatus(uid) };
  }

  if (expected.outcome === 'sent') {
    it('is answered', async () => {
      const { server, uid, report } = await ask();
      // Where a race decides, a repetition makes up for it.
      await expect(report).resolves.toMatchObject({ uid, status: 'delivered' });
      expect(server.getsRead).toBeLessThanOrEqual(orElse ? 2 : 1);
    });
    return;
  }

  const timesOut = expected.errorClass === 'RtSmsTimeoutError';
  const transient = expected.outcome === 'unknown' || expected.retryable;

  it('is told by class and retryable, and repeated if it may heal', async () => {
    const { server, report } = await ask();
    const error = (await failureOf(report)) as RtSmsError;
    expect(error).toMatchObject({ name: expected.errorClass, operation: 'status', retryable: transient });
    expect(error).not.toHaveProperty('outcome');
    const attempts = transient && !timesOut ? 2 : 1;
    while (server.getsRead < attempts) await once(server, 'read');
    expect([error.attempts, server.getsRead]).toEqual([attempts, attempts]);
    expectNoSecrets(error, msisdnOf(1));
  });

  if (transient && !timesOut) {
    it('succeeds once the fault is over', async () => {
      const { uid, report } = await ask(1);
      await expect(report).resolves.toMatchObject({ uid, status: 'delivered' });
    });
  }
});

it('is told in docs/guarantees.md as it is here', () => {
  const path = new URL('../../docs/guarantees.md', import.meta.url);
  const document = readFileSync(path, 'utf8');
  const place = /(<!-- faults: .* -->\n)[^]*?(<!-- \/faults -->)/;
  const told = document.replace(place, `$1\n${faultTable().replaceAll('$', '$$$$')}\n$2`);
  expect(document).toMatch(place);
  if (process.env['UPDATE_DOCS']) writeFileSync(path, told);
  else expect(document).toBe(told);
});

const SENDS = 100;
const IN_FLIGHT = 20;

/** Sends 100 messages, each to a number of its own, 20 in flight; what became of each, by its number. */
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

/** Each third connection or request has the fault. Connections are kept alive, so those faults need new ones now and then. */
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
  it.each(variants)('$name over $over: none is sent twice', async ({ name, tls, repeatable }) => {
    const server = await startStorm(name, { tls });
    const { sms } = await startAccount(server, { timeouts: STORM_TIMEOUTS });
    const outcomes = await storm((msisdn) =>
      sms.send({ msisdn, text: TEXT }).then(
        () => 'sent',
        (error: RtSmsError) => error.outcome!,
      ),
    );
    expect(outcomes.size).toBe(SENDS);
    // A message that the gateway says it has not saved may be sent again, and its time may be over before that.
    if (!repeatable) expect(server.twice).toEqual([]);
    // And nothing is said that is not so.
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
