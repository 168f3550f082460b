import { jest } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { RtSmsService, type LimitStore, type RtSmsPolicy, type RtSmsPolicyError } from 'nestjs-rt-sms';
import { gatewayOf, run, type Running, type Setting } from '../durable/account.js';
import { describeStores, eventually, startStore, type Service } from '../durable/services.js';
import { pgClient } from '../durable/transactions.js';
import { atEnd } from '../platforms.js';

jest.setTimeout(60_000);

const HOUR = 3_600_000;
const TO = '79270000001';
const hello = { msisdn: TO, text: 'Hello' };
const times = (count: number) => Array.from({ length: count }, () => hello);

const url = (store: Service) => (store.options as { postgres: string }).postgres;

describeStores('the send policy over the replicas, on %s', (kind) => {
  let store: Service;
  let key = 0;
  beforeAll(async () => {
    store = await startStore(kind);
  });
  afterAll(() => store.close());

  const place = () => {
    const name = `policy${++key}`;
    return kind === 'Redis' ? { prefix: name } : { schema: name };
  };
  /** Starts replicas of one application in this process. */
  async function replicas(count: number, policy: RtSmsPolicy, more: Setting = {}, gatewayOptions = {}) {
    const gateway = await gatewayOf(gatewayOptions);
    const engine = { ...place(), ...more.engine };
    const options = { policy, ...more.options };
    const running: Running[] = [];
    for (let n = 0; n < count; n++) running.push(await run(gateway, store.options, { ...more, engine, options }));
    return { gateway, running, sms: running.map((each) => each.sms) };
  }
  const rulesOf = (results: PromiseSettledResult<unknown>[]) =>
    results.map((result) => (result.status === 'rejected' ? (result.reason as RtSmsPolicyError).rule : 'sent'));
  const sendAll = (sms: RtSmsService[], messages: { msisdn: string; text: string }[]) =>
    Promise.allSettled(messages.map((message, n) => sms[n % sms.length]!.send(message, { timeoutMs: 120_000 })));
  const countBy = <T>(items: T[], keyOf: (item: T) => string) => {
    const counts = new Map<string, number>();
    for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
    return counts;
  };

  it('of 200 concurrent sends to one number with a limit of 3 exactly 3 are sent', async () => {
    const { gateway, sms } = await replicas(3, { perRecipient: { messages: 3, perMs: HOUR } });
    const rules = rulesOf(await sendAll(sms, times(200)));
    expect(countBy(rules, String)).toEqual(
      new Map([
        ['sent', 3],
        ['perRecipient', 197],
      ]),
    );
    expect(gateway.messages).toHaveLength(3);
  });

  it('of 200 concurrent calls of enqueue exactly 3 are queued', async () => {
    const { running, sms } = await replicas(3, { perRecipient: { messages: 3, perMs: HOUR } });
    const calls = times(200).map((message, n) => sms[n % 3]!.enqueue(message, { id: `m${n}` }));
    const rules = rulesOf(await Promise.allSettled(calls));
    expect(countBy(rules, String)).toEqual(
      new Map([
        ['sent', 3],
        ['perRecipient', 197],
      ]),
    );
    const accepted = () => running.flatMap(({ events }) => events.filter(({ event }) => event === 'accepted'));
    await eventually(async () => accepted().length === 3);
  });

  it('negative control: where check and count are two requests to the store, more than 3 are sent', async () => {
    const { running, sms } = await replicas(3, { perRecipient: { messages: 3, perMs: HOUR } });
    let counted = 0;
    for (const { app } of running) {
      const { parts } = app.get<{ parts: { policy: { host: { limits: LimitStore } } } }>(RtSmsService);
      parts.policy.host.limits = {
        take: async (charges) => {
          const before = counted;
          await sms[0]!.find('a request to the store');
          if (before >= 3) return { refusal: { rule: 'perRecipient', max: 3, perMs: HOUR } };
          counted++;
          return { taken: charges.map(({ id }) => id) };
        },
        giveBack: async () => undefined,
      };
    }
    const rules = rulesOf(await sendAll(sms, times(200)));
    expect(rules.filter((rule) => rule === 'sent').length).toBeGreaterThan(3);
  });

  it('enqueue and enqueueMany count with send; all or none; a repeated id counts once on any replica', async () => {
    const { sms, running } = await replicas(3, { perRecipient: { messages: 3, perMs: HOUR } });
    const [one, two, three] = sms as [RtSmsService, RtSmsService, RtSmsService];
    await Promise.all(sms.map((each) => each.enqueue(hello, { id: 'a' })));
    await Promise.race(running.map((each) => each.heard('accepted', 'a')));
    await two.enqueue(hello, { id: 'a' });
    const many = ['b', 'c', 'd'].map((id) => ({ message: hello, id }));
    await expect(three.enqueueMany(many)).rejects.toMatchObject({
      rule: 'perRecipient',
      retryAfterMs: expect.any(Number),
    });
    await expect(three.find('b')).resolves.toBeUndefined();
    await three.enqueueMany([{ message: hello, id: 'a' }, ...many.slice(0, 2)]);
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
    await expect(two.enqueue({ ...hello, text: 'Other' }, { id: 'c' })).rejects.toMatchObject({
      code: 'RT_SMS_VALIDATION',
    });
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
  });

  it('a repeated id is not counted again after its window', async () => {
    const { sms } = await replicas(2, { perRecipient: { messages: 1, perMs: 300 } });
    await sms[0]!.enqueue(hello, { id: 'a', delayMs: HOUR });
    await pause(400);
    await sms[1]!.enqueue(hello, { id: 'a', delayMs: HOUR });
    await sms[1]!.enqueue(hello, { id: 'b', delayMs: HOUR });
  });

  it('an id that is free again is another message, and gives nothing of the first one back', async () => {
    const policy = { perRecipient: { messages: 2, perMs: HOUR } };
    const { sms, running } = await replicas(1, policy, { options: { idempotencyMs: 1_000 } });
    const [one] = sms as [RtSmsService];
    await one.enqueue(hello, { id: 'a' });
    await running[0]!.heard('accepted', 'a');
    await eventually(async () => (await one.find('a')) === undefined);
    await one.enqueue(hello, { id: 'a', delayMs: HOUR });
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
    await one.cancel('a');
    await running[0]!.heard('cancelled', 'a');
    await one.send(hello);
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
  });

  it('more than one group is taken as a whole, or given back', async () => {
    const { sms } = await replicas(2, { segmentsPerDay: 1_300 });
    const items = (count: number, letter: string) =>
      Array.from({ length: count }, (_, n) => ({
        message: { ...hello, msisdn: String(79_270_000_000 + n) },
        id: `${letter}${n}`,
        delayMs: HOUR,
      }));
    await expect(sms[0]!.enqueueMany(items(1_301, 'a'))).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    await sms[1]!.enqueueMany(items(1_300, 'b'));
    await expect(sms[0]!.send(hello)).rejects.toMatchObject({ rule: 'segmentsPerDay' });
  });

  it('not_sent, cancelled and expired are given back on whichever replica; unknown is not', async () => {
    const { sms, gateway, running } = await replicas(2, { segmentsPerDay: 1 });
    const heard = (name: string, id: string) => Promise.race(running.map((each) => each.heard(name, id)));
    const [one, two] = sms as [RtSmsService, RtSmsService];
    await expect(one.send(hello, { signal: AbortSignal.abort() })).rejects.toMatchObject({ outcome: 'not_sent' });
    await one.enqueue(hello, { id: 'a', delayMs: HOUR });
    await expect(two.send(hello)).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    await two.cancel('a');
    await heard('cancelled', 'a');
    await one.enqueue(hello, { id: 'b', delayMs: HOUR, expiresAt: new Date(Date.now() + 300) });
    await expect(two.send(hello)).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    await heard('expired', 'b');
    gateway.nextSend('reset');
    await two.enqueue(hello, { id: 'c' });
    await heard('outcome-unknown', 'c');
    await expect(one.send(hello)).rejects.toMatchObject({ rule: 'segmentsPerDay' });
  });

  it('the window is that of the clock of the store, slides, and ends; only hashes are stored', async () => {
    const { sms } = await replicas(2, {
      perRecipient: { messages: 1, perMs: 1_500 },
      perPrefix: { messages: 1_000, perMs: 1_500 },
      segmentsPerDay: 5_000,
    });
    await sms[0]!.send(hello);
    const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 10 * HOUR);
    const error = await sms[1]!.send(hello).catch((thrown: unknown) => thrown as RtSmsPolicyError);
    clock.mockRestore();
    expect(error).toMatchObject({ rule: 'perRecipient', retryAfterMs: expect.any(Number) });
    const { retryAfterMs } = error as RtSmsPolicyError;
    expect(retryAfterMs).toBeGreaterThan(500);
    expect(retryAfterMs).toBeLessThanOrEqual(1_500);
    const dump = await store.dump();
    expect(dump).toContain('perPrefix');
    for (const part of [TO, TO.slice(0, -4)]) expect(dump).not.toContain(`:${part}`);
    await pause(retryAfterMs);
    await sms[1]!.send(hello);
  });

  if (kind === 'PostgreSQL')
    it('with tx: counted before the transaction is used, once after ROLLBACK, given back if nothing was queued', async () => {
      const { sms, running, gateway } = await replicas(2, { perRecipient: { messages: 2, perMs: HOUR } });
      const [one, two] = sms as [RtSmsService, RtSmsService];
      const database = await pgClient(url(store));
      const outside = new Client({ connectionString: url(store) });
      atEnd(async () => void (await Promise.all([database.close(), outside.end()])));
      await outside.connect();
      // Three times, so that each would be missing from the limit of two.
      for (const id of ['x', 'y', 'z'])
        await expect(one.enqueue(hello, { id, tx: outside })).rejects.toMatchObject({ code: 'RT_SMS_VALIDATION' });
      const first = database.transaction(async (tx) => {
        await one.enqueue(hello, { id: 'a', tx });
        await one.enqueueMany([{ message: hello, id: 'b' }], { tx });
        // Counted for all replicas at once, although nothing is committed.
        await expect(two.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
        throw new Error('the order failed');
      });
      await expect(first).rejects.toThrow('the order failed');
      await database.transaction(async (tx) => {
        await two.enqueue(hello, { id: 'a', tx });
        let statements = 0;
        const watched = { query: (sql: string, values: unknown[]) => (statements++, tx.query(sql, values)) };
        await expect(two.enqueue(hello, { id: 'c', tx: watched })).rejects.toMatchObject({ rule: 'perRecipient' });
        expect(statements).toBe(0);
        await two.enqueue(hello, { id: 'b', tx: watched });
        expect(statements).toBeGreaterThan(0);
      });
      await Promise.all(['a', 'b'].map((id) => Promise.race(running.map((each) => each.heard('accepted', id)))));
      expect(gateway.messages).toHaveLength(2);
      await expect(one.send(hello)).rejects.toMatchObject({ rule: 'perRecipient' });
    });

  it('while the store is down each process counts by itself and warns once; then it counts together again', async () => {
    const own = await startStore(kind);
    atEnd(() => own.close());
    const gateway = await gatewayOf();
    const warnings: string[] = [];
    const { Logger } = await import('@nestjs/common');
    const engine = place();
    const policy = { perRecipient: { messages: 2, perMs: HOUR } };
    const both = [await run(gateway, own.options, { engine, options: { policy } })];
    both.push(await run(gateway, own.options, { engine, options: { policy } }));
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation((line: unknown) => {
      warnings.push(String(line));
    });
    atEnd(() => warn.mockRestore());
    const [one, two] = both.map(({ sms }) => sms) as [RtSmsService, RtSmsService];
    await one.send(hello);
    await own.kill();
    const results = await Promise.all([one, two].map((sms) => sendAll([sms], times(20))));
    for (const each of results) expect(rulesOf(each).filter((rule) => rule === 'sent')).toHaveLength(2);
    expect(warnings.filter((line) => line.includes('counts the limits'))).toHaveLength(2);
    await own.restart();
    let msisdn = 79_280_000_000;
    await eventually(async () => {
      // Two from one process and none from the other: the store counts again.
      const message = { ...hello, msisdn: String(msisdn++) };
      const results = [...(await sendAll([one], [message, message])), ...(await sendAll([two], [message]))];
      return rulesOf(results).join() === 'sent,sent,perRecipient';
    });
  });

  it('a queued message that ends as refused with not_sent is given back', async () => {
    const gateway = await gatewayOf();
    const engine = place();
    const options = { policy: { segmentsPerDay: 1 } };
    const key = (letter: string) => Buffer.from(letter.repeat(32)).toString('base64');
    const producer = { ...engine, role: 'producer', keys: [key('a')] } as const;
    const one = await run(gateway, store.options, { engine: producer, options });
    await one.sms.enqueue(hello, { id: 'a' });
    await expect(one.sms.send(hello)).rejects.toMatchObject({ rule: 'segmentsPerDay' });
    // A worker without the key cannot open the message.
    const two = await run(gateway, store.options, { engine: { ...engine, keys: [key('b')] }, options });
    await expect(two.heard('refused', 'a')).resolves.toMatchObject({ error: { outcome: 'not_sent' } });
    await two.sms.send(hello);
    expect(gateway.messages).toHaveLength(1);
  });

  it('counters are removed after their window', async () => {
    const where = place();
    const counters = async () => {
      if ('connection' in store.options) {
        const client = new Redis(store.options.connection);
        atEnd(() => client.disconnect());
        return (await client.keys(`${where.prefix}:*limit:*`)).length;
      }
      const client = new Client({ connectionString: store.options.postgres });
      await client.connect();
      const { rows } = await client.query<{ count: number }>(
        `SELECT (SELECT count(*) FROM ${where.schema}.rt_sms_limit) + (SELECT count(*) FROM ${where.schema}.rt_sms_charge) AS count`,
      );
      await client.end();
      return Number(rows[0]!.count);
    };
    const policy = { perRecipient: { messages: 5, perMs: 2_000 }, perPrefix: { messages: 9, perMs: HOUR } };
    // The store is swept each half of it.
    const { sms } = await replicas(1, policy, { engine: where, options: { idempotencyMs: 2_000, tracking: false } });
    await sms[0]!.send(hello);
    const all = await counters();
    expect(all).toBeGreaterThanOrEqual(3);
    await eventually(async () => (await counters()) < all);
    // Negative control: that of the longer window.
    await expect(counters()).resolves.toBeGreaterThan(0);
  });

  it('messages that are given back leave nothing in their counters', async () => {
    const { sms } = await replicas(1, { perRecipient: { messages: 5, perMs: HOUR } });
    const entries = async () => (await store.dump()).split('perRecipient').length;
    await sms[0]!.send(hello);
    const before = await entries();
    for (let n = 0; n < 20; n++)
      await expect(sms[0]!.send(hello, { signal: AbortSignal.abort() })).rejects.toMatchObject({ outcome: 'not_sent' });
    await eventually(async () => (await entries()) === before);
  });

  it('nothing is counted where no limit is set', async () => {
    const counters = async () => (await store.dump()).split(/perRecipient|perPrefix|segmentsPerDay/).length;
    const before = await counters();
    const { sms } = await replicas(1, { maxSegments: 2 });
    await sms[0]!.send(hello);
    await sms[0]!.enqueue(hello);
    expect(await counters()).toBeLessThanOrEqual(before);
    const limited = await replicas(1, { segmentsPerDay: 2 });
    await limited.sms[0]!.send(hello);
    expect(await counters()).toBeGreaterThan(before);
  });
});
