import { jest } from '@jest/globals';
import { Injectable, Module, type DynamicModule } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { RtSmsConnectionError, RtSmsModule, RtSmsPolicyError, type RtSmsPolicy } from 'nestjs-rt-sms';
import {
  memoryOtpStore,
  OnRtSmsOtpUndelivered,
  RtSmsOtpEvents,
  RtSmsOtpModule,
  RtSmsOtpService,
  type RtSmsOtpOptions,
  type RtSmsOtpUndeliveredEvent,
} from 'nestjs-rt-sms-otp';
import { RtSmsOtpRecorder } from 'nestjs-rt-sms-otp/testing';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, PLATFORMS, start } from '../platforms.js';

const SECRET = 'a-secret-of-sixteen';
const LOGIN = { purpose: 'login' };
const NUMBER = '+7 927 000-00-01';
const options: RtSmsOtpOptions = { secret: 's'.repeat(32), text: ({ code }) => `Code ${code}` };

@Injectable()
class OtherWay {
  readonly events: RtSmsOtpUndeliveredEvent[] = [];
  failures = 0;

  @OnRtSmsOtpUndelivered()
  offer(event: RtSmsOtpUndeliveredEvent): void {
    if (this.failures-- > 0) throw new Error('no other way now');
    this.events.push(event);
  }
}

async function gatewayOf(): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  return gateway;
}
const codeIn = (gateway: RtSmsSimulator, at = -1) => /\d{6}/.exec(gateway.messages.at(at)!.text)![0];

describe.each(PLATFORMS)('one-time codes on %s', (platform) => {
  async function setUp(name?: string, otp?: (account: DynamicModule) => DynamicModule, policy?: RtSmsPolicy) {
    const gateway = await gatewayOf();
    const account = RtSmsModule.forRoot({
      ...gateway.options,
      shortcode: 'SHOP',
      callback: { secrets: SECRET },
      isGlobal: otp === undefined,
      ...(name !== undefined && { name }),
      ...(policy && { policy }),
    });
    const otpModule = otp?.(account) ?? RtSmsOtpModule.forRoot(options);
    const { app, url } = await start(platform, {
      imports: [EventEmitterModule.forRoot(), account, otpModule],
      providers: [OtherWay],
    });
    gateway.callTo(`${url}/rt-sms${name ? `/${name}` : ''}/callback/${SECRET}`);
    return { gateway, otp: app.get(RtSmsOtpService, { strict: false }), way: app.get(OtherWay), app };
  }

  it('a code is sent and accepted, with a global account', async () => {
    const { gateway, otp } = await setUp();
    const { challengeId, outcome } = await otp.start(NUMBER, LOGIN);
    expect(outcome).toBe('sent');
    expect(gateway.messages).toMatchObject([{ msisdn: '79270000001', text: `Code ${codeIn(gateway)}` }]);
    expect(await otp.verify(challengeId, codeIn(gateway), LOGIN)).toEqual({ ok: true, msisdn: '79270000001' });
  });

  it('a named account that is imported, and options from a factory', async () => {
    const { gateway, otp } = await setUp('codes', (account) =>
      RtSmsOtpModule.forRootAsync({ account: 'codes', imports: [account], useFactory: async () => options }),
    );
    await otp.start(NUMBER, LOGIN);
    expect(gateway.messages).toHaveLength(1);
  });

  it('a code that the send policy of the account refuses is not sent, and there is no challenge', async () => {
    const store = memoryOtpStore();
    const created = jest.spyOn(store, 'create');
    const { gateway, otp } = await setUp(
      undefined,
      (account) => RtSmsOtpModule.forRootAsync({ imports: [account], useFactory: () => ({ ...options, store }) }),
      { perRecipient: { messages: 2, perMs: 3_600_000 } },
    );
    for (let n = 0; n < 2; n++) await otp.start(NUMBER, LOGIN);
    const error: unknown = await otp.start(NUMBER, LOGIN).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RtSmsPolicyError);
    expect(error).toMatchObject({ rule: 'perRecipient', outcome: 'not_sent', retryAfterMs: expect.any(Number) });
    expect(gateway.messages).toHaveLength(2);
    expect(created).toHaveBeenCalledTimes(3);
    const found = await Promise.all(created.mock.calls.map(([id]) => store.step(id, 'find')));
    expect(found.map((challenge) => challenge !== undefined)).toEqual([true, true, false]);
  });

  it.each(['failed', 'rejected', 'insufficient_balance'] as const)(
    'a message that is %s causes an event with its challenge, unless the code was used',
    async (status) => {
      const { gateway, otp, way, app } = await setUp();
      const heard = app.get(EventEmitter2).waitFor(RtSmsOtpEvents.undelivered);
      const used = await otp.start(NUMBER, LOGIN);
      await otp.verify(used.challengeId, codeIn(gateway), LOGIN);
      const { challengeId } = await otp.start(NUMBER, LOGIN);
      for (const { uid } of gateway.messages) await gateway.report(uid, status);
      await heard;
      expect(way.events).toEqual([{ challengeId, account: 'default', reason: status }]);
      expect(await otp.verify(challengeId, codeIn(gateway), LOGIN)).toMatchObject({ ok: true });
    },
  );

  it('a delivered message, an other message and an other account cause none', async () => {
    const { gateway, otp, way, app } = await setUp();
    const emitter = app.get(EventEmitter2);
    const delivered = emitter.waitFor('rt-sms.status.delivered');
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    await gateway.report(gateway.messages[0]!.uid, 'delivered');
    await delivered;
    const ref = `rt-sms-otp:${challengeId}:1`;
    await emitter.emitAsync('rt-sms.overdue', { account: 'default', ref: 'order-1', overdueAfterMs: 1 });
    await emitter.emitAsync('rt-sms.overdue', { account: 'default', overdueAfterMs: 1 });
    await emitter.emitAsync('rt-sms.overdue', { account: 'other', ref, overdueAfterMs: 1 });
    expect(way.events).toEqual([]);
    await emitter.emitAsync('rt-sms.overdue', { account: 'default', ref, overdueAfterMs: 1 });
    expect(way.events).toEqual([{ challengeId, account: 'default', reason: 'overdue' }]);
  });

  it('a code without a final status in time is overdue', async () => {
    const { otp, way, app } = await setUp('codes', (account) =>
      RtSmsOtpModule.forRootAsync({
        account: 'codes',
        imports: [account],
        useFactory: () => ({ ...options, overdueAfterMs: 1_000 }),
      }),
    );
    const heard = app.get(EventEmitter2).waitFor(RtSmsOtpEvents.undelivered);
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    await heard;
    expect(way.events).toEqual([{ challengeId, account: 'codes', reason: 'overdue' }]);
  });

  it('an event whose handler failed fails in turn, so that a durable engine sends it again', async () => {
    const { otp, way, app } = await setUp();
    const { challengeId } = await otp.start(NUMBER, LOGIN);
    way.failures = 1;
    const again = () =>
      app.get(EventEmitter2).emitAsync('rt-sms.overdue', { account: 'default', ref: `rt-sms-otp:${challengeId}:1` });
    await expect(again()).rejects.toThrow('no other way now');
    await again();
    expect(way.events).toHaveLength(1);
  });
});

it('an application without the account does not start, and the error names the account', async () => {
  const module = Test.createTestingModule({ imports: [EventEmitterModule.forRoot(), RtSmsOtpModule.forRoot(options)] });
  await expect(module.compile()).rejects.toThrow(/nestjs-rt-sms:service:default/);
});

it('the name of the event is public', () => {
  expect(RtSmsOtpEvents.undelivered).toBe('rt-sms-otp.undelivered');
});

describe('RtSmsOtpRecorder', () => {
  @Injectable()
  class SignIn {
    constructor(private readonly otp: RtSmsOtpService) {}

    async begin(msisdn: string): Promise<string> {
      return (await this.otp.start(msisdn, LOGIN)).challengeId;
    }

    finish(challengeId: string, code: string): Promise<unknown> {
      return this.otp.verify(challengeId, code, LOGIN);
    }
  }

  it('stands in for the service, and shows the last code of a number', async () => {
    const otp = new RtSmsOtpRecorder({ digits: 8, resendAfterMs: [0] });
    @Module({ providers: [SignIn, ...otp.providers] })
    class Users {}
    const signIn = (await Test.createTestingModule({ imports: [Users] }).compile()).get(SignIn);
    expect(otp.lastCode(NUMBER)).toBeUndefined();
    const first = await signIn.begin(NUMBER);
    const code = otp.lastCode('8 927 000 00 01')!;
    expect(code).toMatch(/^\d{8}$/);
    await signIn.begin('+79270000002');
    expect(otp.lastCode(NUMBER)).toBe(code);
    await otp.resend(first);
    expect(await signIn.finish(first, code)).toEqual({ ok: true, msisdn: '79270000001' });
    const error = new RtSmsConnectionError('refused', false, {});
    await expect(otp.failNext(error).start(NUMBER, LOGIN)).rejects.toBe(error);
  });
});
