import { jest } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import type { RtSmsPolicy, RtSmsPolicyError } from 'nestjs-rt-sms';
import { runEngine } from '../engine-conformance.js';
import { atEnd } from '../platforms.js';

const TO = '79270000001';
const hello = { msisdn: TO, text: 'Hello' };
const HOUR = 3_600_000;
const run = (policy: RtSmsPolicy, more: object = {}) => runEngine(() => undefined, { policy, ...more });
const refused = (rule: string) => ({
  name: 'RtSmsPolicyError',
  code: 'RT_SMS_POLICY',
  rule,
  outcome: 'not_sent',
  retryable: false,
});

describe('rules that do not count', () => {
  it.each<[string, RtSmsPolicy, object]>([
    ['onlyTo', { onlyTo: ['+7912', '79270000002'] }, hello],
    ['countries', { countries: ['KZ'] }, hello],
    ['countries', { countries: ['RU'] }, { ...hello, msisdn: '+375291234567' }],
    ['countries', { countries: ['RU'] }, { ...hello, msisdn: '+77012345678' }],
    ['maxSegments', { maxSegments: 1 }, { ...hello, text: 'я'.repeat(71) }],
  ])('%s refuses what %j does not allow, before any request', async (rule, policy, message) => {
    const { sms, gateway } = await run(policy);
    const error: unknown = await sms.send(message as typeof hello).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject(refused(rule));
    expect(error).not.toHaveProperty('retryAfterMs');
    await expect(sms.enqueue(message as typeof hello)).rejects.toMatchObject(refused(rule));
    for await (const result of sms.sendMany([message as typeof hello]))
      expect(result).toMatchObject({ ok: false, error: refused(rule) });
    expect(gateway.messages).toHaveLength(0);
    expect(inspect(error)).not.toMatch(/\d{9}/);
  });

  it('what they allow is sent', async () => {
    const { sms, gateway } = await run({ onlyTo: ['+7927'], countries: ['RU', 'KZ'], maxSegments: 2 });
    await sms.send({ ...hello, text: 'я'.repeat(71) });
    expect(gateway.messages).toHaveLength(1);
  });
});

describe('what is on', () => {
  it.each([
    [
      { onlyTo: ['+7927'], maxSegments: 2 },
      'warn',
      ['onlyTo: all recipients are refused except 1 number or prefix', 'maxSegments: 2'],
    ],
    [{ segmentsPerDay: 5 }, 'log', ['segmentsPerDay: 5']],
  ] as const)('of %j is in the log of the start, by %s, and in the health', async (policy, level, rules) => {
    const lines: unknown[] = [];
    const spy = jest.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push(line));
    atEnd(() => spy.mockRestore());
    const { sms } = await run(policy);
    expect(lines).toContain(`Send policy: ${rules.join('; ')}`);
    await expect(sms.checkHealth()).resolves.toMatchObject({ ok: true, policy: rules });
  });

  it('without a policy nothing is logged or shown', async () => {
    const { sms } = await runEngine(() => undefined);
    expect(await sms.checkHealth()).not.toHaveProperty('policy');
  });
});

describe('limits in memory', () => {
  it('of 200 concurrent sends to one number with a limit of 3 exactly 3 are sent', async () => {
    const { sms, gateway } = await run({ perRecipient: { messages: 3, perMs: HOUR } });
    const results = await Promise.allSettled(Array.from({ length: 200 }, () => sms.send(hello)));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(errors).toHaveLength(197);
    for (const error of errors) expect(error).toMatchObject(refused('perRecipient'));
    expect((errors[0] as RtSmsPolicyError).retryAfterMs).toBeLessThanOrEqual(HOUR);
    expect((errors[0] as RtSmsPolicyError).retryAfterMs).toBeGreaterThan(HOUR - 20_000);
    expect(gateway.messages).toHaveLength(3);
  });

  it('a window slides: a message is allowed again retryAfterMs after the refusal, and not before', async () => {
    const { sms } = await run({ perRecipient: { messages: 2, perMs: 60_000 } });
    let nowMs = 1_000_000;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    atEnd(() => clock.mockRestore());
    await sms.send(hello);
    nowMs += 20_000;
    await sms.send(hello);
    nowMs += 30_000;
    await expect(sms.send(hello)).rejects.toMatchObject({ rule: 'perRecipient', retryAfterMs: 10_000 });
    nowMs += 9_999;
    await expect(sms.send(hello)).rejects.toMatchObject({ retryAfterMs: 1 });
    nowMs += 1;
    await sms.send(hello);
    // A fixed window would allow a second one here.
    await expect(sms.send(hello)).rejects.toMatchObject({ retryAfterMs: 20_000 });
  });

  it('each of several limits applies, and the error has the longest wait', async () => {
    const { sms, gateway } = await run({
      perRecipient: [
        { messages: 1, perMs: 1_000 },
        { messages: 2, perMs: HOUR },
      ],
      perPrefix: { messages: 5, perMs: HOUR },
      segmentsPerDay: 6,
    });
    await sms.send(hello);
    await expect(sms.send(hello)).rejects.toMatchObject({ rule: 'perRecipient', retryAfterMs: expect.any(Number) });
    for (const last of ['2', '3', '4', '5']) await sms.send({ ...hello, msisdn: `7927000000${last}` });
    await expect(sms.send({ ...hello, msisdn: '79270000006' })).rejects.toMatchObject({ rule: 'perPrefix' });
    const elsewhere = { ...hello, msisdn: '79280000001' };
    const long = 'a'.repeat(161);
    await expect(sms.send({ ...elsewhere, text: long })).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    await sms.send(elsewhere);
    await expect(sms.send({ ...hello, msisdn: '79290000001' })).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    expect(gateway.messages).toHaveLength(6);
  });

  it('enqueueMany takes all or none; what can never fit has no retryAfterMs', async () => {
    const { sms, settled } = await run({ perRecipient: { messages: 3, perMs: HOUR } });
    const many = (count: number, key: string) =>
      sms.enqueueMany(Array.from({ length: count }, (_, n) => ({ message: hello, id: `${key}${n}` })));
    const error: unknown = await many(4, 'a').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject(refused('perRecipient'));
    expect(error).not.toHaveProperty('retryAfterMs');
    await many(2, 'b');
    await expect(many(2, 'c')).rejects.toMatchObject({ rule: 'perRecipient', retryAfterMs: expect.any(Number) });
    await many(1, 'd');
    await settled('b0', 'b1', 'd0');
    await expect(sms.find('a0')).resolves.toBeUndefined();
    await expect(sms.find('c0')).resolves.toBeUndefined();
  });

  it('a repeated id counts once, also after its window', async () => {
    const { sms, settled } = await run({ perRecipient: { messages: 1, perMs: 200 } });
    await sms.enqueue(hello, { id: 'a' });
    await sms.enqueue(hello, { id: 'a' });
    await settled('a');
    await pause(250);
    await sms.enqueue(hello, { id: 'a' });
    await sms.enqueue(hello, { id: 'b' });
    await expect(sms.enqueue(hello, { id: 'c' })).rejects.toMatchObject(refused('perRecipient'));
    // An id that stands for another message gives back nothing that it has not taken.
    await expect(sms.enqueue({ ...hello, text: 'Other' }, { id: 'b' })).rejects.toMatchObject({
      code: 'RT_SMS_VALIDATION',
    });
    await expect(sms.send(hello)).rejects.toMatchObject(refused('perRecipient'));
  });

  it('an id that is free again is another message', async () => {
    const { sms, settled } = await run({ perRecipient: { messages: 2, perMs: HOUR } }, { idempotencyMs: 1_000 });
    await sms.enqueue(hello, { id: 'a' });
    await settled('a');
    while (await sms.find('a')) await pause(50);
    await sms.enqueue(hello, { id: 'a', delayMs: HOUR });
    await expect(sms.send(hello)).rejects.toMatchObject(refused('perRecipient'));
  });

  it('not_sent is given back; rejected and unknown are not', async () => {
    const { sms, gateway } = await run({ perRecipient: { messages: 2, perMs: HOUR } }, { retry: { send: 0 } });
    await expect(sms.send(hello, { signal: AbortSignal.abort() })).rejects.toMatchObject({ outcome: 'not_sent' });
    gateway.nextSend('reset');
    await expect(sms.send(hello)).rejects.toMatchObject({ outcome: 'unknown' });
    gateway.nextSend('invalid_field_text');
    await expect(sms.send(hello)).rejects.toMatchObject({ outcome: 'rejected' });
    await expect(sms.send(hello)).rejects.toMatchObject(refused('perRecipient'));
  });

  it('a queued message that is cancelled or has expired is given back, before its event', async () => {
    const { sms, until, outcomes } = await run({ segmentsPerDay: 1 });
    await sms.enqueue(hello, { id: 'a', delayMs: HOUR });
    await expect(sms.send(hello)).rejects.toMatchObject(refused('segmentsPerDay'));
    await sms.cancel('a');
    await until(() => outcomes('a').length > 0);
    await sms.enqueue(hello, { id: 'b', delayMs: HOUR, expiresAt: new Date(Date.now() + 50) });
    await until(() => outcomes('b').length > 0);
    expect([outcomes('a'), outcomes('b')]).toEqual([['cancelled'], ['expired']]);
    await sms.send(hello);
  });

  it('with several accounts each counts for itself', async () => {
    const { sms, app } = await runEngine(
      () => undefined,
      { policy: { perRecipient: { messages: 1, perMs: HOUR } } },
      {},
      ['other'],
    );
    const { getRtSmsToken } = await import('nestjs-rt-sms');
    const other = app.get<typeof sms>(getRtSmsToken('other'));
    await sms.send(hello);
    await other.send(hello);
    await expect(sms.send(hello)).rejects.toMatchObject({ account: 'default', ...refused('perRecipient') });
    await expect(other.send(hello)).rejects.toMatchObject({ account: 'other', ...refused('perRecipient') });
  });
});

describe('beforeSend', () => {
  it('sees the checked message and the call; what it throws is the cause, and nothing is counted', async () => {
    const seen: unknown[] = [];
    let isStopped = true;
    const { sms, gateway, settled } = await run({
      segmentsPerDay: 3,
      beforeSend: (message, about) => {
        seen.push([message, about]);
        if (isStopped) throw Object.assign(new Error(`${message.msisdn} is on the stop list`), { code: 'STOPPED' });
      },
    });
    const error: unknown = await sms
      .send({ msisdn: '8 927 000-00-01', text: 'Hello' })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ ...refused('beforeSend'), cause: { code: 'STOPPED' } });
    expect(String((error as Error).cause)).toContain('stop list');
    expect(inspect(error)).not.toContain(TO);
    await expect(sms.enqueue(hello)).rejects.toMatchObject(refused('beforeSend'));
    for await (const { ok } of sms.sendMany([hello])) expect(ok).toBe(false);
    isStopped = false;
    await sms.send(hello);
    await sms.enqueueMany([
      { message: hello, id: 'a' },
      { message: hello, id: 'b' },
    ]);
    await settled('a', 'b');
    await expect(sms.send(hello)).rejects.toMatchObject(refused('segmentsPerDay'));
    expect(gateway.messages).toHaveLength(3);
    const checked = { msisdn: TO, text: 'Hello', shortcode: 'SHOP' };
    expect(seen).toEqual(
      ['send', 'enqueue', 'sendMany', 'send', 'enqueue', 'enqueue', 'send'].map((via) => [
        checked,
        { account: 'default', via },
      ]),
    );
  });

  it('after the deadline of the call nothing is sent, and nothing is counted', async () => {
    let isSlow = true;
    const beforeSend = () => {
      // Holds the event loop, so that no timer can fire before it returns.
      for (const end = performance.now() + 400; isSlow && performance.now() < end;);
    };
    const limit = { messages: 1, perMs: HOUR };
    const { sms, gateway } = await run({ perRecipient: limit, beforeSend }, { timeouts: { sendMs: 300 } });
    await expect(sms.send(hello)).rejects.toMatchObject({ code: 'RT_SMS_TIMEOUT', outcome: 'not_sent' });
    expect(gateway.requests.post).toBe(0);
    isSlow = false;
    await sms.send(hello);
  });

  it('one that hangs is refused after 10 s, or at the deadline of the call; a signal ends it', async () => {
    const { sms, gateway } = await run({ segmentsPerDay: 1, beforeSend: () => new Promise(() => undefined) });
    await expect(sms.send(hello, { timeoutMs: 50 })).rejects.toMatchObject(refused('beforeSend'));
    await expect(sms.send(hello, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      code: 'RT_SMS_ABORTED',
      outcome: 'not_sent',
    });
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'performance'] });
    const error = sms.enqueue(hello).catch((thrown: unknown) => thrown);
    await jest.advanceTimersByTimeAsync(9_999);
    await expect(Promise.race([error, Promise.resolve('waiting')])).resolves.toBe('waiting');
    await jest.advanceTimersByTimeAsync(1);
    jest.useRealTimers();
    expect(await error).toMatchObject(refused('beforeSend'));
    expect(await error).toHaveProperty('cause.message', 'no answer within 10 s');
    expect(gateway.messages).toHaveLength(0);
  });
});
