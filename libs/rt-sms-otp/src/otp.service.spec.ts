import { inspect } from 'node:util';
import { jest } from '@jest/globals';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Logger, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  RtSmsConfigError,
  RtSmsConnectionError,
  RtSmsRejectedError,
  RtSmsService,
  RtSmsTimeoutError,
  RtSmsValidationError,
} from 'nestjs-rt-sms';
import { RtSmsRecorder } from 'nestjs-rt-sms/testing';
import {
  memoryOtpStore,
  RtSmsOtpError,
  RtSmsOtpModule,
  RtSmsOtpService,
  type OtpRecord,
  type OtpStore,
  type RtSmsOtpOptions,
} from 'nestjs-rt-sms-otp';
import { otpStoreConformance } from 'nestjs-rt-sms-otp/testing';
import { atEnd } from '../../../test/platforms.js';

const SECRET = 'first secret of thirty-two bytes';
const FORMER = 'former secret of thirty-two byte';
const NUMBER = '8 927 000-00-01';
const LOGIN = { purpose: 'login' };

const options: RtSmsOtpOptions = { secret: SECRET, text: ({ code }) => `Code ${code}` };
const notSent = () => new RtSmsConnectionError('refused', false, {});
const unknownOutcome = () => new RtSmsTimeoutError('late', 'unknown', {});

async function setUp(more: Partial<RtSmsOtpOptions> = {}, sms = new RtSmsRecorder()) {
  @Module({ providers: sms.providers, exports: sms.providers.map(() => RtSmsService) })
  class Account {}
  Reflect.defineMetadata(
    'exports',
    sms.providers.map((one) => (one as { provide: symbol }).provide),
    Account,
  );
  const module = await Test.createTestingModule({
    imports: [EventEmitterModule.forRoot(), RtSmsOtpModule.forRoot({ ...options, ...more, imports: [Account] })],
  }).compile();
  await module.init();
  atEnd(() => module.close());
  const codes = () => sms.sent.map(({ text }) => /\d{4,10}/.exec(text)![0]);
  return { otp: module.get(RtSmsOtpService), sms, codes };
}
/** A store whose steps do nothing and return the challenge with these changes. */
function storeAnswering(changes: Partial<OtpRecord>): OtpStore {
  const memory = memoryOtpStore();
  const step: OtpStore['step'] = async (id) => ({ ...(await memory.step(id, 'find'))!, ...changes });
  return { create: memory.create.bind(memory), remove: memory.remove.bind(memory), step };
}
const wrong = (code: string) => code.replace(/.$/, (digit) => String((Number(digit) + 1) % 10));
const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as RtSmsOtpError,
  );

describe('start', () => {
  it('sends a code and masks the number', async () => {
    const { otp, sms, codes } = await setUp({ ttlMs: 60_000 });
    const before = Date.now();
    const challenge = await otp.start(NUMBER, LOGIN);
    expect(challenge).toEqual({
      challengeId: expect.stringMatching(/^[\w-]{22}$/),
      expiresAt: expect.any(Date),
      resendAt: expect.any(Date),
      to: '7927*****01',
      outcome: 'sent',
    });
    for (const time of [challenge.expiresAt, challenge.resendAt]) {
      expect(time.getTime() - before).toBeGreaterThanOrEqual(60_000);
      expect(time.getTime() - before).toBeLessThan(65_000);
    }
    expect(sms.sent).toMatchObject([{ msisdn: '79270000001', text: `Code ${codes()[0]}` }]);
    expect(codes()[0]).toMatch(/^\d{6}$/);
    expect(sms.sent[0]!.ref).toBe(`rt-sms-otp:${challenge.challengeId}:1`);
  });

  it('adds the line by which a browser recognises the code', async () => {
    const { otp, sms } = await setUp({
      domain: 'shop.example',
      text: ({ code, minutes, purpose, domain }) => `${code} ${minutes} ${purpose} ${domain}`,
    });
    await otp.start(NUMBER, LOGIN);
    expect(sms.sent[0]!.text).toMatch(/^(\d{6}) 5 login shop\.example\n@shop\.example #\1$/);
  });

  it('queues the code with priority until it expires, if the engine is durable', async () => {
    const sms = new RtSmsRecorder();
    sms.isDurable = true;
    const queued: unknown[] = [];
    const enqueue = sms.enqueue.bind(sms);
    sms.enqueue = (message, how) => (queued.push(how), enqueue(message, how));
    const { otp } = await setUp({}, sms);
    const { outcome, expiresAt } = await otp.start(NUMBER, LOGIN);
    expect([outcome, queued]).toEqual(['queued', [{ priority: 'otp', expiresAt }]]);
  });

  it.each([
    ['not sent', notSent()],
    ['rejected', new RtSmsRejectedError('invalid_source_address', {})],
    ['refused by a later policy', Object.assign(notSent(), { retryAfterMs: 7 })],
  ])('passes the error on if the message was %s, and leaves no challenge', async (_, error) => {
    const store = memoryOtpStore();
    const kept: string[] = [];
    const create = store.create.bind(store);
    store.create = (id, challenge) => (kept.push(id), create(id, challenge));
    const { otp, sms } = await setUp({ store });
    sms.failNext(error);
    expect(await failure(otp.start(NUMBER, LOGIN))).toBe(error);
    expect(kept).toHaveLength(1);
    expect(await store.step(kept[0]!, 'find')).toBeUndefined();
  });

  it('keeps the code valid if the message may have been sent', async () => {
    let code = '';
    const { otp, sms } = await setUp({ text: (input) => (code = input.code) });
    sms.failNext(unknownOutcome());
    const { challengeId, outcome } = await otp.start(NUMBER, LOGIN);
    expect(outcome).toBe('unknown');
    expect(await failure(otp.resend(challengeId))).toMatchObject({ code: 'RT_SMS_OTP_TOO_SOON' });
    expect(await otp.verify(challengeId, code, LOGIN)).toEqual({ ok: true, msisdn: '79270000001' });
  });

  it.each([
    ['an invalid number', '123', LOGIN, /msisdn/],
    ['no purpose', NUMBER, {} as typeof LOGIN, /purpose/],
    ['an empty purpose', NUMBER, { purpose: '' }, /purpose/],
    ['an unknown key', NUMBER, { ...LOGIN, purposes: 1 } as typeof LOGIN, /no key 'purposes'/],
  ])('rejects %s', async (_, number, how, problem) => {
    const { otp, sms } = await setUp();
    const error = await failure(otp.start(number, how));
    expect(error).toBeInstanceOf(RtSmsValidationError);
    expect(error!.message).toMatch(problem);
    expect(sms.sent).toEqual([]);
  });

  it('rejects a text without the code', async () => {
    for (const text of [() => 'Hello', () => undefined as unknown as string]) {
      const { otp, sms } = await setUp({ text });
      expect(await failure(otp.start(NUMBER, LOGIN))).toBeInstanceOf(RtSmsValidationError);
      expect(sms.sent).toEqual([]);
    }
  });
});

describe('verify', () => {
  it('accepts the code once, for the number it was sent to', async () => {
    const { otp, codes } = await setUp();
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toEqual({ ok: true, msisdn: '79270000001' });
    const again = await otp.verify(challengeId, codes()[0]!, LOGIN);
    expect(again).toEqual({ ok: false, reason: 'used', attemptsLeft: 0 });
  });

  it('accepts the code once, of concurrent right answers', async () => {
    const { otp, codes } = await setUp();
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    const answers = await Promise.all(Array.from({ length: 20 }, () => otp.verify(challengeId, codes()[0]!, LOGIN)));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
  });

  it('accepts a code as people type it', async () => {
    const { otp, codes } = await setUp();
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    const [code = ''] = codes();
    expect(await otp.verify(challengeId, ` ${code.slice(0, 3)} – ${code.slice(3)}\u200b\n`, LOGIN)).toMatchObject({
      ok: true,
    });
  });

  it('counts wrong codes of any kind, and is locked for the rest of the life', async () => {
    const { otp, codes } = await setUp({ attempts: 4 });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    const [code = ''] = codes();
    for (const [left, guess] of [
      [3, wrong(code)],
      [2, ''],
      [1, { toString: () => 'x' }],
      [0, undefined],
    ] as const) {
      const result = await otp.verify(challengeId, guess as string, LOGIN);
      expect(result).toEqual({ ok: false, reason: 'wrong', attemptsLeft: left });
    }
    const locked = { ok: false, reason: 'locked', attemptsLeft: 0 };
    expect(await otp.verify(challengeId, code, LOGIN)).toEqual(locked);
    expect(await failure(otp.resend(challengeId))).toMatchObject({ code: 'RT_SMS_OTP_LOCKED' });
  });

  it('accepts the right code as the last attempt', async () => {
    const { otp, codes } = await setUp({ attempts: 2 });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    await otp.verify(challengeId, 'x', LOGIN);
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toMatchObject({ ok: true });
  });

  it('accepts a code for its own purpose and challenge only', async () => {
    const { otp, codes } = await setUp();
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    const other = await otp.start('+7 927 000-00-02', LOGIN);
    const [code = '', otherCode = ''] = codes();
    expect(await otp.verify(challengeId, code, { purpose: 'payment' })).toMatchObject({ reason: 'wrong' });
    expect(await otp.verify(challengeId, otherCode, LOGIN)).toMatchObject({ reason: 'wrong' });
    expect(await otp.verify(other.challengeId, otherCode, LOGIN)).toEqual({ ok: true, msisdn: '79270000002' });
    expect(await otp.verify(challengeId, code, LOGIN)).toMatchObject({ ok: true });
  });

  it('does not accept an expired code', async () => {
    const { otp, codes } = await setUp({ ttlMs: 400 });
    const { challengeId, expiresAt } = await otp.start(NUMBER, LOGIN);
    await new Promise((done) => setTimeout(done, expiresAt.getTime() - Date.now() + 20));
    const expired = { ok: false, reason: 'expired', attemptsLeft: 0 };
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toEqual(expired);
    expect(await failure(otp.resend(challengeId))).toMatchObject({ code: 'RT_SMS_OTP_EXPIRED' });
  });

  it('asks no store for what cannot be a challenge', async () => {
    const store = { ...memoryOtpStore(), step: () => Promise.reject(new Error('asked')) } as unknown as OtpStore;
    const { otp } = await setUp({ store });
    for (const id of ['', '*', 'x'.repeat(23), { $ne: 1 }, undefined]) {
      const unknown = { ok: false, reason: 'unknown', attemptsLeft: 0 };
      expect(await otp.verify(id as string, '123456', LOGIN)).toEqual(unknown);
      expect(await failure(otp.resend(id as string))).toMatchObject({ code: 'RT_SMS_OTP_UNKNOWN' });
    }
  });

  it('compares nothing without an attempt, whatever a store answers', async () => {
    const { otp, codes } = await setUp({ store: storeAnswering({ state: 'open', done: false }) });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toMatchObject({ ok: false, reason: 'unknown' });
  });

  it('accepts codes of a former secret while it is listed', async () => {
    const store = memoryOtpStore();
    const former = await setUp({ store, secret: FORMER });
    const first = await former.otp.start(NUMBER, LOGIN);
    const second = await former.otp.start(NUMBER, LOGIN);
    const changing = await setUp({ store, secret: [SECRET, FORMER], resendAfterMs: [0] });
    expect(await changing.otp.verify(first.challengeId, former.codes()[0]!, LOGIN)).toMatchObject({ ok: true });
    const third = await changing.otp.start(NUMBER, LOGIN);
    const changed = await setUp({ store });
    expect(await changed.otp.verify(second.challengeId, former.codes()[1]!, LOGIN)).toMatchObject({
      reason: 'unknown',
    });
    expect(await changed.otp.verify(third.challengeId, changing.codes()[0]!, LOGIN)).toMatchObject({ ok: true });
  });
});

describe('resend', () => {
  it('sends the same code again after its pause, which grows', async () => {
    const { otp, codes } = await setUp({ resendAfterMs: [0, 0, 40_000] });
    const { challengeId, expiresAt } = await otp.start(NUMBER, LOGIN);
    const second = await otp.resend(challengeId);
    expect(second).toMatchObject({ challengeId, to: '7927*****01', outcome: 'sent' });
    expect(Math.abs(second.expiresAt.getTime() - expiresAt.getTime())).toBeLessThan(100);
    await otp.resend(challengeId);
    const error = await failure(otp.resend(challengeId));
    expect(error).toBeInstanceOf(RtSmsOtpError);
    expect(error).toMatchObject({ code: 'RT_SMS_OTP_TOO_SOON', outcome: 'not_sent', retryable: true });
    expect(error!.retryAfterMs).toBeGreaterThan(35_000);
    expect(error!.retryAfterMs).toBeLessThanOrEqual(40_000);
    expect(codes()).toEqual([codes()[0], codes()[0], codes()[0]]);
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toMatchObject({ ok: true });
    expect(await failure(otp.resend(challengeId))).toMatchObject({ code: 'RT_SMS_OTP_USED' });
  });

  it('reports a pause of zero if it ends while the store answers', async () => {
    const { otp } = await setUp({ store: storeAnswering({ resendInMs: -5 }) });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    expect((await failure(otp.resend(challengeId)))!.retryAfterMs).toBe(0);
  });

  it('takes nothing from the limits if the message was not sent', async () => {
    const { otp, sms } = await setUp({ resendAfterMs: [0, 40_000] });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    const error = notSent();
    sms.failNext(error);
    expect(await failure(otp.resend(challengeId))).toBe(error);
    const { resendAt } = await otp.resend(challengeId);
    expect(resendAt.getTime() - Date.now()).toBeGreaterThan(35_000);
  });

  it.each([
    ['rejected', new RtSmsRejectedError('invalid_source_address', {}), 'RT_SMS_REJECTED'],
    ['perhaps sent', unknownOutcome(), undefined],
  ])('starts the pause if the message was %s, and the challenge stays open', async (_, error, code) => {
    const { otp, sms, codes } = await setUp({ resendAfterMs: [0, 40_000] });
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    sms.failNext(error);
    expect((await failure(otp.resend(challengeId)))?.code).toBe(code);
    expect(await failure(otp.resend(challengeId))).toMatchObject({ code: 'RT_SMS_OTP_TOO_SOON' });
    expect(await otp.verify(challengeId, codes()[0]!, LOGIN)).toMatchObject({ ok: true });
  });
});

it.each([
  ['code', Object.assign(new Error('EVAL … 79270000001'), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
  [
    'name',
    Object.assign(new Error('EVAL … 79270000001'), { name: 'ReplyError', command: { args: ['x'] } }),
    'ReplyError',
  ],
  ['nothing', null, 'unknown'],
])('an error of the store is named by its %s, without its message', async (_, cause, shown) => {
  const broken = {
    create: () => Promise.reject(cause),
    step: () => Promise.reject(cause),
    remove: async () => undefined,
  };
  const { otp, sms } = await setUp({ store: broken });
  const id = 'x'.repeat(22);
  for (const work of [otp.start(NUMBER, LOGIN), otp.resend(id), otp.verify(id, '1', LOGIN)]) {
    const error = await failure(work);
    expect(error).toMatchObject({ code: 'RT_SMS_OTP_STORE', retryable: true });
    expect(error!.message).toBe(`The store of one-time codes failed. Fix: check that it is reachable (${shown})`);
    expect(inspect(error, { depth: 9 })).not.toMatch(/EVAL|7927/);
  }
  expect(sms.sent).toEqual([]);
});

describe('the module', () => {
  it('lists all problems of its options, without the secret', async () => {
    const bad = {
      secret: ['s'.repeat(32), 'a-short-one'],
      text: 'x',
      digits: 3,
      ttlMs: 0,
      attempts: 1.5,
      resendAfterMs: [],
      domain: 'https://shop.example',
      overdueAfterMs: Infinity,
      store: {},
      digit: 6,
    } as unknown as RtSmsOtpOptions;
    const error = (await failure(setUp(bad))) as unknown as RtSmsConfigError;
    expect(error).toBeInstanceOf(RtSmsConfigError);
    expect(error.problems.map((problem) => problem.split(':')[0])).toEqual(
      [
        'digit',
        'secret',
        'text',
        'digits',
        'ttlMs',
        'attempts',
        'resendAfterMs',
        'domain',
        'overdueAfterMs',
        'store',
      ].map((name) => `otp ${name}`),
    );
    expect(error.message).not.toMatch(/sss|short-one/);
    expect(await failure(setUp({ secret: 'short' }))).toBeInstanceOf(RtSmsConfigError);
  });

  it('does not start with a store that cannot be used', async () => {
    const store = { ...memoryOtpStore(), prepare: () => Promise.reject(new Error('x')), step: async () => undefined };
    expect(((await failure(setUp({ store: store as unknown as OtpStore }))) as Error).message).toMatch(
      /otp store: cannot/,
    );
  });

  it('warns at the start of a long text, few digits and a long life', async () => {
    const warnings: unknown[] = [];
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation((text: unknown) => void warnings.push(text));
    atEnd(() => warn.mockRestore());
    await setUp();
    expect(warnings).toEqual([]);
    await setUp({
      text: ({ code }) => `Ваш код ${code}. ${'Никому его не сообщайте! '.repeat(3)}`,
      digits: 4,
      ttlMs: 900_000,
    });
    expect(warnings).toEqual([
      expect.stringMatching(/takes 2 segments/),
      expect.stringMatching(/4 digits/),
      expect.stringMatching(/900000 ms/),
    ]);
  });

  it('shows nothing of its options', async () => {
    const { otp } = await setUp();
    const shown = inspect(otp, { depth: 9, showHidden: true }) + JSON.stringify(otp) + JSON.stringify({ ...otp });
    expect(shown).not.toMatch(/secret|thirty/);
  });
});

describe('memoryOtpStore', () => {
  it.each(otpStoreConformance)('$name', ({ run }) => run(memoryOtpStore()));

  it('forgets a challenge at twice its life', async () => {
    const store = memoryOtpStore();
    await store.create('x', { sealed: '', ttlMs: 20, attempts: 1, resendAfterMs: 0 });
    // The timer of the store was started first and is due first.
    await new Promise((done) => setTimeout(done, 41));
    expect(await store.step('x', 'find')).toBeUndefined();
  });
});
