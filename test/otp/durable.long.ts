import { createHash, randomBytes } from 'node:crypto';

import { jest } from '@jest/globals';
import { EventEmitter2 } from '@nestjs/event-emitter';
import {
  postgresOtpStore,
  redisOtpStore,
  RtSmsOtpModule,
  RtSmsOtpService,
  type RtSmsOtpOptions,
} from 'nestjs-rt-sms-otp';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { gatewayOf, run } from '../durable/account.js';
import { bareQueue, describeStores, startStore, type Service } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { formsOf, formsOfNumber, leaksIn, show, Watch } from '../privacy/watch.js';

jest.setTimeout(120_000);

const NUMBER = '+79271234567';
const LOGIN = { purpose: 'login' };
const SECRET = 'a secret that is nowhere in a store';
const KEYS = randomBytes(32).toString('base64');
const codeOf = (text: string) => /\d{8}/.exec(text)![0];

describeStores('one-time codes with a durable engine on %s', (kind) => {
  let service: Service;
  beforeAll(async () => {
    service = await startStore(kind);
  }, 120_000);
  beforeEach(() => service.clear());
  afterAll(() => service.close());

  async function setUp(more: Partial<RtSmsOtpOptions> = {}, options: Parameters<typeof run>[2] = {}) {
    const gateway = await gatewayOf();
    const store = 'connection' in service.options ? redisOtpStore(service.options) : postgresOtpStore(service.options);
    // Eight digits, so that no other number of a dump contains a code by chance.
    const text: RtSmsOtpOptions['text'] = ({ code }) => `Code ${code}`;
    const otpModule = RtSmsOtpModule.forRoot({ secret: SECRET, digits: 8, text, store, ...more });
    const running = await run(gateway, service.options, {
      engine: { keys: KEYS },
      imports: [otpModule],
      ...options,
      options: { isGlobal: true, ...options.options } as never,
    });
    return { gateway, otp: running.app.get(RtSmsOtpService, { strict: false }), ...running };
  }
  /** Events of the package have the prefix \`rt-sms-otp.\`. */
  const undelivered = ({ heard }: Awaited<ReturnType<typeof setUp>>) => heard('rt-sms-otp.undelivered');

  it('a code is queued before all other messages, and expires with its challenge', async () => {
    const { otp, gateway, sms } = await setUp({}, { options: { rate: { perSecond: 1 } } });
    const orders = Array.from({ length: 3 }, (_, n) => ({ message: { msisdn: NUMBER, text: `Order ${n}` } }));
    await sms.enqueueMany(orders);
    await gateway.waitForMessage();
    const { challengeId, outcome } = await otp.start(NUMBER, LOGIN);
    expect(outcome).toBe('queued');
    const { text } = await gateway.waitForMessage(({ text }) => text.startsWith('Code'));
    expect(gateway.messages.length).toBeLessThan(4);
    expect(await otp.verify(challengeId, codeOf(text), LOGIN)).toMatchObject({ ok: true });
  });

  it.each([
    ['refused', 'invalid_source_address' as const],
    ['unknown', { status: 503 } as const],
  ])('a queued code whose outcome is %s causes an event', async (reason, fault) => {
    const running = await setUp();
    running.gateway.nextSend(fault);
    const { challengeId } = await running.otp.start(NUMBER, LOGIN);
    expect(await undelivered(running)).toMatchObject({ challengeId, account: 'default', reason });
    // It counts: the gateway was asked.
    await expect(running.otp.resend(challengeId)).rejects.toMatchObject({ code: 'RT_SMS_OTP_TOO_SOON' });
  });

  it('a queued code that expires unsent causes an event, and takes nothing from the limits', async () => {
    const running = await setUp({ ttlMs: 1_500, resendAfterMs: [60_000] }, { engine: { role: 'producer' } });
    const { challengeId } = await running.otp.start(NUMBER, LOGIN);
    const emitter = running.app.get(EventEmitter2);
    const ref = `rt-sms-otp:${challengeId}:1`;
    await emitter.emitAsync('rt-sms.expired', { id: 'x', account: 'default', ref });
    expect(await undelivered(running)).toMatchObject({ challengeId, reason: 'expired' });
    expect(await running.otp.resend(challengeId)).toMatchObject({ outcome: 'queued' });
  });

  it('no code, nor anything it can be computed from, is in the store, in logs, spans and errors', async () => {
    const watch = new Watch();
    atEnd(() => watch.close());
    const seen: string[] = [];
    const running = await setUp({ resendAfterMs: [0], attempts: 2 }, { engine: { keys: KEYS } });
    watch.takeLog();
    running.app.get(EventEmitter2).on('rt-sms-otp.undelivered', () => {
      throw new Error('no other way');
    });
    const { otp, gateway, sms } = running;
    const queue = await bareQueue(service, rtSmsQueueNames().send);
    atEnd(() => queue.close());
    const dump = async () =>
      void seen.push(await service.dump(), show((await queue.getJobs()).map((job) => job.asJSON())));
    const catchAll = (work: Promise<unknown>) =>
      work.then(
        (done) => seen.push(show(done)),
        (error) => seen.push(show(error)),
      );

    await queue.pause();
    const numbers = Array.from({ length: 20 }, (_, n) => `+792712345${String(n).padStart(2, '0')}`);
    const ids = await Promise.all(numbers.map(async (number) => (await otp.start(number, LOGIN)).challengeId));
    await dump();
    gateway.nextSend('invalid_source_address');
    gateway.nextSend({ status: 503 });
    gateway.nextSend('reset');
    await queue.resume();
    await gateway.waitForMessage(() => gateway.messages.length === 17);
    await dump();
    for (const id of ids) {
      await catchAll(otp.resend(id));
      for (const code of ['1', '2', '3']) await catchAll(otp.verify(id, code, { purpose: 'payment' }));
      await catchAll(otp.resend(id));
    }
    for (const { uid } of gateway.messages) await gateway.report(uid, 'failed');
    await dump();
    await sms.find(ids[0]!);
    const { text, lines, spans } = await watch.take();
    seen.push(text, show(running.events), show(otp));

    const codes = gateway.messages.map((message) => codeOf(message.text));
    const hashes = ['md5', 'sha1', 'sha256'].flatMap((hash) =>
      codes.flatMap((code) => (['hex', 'base64'] as const).map((form) => createHash(hash).update(code).digest(form))),
    );
    const forbidden = {
      code: codes.flatMap((code) => formsOf(code)),
      hash: hashes,
      secret: formsOf(SECRET),
      number: numbers.flatMap((number) => formsOfNumber(number.slice(1))),
    };
    expect([codes.length > 16, lines > 0, spans > 0]).toEqual([true, true, true]);
    expect(leaksIn(seen.join('\n'), forbidden)).toEqual([]);
  });

  it('the control: without keys a queued message is in the store in the clear, and the dump shows its code', async () => {
    const { otp, gateway } = await setUp({}, { engine: {} });
    const queue = await bareQueue(service, rtSmsQueueNames().send);
    atEnd(() => queue.close());
    await queue.pause();
    await otp.start(NUMBER, LOGIN);
    const dump = await service.dump();
    await queue.resume();
    const { text } = await gateway.waitForMessage();
    expect(leaksIn(dump, { code: formsOf(codeOf(text)) })).toEqual(['code']);
  });
});
