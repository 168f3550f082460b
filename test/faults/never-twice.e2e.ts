import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { isRtSmsError, type RtSmsError } from 'nestjs-rt-sms';
import { failureOf, LOGIN, msisdnOf, PASSWORD, startAccount, startFault, TEXT } from './account.js';
import { forbiddenForms, leaksIn, show, Watch } from '../privacy/watch.js';
import { FAULT_VARIANTS, FAULTS, faultTable, type Expectation } from './fault-server.js';

/** Short time-outs for faults that only a time-out ends, while connecting or later. */
const timeoutsOf = ({ endsBy }: { endsBy?: 'connectMs' | 'sendMs' }) => {
  if (endsBy === undefined) return {};
  return { timeouts: endsBy === 'connectMs' ? { connectMs: 150 } : { sendMs: 250, statusMs: 250 } };
};
/** Time-out for a request that must succeed. */
const PATIENT = { timeoutMs: 20_000 };

let watch: Watch;
beforeEach(() => {
  watch = new Watch();
});
afterEach(() => watch.close());

/** Expects that neither the error nor the logs, spans and metrics contain a part of the request. */
async function expectNoLeak(error: unknown, msisdn: string) {
  const { text, spans, metrics } = await watch.take();
  const forbidden = forbiddenForms({ login: LOGIN, password: PASSWORD, msisdn, text: TEXT });
  expect(leaksIn([text, show(error)].join('\n'), forbidden)).toEqual([]);
  expect([spans > 0, metrics > 0]).toEqual([true, true]);
}

describe.each(FAULT_VARIANTS)('$name over $over', (fault) => {
  const { name, tls, expected, orElse, repeatable } = fault;
  /** The expectation that was met; there are two if a race decides. */
  const met = (outcome: string): Expectation => (orElse?.outcome === outcome ? orElse : expected);

  it('is reported by class, outcome, retryable and attempts, and nothing of the request is written down', async () => {
    // A send with little time uses a connection that another message has opened.
    const warm = fault.endsBy === 'sendMs';
    const server = await startFault(name, { tls, ...(warm && { every: 2 }) });
    // The credentials travel in the header, and over TLS in the body as well.
    const credentials = tls ? 'both' : 'header';
    const { sms } = await startAccount(server, { credentials, retry: { send: 1 }, ...timeoutsOf(fault) });
    watch.takeLog();
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
    if (isRtSmsError(error)) expect(error.attempts).toBe(attempts);
    const reads = readsPost ? (repeatable ? attempts : 1) : 0;
    while ((server.reads.get(msisdn) ?? 0) < reads) await once(server, 'read');
    expect([server.reads.get(msisdn) ?? 0, server.postsRead]).toEqual([reads, reads + (warm ? 1 : 0)]);
    await expectNoLeak(error, msisdn);
  });
});

/** Faults that a status request can meet; the others occur before it. */
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
      // If a race decides, a retry makes up for it.
      await expect(report).resolves.toMatchObject({ uid, status: 'delivered' });
      expect(server.getsRead).toBeLessThanOrEqual(orElse ? 2 : 1);
    });
    return;
  }

  const timesOut = expected.errorClass === 'RtSmsTimeoutError';
  const transient = expected.outcome === 'unknown' || expected.retryable;

  it('is reported by class and retryable, and retried if it is transient', async () => {
    const { server, report } = await ask();
    const error = (await failureOf(report)) as RtSmsError;
    expect(error).toMatchObject({ name: expected.errorClass, operation: 'status', retryable: transient });
    expect(error).not.toHaveProperty('outcome');
    const attempts = transient && !timesOut ? 2 : 1;
    while (server.getsRead < attempts) await once(server, 'read');
    expect([error.attempts, server.getsRead]).toEqual([attempts, attempts]);
    await expectNoLeak(error, msisdnOf(1));
  });

  if (transient && !timesOut) {
    it('succeeds once the fault is over', async () => {
      const { uid, report } = await ask(1);
      await expect(report).resolves.toMatchObject({ uid, status: 'delivered' });
    });
  }
});

it('is listed in docs/guarantees.md as here', () => {
  const path = new URL('../../docs/guarantees.md', import.meta.url);
  const document = readFileSync(path, 'utf8');
  const place = /(<!-- faults: .* -->\n)[^]*?(<!-- \/faults -->)/;
  const told = document.replace(place, `$1\n${faultTable().replaceAll('$', '$$$$')}\n$2`);
  expect(document).toMatch(place);
  if (process.env['UPDATE_DOCS']) writeFileSync(path, told);
  else expect(document).toBe(told);
});
