import { Module } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { RtSmsModule } from '../rt-sms.module.js';
import { RtSmsConnectionError } from '../rt-sms.errors.js';
import { RtSmsService } from '../rt-sms.service.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';
import { RtSmsRecorder } from './index.js';

const hello = { msisdn: '+7 927 000-00-01', text: 'Hello' };
const UID = 'message-id-1';

async function recording(options?: ConstructorParameters<typeof RtSmsRecorder>[0]) {
  const sms = new RtSmsRecorder(options);
  const module = await Test.createTestingModule({
    imports: [EventEmitterModule.forRoot()],
    providers: sms.providers,
  }).compile();
  await module.init();
  const events: unknown[] = [];
  module.get(EventEmitter2).onAny((name, payload: object) => void events.push({ name, ...payload }));
  return { sms, module, events };
}

describe('invalid input is rejected as by the service', () => {
  const bad: [string, (sms: RtSmsService | RtSmsRecorder) => Promise<unknown>][] = [
    ['a number', (sms) => sms.send({ ...hello, msisdn: '12' })],
    ['a text', (sms) => sms.enqueue({ ...hello, text: ' ' })],
    ['timeoutMs of send', (sms) => sms.send(hello, { timeoutMs: 0 })],
    ['the signal of getStatus', (sms) => sms.getStatus(UID, { signal: 'stop' as unknown as AbortSignal })],
    ['timeoutMs of waitForFinal', (sms) => sms.waitForFinal(UID, { timeoutMs: Number.NaN })],
    ['overdueAfterMs', (sms) => sms.send({ ...hello, overdueAfterMs: 10 })],
    ['an empty id', (sms) => sms.enqueue(hello, { id: '' })],
    ['delayMs', (sms) => sms.enqueue(hello, { delayMs: -1 })],
    ['expiresAt', (sms) => sms.enqueue(hello, { expiresAt: new Date(Number.NaN) })],
    ['a value that is not iterable', (sms) => sms.enqueueMany({} as [])],
    ['one of many', (sms) => sms.enqueueMany([{ message: hello }, { message: { ...hello, text: '' } }])],
    [
      'one id for two texts',
      (sms) =>
        sms.enqueueMany([
          { id: 'a', message: hello },
          { id: 'a', message: { ...hello, text: 'Bye' } },
        ]),
    ],
    ['a uid', (sms) => sms.getStatus('../..')],
    ['a uid to wait for', (sms) => sms.waitForFinal('')],
    ['a uid to track', (sms) => sms.track(['a b'])],
    ['an unknown key of send', (sms) => sms.send(hello, { timeoutMS: 1 } as object)],
    ['a number for the options of send', (sms) => sms.send(hello, 5_000 as unknown as object)],
    ['a misspelt key of the message', (sms) => sms.send({ ...hello, shortCode: 'SHOP' } as typeof hello)],
    [
      'another misspelt key of the message',
      (sms) => sms.send({ msisdn: hello.msisdn, txt: 'Hello' } as unknown as typeof hello),
    ],
    ['an unknown key of enqueue', (sms) => sms.enqueue(hello, { expireAt: new Date(1) } as object)],
    ['another unknown key of enqueue', (sms) => sms.enqueue(hello, { delayMS: 60_000 } as object)],
    ['the options of another call', (sms) => sms.enqueue(hello, { timeoutMs: 1_000 } as object)],
    ['a message in the options', (sms) => sms.enqueue(hello, { message: hello } as object)],
    ['null for the options of enqueue', (sms) => sms.enqueue(hello, null as unknown as object)],
    [
      'an unknown key of one of many',
      (sms) => sms.enqueueMany([{ message: hello }, { message: hello, prio: 'otp' } as never]),
    ],
    ['an option of a later version', (sms) => sms.enqueue(hello, { tx: {} } as object)],
    ['an unknown key of getStatus', (sms) => sms.getStatus(UID, { timeout: 1 } as object)],
    ['an unknown key of waitForFinal', (sms) => sms.waitForFinal(UID, { timeoutms: 1 } as object)],
    ['an unknown key of an item of track', (sms) => sms.track([{ uid: UID, sendAt: new Date() } as { uid: string }])],
    [
      'an unknown key of a single item of track',
      (sms) => sms.track({ uid: UID, sent_at: new Date() } as { uid: string }),
    ],
    ['an unknown key of handleCallback', (sms) => sms.handleCallback({ id: UID }, { secrets: 'x' } as object)],
    [
      'an unknown key of sendMany',
      async (sms) => {
        for await (const _ of sms.sendMany([hello], { concurency: 5 } as object));
      },
    ],
    [
      'null for the options of sendMany',
      async (sms) => {
        for await (const _ of sms.sendMany([hello], null as unknown as object));
      },
    ],
  ];

  it.each(bad)('%s', async (_, call) => {
    const { sms } = await recording();
    @Module({
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({
          login: 'l',
          password: 'p',
          shortcode: 'TEST',
          url: 'http://127.0.0.1:1/',
          callback: { secrets: 'a-secret-of-sixteen' },
        }),
      ],
    })
    class AppModule {}
    const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
    const errors = [];
    for (const one of [sms, module.get(RtSmsService)])
      errors.push(
        await call(one).then(
          () => 'no error',
          ({ name, message, operation }) => ({ name, message, operation }),
        ),
      );
    await module.close();
    expect(errors[0]).toMatchObject({ name: 'RtSmsValidationError' });
    expect(errors[0]).toEqual(errors[1]);
    expect(sms.sent).toEqual([]);
  });
});

it('records messages in the form in which they would be sent', async () => {
  const { sms, module } = await recording({ account: 'otp', shortcode: 'BANK' });
  expect(module.get(getRtSmsToken('otp'))).toBe(sms);
  const sent = await sms.send({ ...hello, ref: 'order 1' });
  expect(sent).toEqual({ uid: sent.uid, msisdn: '79270000001', shortcode: 'BANK', segments: 1, attempts: 1 });
  expect(sms.sent).toEqual([{ ...sent, text: 'Hello', ref: 'order 1' }]);
  await expect(sms.getStatus(sent.uid)).resolves.toMatchObject({ status: 'awaiting_report', final: false });
  await expect(sms.getStatus('message-id-other')).rejects.toMatchObject({ name: 'RtSmsNotFoundError' });
});

it('failNext makes the next call fail, and nothing is recorded', async () => {
  const { sms } = await recording();
  const down = new RtSmsConnectionError('down', false, {});
  sms.failNext(down).failNext(down);
  await expect(sms.send(hello)).rejects.toBe(down);
  await expect(sms.enqueueMany([{ message: hello }, { message: hello }])).rejects.toBe(down);
  expect(sms.sent).toEqual([]);
  await expect(sms.send(hello, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: 'RtSmsAbortedError',
    outcome: 'not_sent',
  });
  await sms.send(hello);
  expect(sms.sent).toHaveLength(1);
});

it('the same id is the same message; another text for it is an error, and nothing is queued', async () => {
  const { sms, events } = await recording();
  await expect(sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' })).resolves.toEqual({ id: 'a' });
  await sms.enqueue(hello, { id: 'a' });
  const items = ['b', 'a'].map((id) => ({ id, message: { ...hello, text: 'Bye' } }));
  await expect(sms.enqueueMany(items)).rejects.toMatchObject({ name: 'RtSmsValidationError' });
  expect(sms.sent).toMatchObject([{ queueId: 'a' }]);
  const { uid } = sms.sent[0]!;
  await expect(sms.find('a')).resolves.toEqual({ id: 'a', state: 'accepted', uid, ref: 'order 1' });
  expect(events).toEqual([{ name: 'rt-sms.accepted', id: 'a', account: 'default', uid, ref: 'order 1' }]);
});

it('sendMany yields all results', async () => {
  const { sms } = await recording();
  const results = [];
  for await (const result of sms.sendMany([hello, { ...hello, msisdn: '1' }])) results.push(result.ok);
  expect(new Set(results)).toEqual(new Set([false, true]));
});

it('emits statuses by the rules of the module', async () => {
  const { sms, events } = await recording();
  const { uid } = await sms.send(hello);
  await sms.emitStatus(uid, 'awaiting_report');
  await expect(sms.emitStatus(uid, 'awaiting_report')).resolves.toBeUndefined();
  await sms.emitStatus(uid, 'failed');
  for (const repeated of ['failed', 'awaiting_report'] as const)
    await expect(sms.emitStatus(uid, repeated)).resolves.toBeUndefined();
  await expect(sms.emitStatus(uid, 'delivered')).resolves.toBeUndefined();
  const corrected = await sms.emitStatus(uid, 'delivered', { confirmed: true });
  expect(corrected).toMatchObject({ status: 'delivered', final: true, corrects: 'failed' });
  await expect(sms.emitStatus(uid, 'failed', { confirmed: true })).resolves.toBeUndefined();
  expect((events as { name: string }[]).map(({ name }) => name)).toEqual(
    ['awaiting_report', 'failed', 'delivered'].flatMap((status) => ['rt-sms.status', `rt-sms.status.${status}`]),
  );
});

it('emits overdue once, and not for a message that is final or has no overdueAfterMs', async () => {
  const { sms, events } = await recording();
  await sms.enqueue({ ...hello, ref: 'order 1', overdueAfterMs: 60_000 }, { id: 'a' });
  const { uid } = sms.sent[0]!;
  expect(sms.sent).toMatchObject([{ overdueAfterMs: 60_000 }]);
  await sms.emitStatus(uid, 'awaiting_report');
  events.splice(0);
  const event = {
    account: 'default',
    id: 'a',
    uid,
    ref: 'order 1',
    lastStatus: 'awaiting_report',
    overdueAfterMs: 60_000,
  };
  await expect(sms.emitOverdue(uid)).resolves.toEqual(event);
  await expect(sms.emitOverdue(uid)).resolves.toBeUndefined();
  const without = await sms.send(hello);
  await expect(sms.emitOverdue(without.uid)).resolves.toBeUndefined();
  const final = await sms.send({ ...hello, overdueAfterMs: 60_000 });
  await sms.emitStatus(final.uid, 'delivered');
  await expect(sms.emitOverdue(final.uid)).resolves.toBeUndefined();
  await expect(sms.emitOverdue(UID, { overdueAfterMs: 5_000, ref: 'order 2' })).resolves.toEqual({
    account: 'default',
    uid: UID,
    ref: 'order 2',
    overdueAfterMs: 5_000,
  });
  expect(events.filter((seen) => (seen as { name: string }).name === 'rt-sms.overdue')).toHaveLength(2);
});

describe('waitForFinal', () => {
  it('ends with the final status, also with a recorded one', async () => {
    const { sms, events } = await recording();
    const { uid } = await sms.send({ ...hello, ref: 'order 1' });
    const waiting = sms.waitForFinal(uid);
    await sms.emitStatus(uid, 'awaiting_report');
    const event = await sms.emitStatus(uid, 'delivered', { parts: 1 });
    await expect(waiting).resolves.toBe(event);
    await expect(sms.waitForFinal(uid)).resolves.toBe(event);
    expect(event).toMatchObject({ uid, status: 'delivered', final: true, ref: 'order 1', parts: 1 });
    expect(events).toHaveLength(4);
    await expect(sms.getStatus(uid)).resolves.toMatchObject({ status: 'delivered', final: true });
  });

  it('ends by its limits as in the service', async () => {
    const { sms } = await recording();
    const abort = new AbortController();
    const aborted = sms.waitForFinal(UID, { signal: abort.signal });
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ name: 'RtSmsAbortedError', operation: 'wait' });
    await expect(sms.waitForFinal(UID, { timeoutMs: 5 })).rejects.toMatchObject({
      name: 'RtSmsTimeoutError',
      operation: 'wait',
    });
  });
});

describe('with a policy', () => {
  const policy = { countries: ['RU'], perRecipient: { messages: 2, perMs: 60_000 } };

  it('what the policy refuses fails as in the service, and is not recorded', async () => {
    const { sms } = await recording({ policy });
    const refused = (rule: string) => ({ code: 'RT_SMS_POLICY', rule, outcome: 'not_sent' });
    await expect(sms.send({ ...hello, msisdn: '+375291234567' })).rejects.toMatchObject(refused('countries'));
    await sms.send(hello);
    const many = ['a', 'b'].map((id) => ({ message: hello, id }));
    await expect(sms.enqueueMany(many)).rejects.toMatchObject(refused('perRecipient'));
    sms.failNext(new RtSmsConnectionError('refused', false, {}));
    await expect(sms.send(hello)).rejects.toMatchObject({ code: 'RT_SMS_CONNECTION' });
    for (let n = 0; n < 2; n++) await sms.enqueue(hello, { id: 'a' });
    for await (const result of sms.sendMany([hello]))
      expect(result).toMatchObject({ ok: false, error: { ...refused('perRecipient'), account: 'default' } });
    expect(sms.sent).toHaveLength(2);
  });

  it('without one nothing is limited; an invalid one is an error', async () => {
    const { sms } = await recording();
    for (let n = 0; n < 10; n++) await sms.send(hello);
    expect(sms.sent).toHaveLength(10);
    const invalid = { ...policy, onlyTo: ['abc'] };
    expect(() => new RtSmsRecorder({ policy: invalid })).toThrow(/policy\.onlyTo/);
  });
});
