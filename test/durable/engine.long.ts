import { jest } from '@jest/globals';
import { Injectable, Logger } from '@nestjs/common';
import { EventEmitter2, OnEvent } from '@nestjs/event-emitter';
import { context, trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { BullMQOtel } from 'bullmq-otel';
import { OnRtSmsStatus, RtSmsConfigError, RtSmsEvents, type RtSmsStatusEvent } from 'nestjs-rt-sms';
import { rtSmsQueueNames, type BullMqOptions } from 'nestjs-rt-sms-bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { quickest } from '../timing.js';
import { callback, gatewayOf, run, type Setting } from './account.js';
import { bareQueue, describeStores, eventually, type Service, startStore, storeOfSuite } from './services.js';

jest.setTimeout(120_000);

/** The code has letters, because timestamps and digests could contain its digits by chance. */
const hello = { msisdn: '79271234567', text: 'Your code is QX-ZJKW' };

/** Waits until the store does not hold pending jobs, due now or later. */
async function idle(store: Service): Promise<void> {
  for (const name of Object.values(rtSmsQueueNames())) {
    const queue = await bareQueue(store, name);
    atEnd(() => queue.close());
    await eventually(async () => (await queue.getJobCountByTypes('wait', 'prioritized', 'active', 'delayed')) === 0);
  }
}

/** Starts an application that must fail, and returns the problems in its error. */
async function problemsOf(given: BullMqOptions, setting: Setting = {}): Promise<readonly string[]> {
  const gateway = await gatewayOf();
  const error: unknown = await run(gateway, given as Service['options'], setting).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RtSmsConfigError);
  expect(String(error)).not.toContain('s3cret');
  return (error as RtSmsConfigError).problems;
}

describeStores('the durable engine on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('role: producers fill the queue and take callbacks, workers send and run the handlers', async () => {
    const gateway = await gatewayOf();
    const api = await run(gateway, store.options, { engine: { role: 'producer' } });
    await api.sms.enqueue(hello, { id: 'a' });
    await expect(api.sms.find('a')).resolves.toEqual({ id: 'a', state: 'queued' });
    const worker = await run(gateway, store.options, { engine: { role: 'worker' } });
    // The check of the layout at the start does not leave anything in the store.
    expect(await store.dump()).not.toContain('probe');
    const { uid } = await worker.heard('accepted', 'a');
    await expect(api.sms.find('a')).resolves.toMatchObject({ state: 'accepted', uid });
    await expect(callback(api.url, uid!, 'delivered')).resolves.toBe(200);
    await expect(worker.heard('status.delivered')).resolves.toMatchObject({ uid, source: 'callback' });
    expect(api.events).toEqual([]);
    await expect(api.sms.waitForFinal(uid!)).resolves.toMatchObject({ status: 'delivered' });
  });

  it('send() on one replica is followed by another', async () => {
    const gateway = await gatewayOf();
    const api = await run(gateway, store.options, { engine: { role: 'producer' } });
    const worker = await run(gateway, store.options, { engine: { role: 'worker' } });
    const { uid } = await api.sms.send({ ...hello, ref: 'order 1' });
    await callback(api.url, uid, 'delivered');
    await expect(worker.heard('status.delivered')).resolves.toMatchObject({ uid, ref: 'order 1' });
  });

  it('a lost callback is made up for by polling, and an uid that another life left open is followed', async () => {
    const gateway = await gatewayOf();
    const tracking = { schedule: [300], open: () => [{ uid: left.uid, sentAt: new Date() }] };
    const before = await run(gateway, store.options, { options: { tracking: false } });
    const left = await before.sms.send(hello);
    await before.app.close();
    await gateway.report(left.uid, 'delivered');
    const { heard } = await run(gateway, store.options, { options: { tracking } });
    await expect(heard('status.delivered')).resolves.toMatchObject({ uid: left.uid, source: 'poll', confirmed: true });
  });

  it('handlers that throw twice run a third time with the same event', async () => {
    const seen: RtSmsStatusEvent[] = [];
    @Injectable()
    class Handlers {
      @OnRtSmsStatus('delivered')
      delivered(event: RtSmsStatusEvent): void {
        seen.push(event);
        if (seen.length < 3) throw new Error('the database is down');
      }
    }
    const gateway = await gatewayOf();
    const { app, sms, url, events, heard } = await run(gateway, store.options, { providers: [Handlers] });
    let accepted = 0;
    app.get(EventEmitter2).on('rt-sms.accepted', () => {
      if (++accepted < 2) throw new Error('the database is down');
    });
    await sms.enqueue(hello, { id: 'a' });
    const { uid } = await heard('accepted');
    await callback(url, uid!, 'delivered');
    // The message does not have a pending job.
    await idle(store);
    expect(seen).toHaveLength(3);
    expect(new Set(seen.map(({ id }) => id))).toEqual(new Set([`default:${uid}:delivered`]));
    expect(new Set(seen.map(({ receivedAt }) => receivedAt.getTime())).size).toBe(1);
    expect(accepted).toBe(2);
    expect(events.filter(({ event }) => event === 'accepted').every((event) => event.uid === uid)).toBe(true);
    expect(gateway.messages).toHaveLength(1);
  });

  it('a status waits until the handlers of accepted are done', async () => {
    let done!: () => void;
    const busy = new Promise<void>((resolve) => (done = resolve));
    @Injectable()
    class Handlers {
      @OnEvent(RtSmsEvents.accepted)
      accepted(): Promise<void> {
        return busy;
      }
    }
    const gateway = await gatewayOf();
    const { sms, url, events, heard } = await run(gateway, store.options, { providers: [Handlers] });
    atEnd(() => done());
    await sms.enqueue(hello, { id: 'a' });
    const { uid } = await heard('accepted');
    await expect(callback(url, uid!, 'delivered')).resolves.toBe(200);
    const queue = await bareQueue(store, rtSmsQueueNames().check);
    atEnd(() => queue.close());
    // The job has run once and was delayed.
    await eventually(async () => {
      const [job] = await queue.getJobs(['delayed', 'completed']);
      return job && job.attemptsStarted > 0;
    });
    expect(events.map(({ event }) => event)).toEqual(['accepted']);
    done();
    await heard('status.delivered');
  });

  it('one replica that the gateway refuses hands its messages to the others; nothing is refused for it', async () => {
    const gateway = await gatewayOf({ latencyMs: 20 });
    const wrong = await run(gateway, store.options, { options: { password: 'wrong' } });
    const all = Array.from({ length: 40 }, (_, n) => `m${n}`);
    await wrong.sms.enqueueMany(all.map((id) => ({ id, message: { ...hello, text: id } })));
    await new Promise((resolve) => gateway.once('exchange', resolve));
    await expect(wrong.sms.checkHealth()).resolves.toMatchObject({ ok: false, reason: 'wrong_credentials' });
    const right = await run(gateway, store.options);
    const began = performance.now();
    await Promise.all(all.map((id) => right.heard('accepted', id)));
    // Messages do not move back and forth between replicas.
    expect(performance.now() - began).toBeLessThan(15_000);
    expect(wrong.events).toEqual([]);
    expect(gateway.messages).toHaveLength(40);
    // The sends that it had begun before its first rejection, and its probe.
    expect(gateway.requests.post - 40).toBeLessThanOrEqual(10);
  });

  it('text, number and password leave the store with the settlement', async () => {
    const gateway = await gatewayOf({ password: 'n0b0dy-knows' });
    const { sms, url, heard } = await run(gateway, store.options);
    const { password } = gateway.options;
    const personal = new RegExp([hello.msisdn, '9271234567', 'QX-ZJKW', 'Your code', password].join('|'));
    await sms.enqueue(hello, { id: 'later', delayMs: 60_000 });
    // Otherwise the test proves nothing.
    expect(await store.dump()).toMatch(personal);
    await sms.cancel('later');
    await heard('cancelled');
    await sms.enqueue(hello, { id: hello.msisdn });
    const { uid } = await heard('accepted');
    gateway.nextSend('invalid_field_text');
    await sms.enqueue(hello, { id: 'refused' });
    await heard('refused');
    gateway.nextSend({ fault: 'reset', accepted: true });
    await sms.enqueue(hello, { id: 'unknown' });
    await heard('outcome-unknown');
    gateway.nextStatus({ status: 500 });
    await callback(url, uid!, 'awaiting_report');
    await gateway.report(uid!, 'delivered');
    await callback(url, uid!, 'delivered');
    await heard('status.delivered');
    await sms.getStatus(uid!);
    await expect(sms.find('refused')).resolves.toMatchObject({ state: 'refused' });
    const dump = await store.dump();
    expect(dump).toContain(uid);
    expect(dump).not.toMatch(personal);
  });

  it('an id is forgotten idempotencyMs after its message settled, and not before', async () => {
    const gateway = await gatewayOf();
    const { sms, heard } = await run(gateway, store.options, { options: { idempotencyMs: 3_000 } });
    await sms.enqueue(hello, { id: 'a', delayMs: 3_200 });
    await gateway.waitForMessage();
    const sentAt = Date.now();
    await heard('accepted');
    const other = { ...hello, text: 'Other' };
    await expect(sms.enqueue(other, { id: 'a' })).rejects.toThrow("id: 'a'");
    await eventually(async () => (await sms.find('a')) === undefined);
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(3_000);
    await sms.enqueue(other, { id: 'a' });
    await gateway.waitForMessage(({ text }) => text === 'Other');
  });

  it('spans of bullmq-otel: asked for, they come, and hold nothing personal', async () => {
    const exporter = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    trace.setGlobalTracerProvider(provider);
    atEnd(() => {
      trace.disable();
      context.disable();
      return provider.shutdown();
    });
    const gateway = await gatewayOf();
    const telemetry = new BullMQOtel({ tracerName: 'sms' });
    const { app, sms, heard, url } = await run(gateway, store.options, { engine: { telemetry } });
    await sms.enqueue(hello, { id: hello.msisdn });
    const { uid } = await heard('accepted');
    await callback(url, uid!, 'delivered');
    await heard('status.delivered');
    await app.close();
    const spans = exporter.getFinishedSpans();
    const names = new Set(spans.map(({ name }) => name));
    const { send } = rtSmsQueueNames();
    expect([...names].some((name) => name.includes(send))).toBe(true);
    const told = JSON.stringify(spans.map(({ name, attributes, events }) => ({ name, attributes, events })));
    expect(told).not.toMatch(/9271234567|QX-ZJKW|Your code/);
  });

  it('a store that is not there at the start: the application starts, fails fast, and sends when it comes', async () => {
    const gateway = await gatewayOf();
    await store.kill();
    const { sms, url, heard } = await run(gateway, store.options);
    const tookMs = await quickest(async () => {
      await expect(sms.enqueue(hello)).rejects.toMatchObject({ name: 'RtSmsOverloadedError', outcome: 'not_sent' });
      // A callback that could not be stored is not acknowledged.
      await expect(callback(url, 'message-id-1', 'delivered')).resolves.toBeGreaterThanOrEqual(500);
    });
    expect(tookMs).toBeLessThan(1_000);
    await expect(sms.send({ ...hello, text: 'At once' })).resolves.toMatchObject({ attempts: 1 });
    await store.restart();
    await eventually(() => sms.enqueue(hello, { id: 'a' }));
    await heard('accepted', 'a');
  });

  it('a callback is stored before it is answered', async () => {
    const gateway = await gatewayOf();
    const api = await run(gateway, store.options, { engine: { role: 'producer' } });
    const { uid } = await api.sms.send(hello);
    await expect(callback(api.url, uid, 'delivered')).resolves.toBe(200);
    await store.kill();
    await store.restart();
    const worker = await run(gateway, store.options, { engine: { role: 'worker' } });
    await expect(worker.heard('status.delivered')).resolves.toMatchObject({ uid, source: 'callback' });
  });
});

describe('a store that cannot be used stops the start, and says what to do', () => {
  /** Starts a separate Redis with another setting. */
  async function redisWith(setting: string, value: string): Promise<string> {
    const redis = await startStore('Redis');
    atEnd(() => redis.close());
    const { connection } = redis.options as { connection: string };
    const client = new Redis(connection);
    await client.config('SET', setting, value);
    client.disconnect();
    return connection;
  }

  it('Redis with eviction', async () => {
    const connection = await redisWith('maxmemory-policy', 'allkeys-lru');
    await expect(problemsOf({ connection })).resolves.toEqual([
      expect.stringMatching(/eviction policy of this Redis is allkeys-lru.*set maxmemory-policy noeviction/),
    ]);
  });

  it('Redis that is a cluster', async () => {
    const redis = await startStore('Redis', '--cluster-enabled', 'yes');
    atEnd(() => redis.close());
    const { connection } = redis.options as { connection: string };
    const client = new Redis(connection);
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await eventually(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
    client.disconnect();
    await expect(problemsOf({ connection })).resolves.toEqual([expect.stringContaining('this Redis is a cluster')]);
  });

  it('but one that forgets in a crash only warns, once', async () => {
    const connection = await redisWith('appendonly', 'no');
    const warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    await run(await gatewayOf(), { connection });
    const told = warn.mock.calls.filter(([what]) => String(what).includes('AOF disabled'));
    expect(told).toHaveLength(1);
    warn.mockRestore();
  });

  it('Redis with another password', async () => {
    const connection = await redisWith('requirepass', 'right');
    for (const user of ['', ':s3cret@']) {
      await expect(problemsOf({ connection: connection.replace('//', `//${user}`) })).resolves.toEqual([
        expect.stringContaining('this Redis rejects the user'),
      ]);
    }
    await run(await gatewayOf(), { connection: connection.replace('//', '//:right@') });
  });

  it('PostgreSQL: without rights, with no such database, without tables; replicas that start together make them once', async () => {
    const postgres = await startStore('PostgreSQL');
    const { postgres: url } = postgres.options as { postgres: string };
    try {
      const client = new Client({ connectionString: url });
      await client.connect();
      await client.query("CREATE ROLE clerk LOGIN PASSWORD 's3cret'; REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
      await client.end();
      await expect(problemsOf({ postgres: url.replace('postgres@', 'clerk:s3cret@') })).resolves.toEqual([
        expect.stringMatching(/the user lacks rights .* grant CREATE on the database/),
      ]);
      await expect(problemsOf({ postgres: url.replace(/postgres$/, 'nowhere') })).resolves.toEqual([
        expect.stringContaining('create it'),
      ]);
      await expect(problemsOf({ postgres: url, migrate: false })).resolves.toEqual([
        expect.stringContaining('set migrate: true'),
      ]);
      const gateway = await gatewayOf();
      const replicas = await Promise.all([1, 2, 3].map(() => run(gateway, { postgres: url })));
      await replicas[0]!.sms.enqueue(hello, { id: 'a' });
      await Promise.race(replicas.map(({ heard }) => heard('accepted', 'a')));
      // After the migration, replicas need rights only on the tables.
      await expect(run(gateway, { postgres: url }, { engine: { migrate: false } })).resolves.toBeDefined();
    } finally {
      await postgres.close();
    }
  });

  it('PostgreSQL: without CREATE the start fails and names it; once the tables exist, rights on them are enough', async () => {
    const postgres = await startStore('PostgreSQL');
    const { postgres: url } = postgres.options as { postgres: string };
    try {
      const gateway = await gatewayOf();
      await run(gateway, { postgres: url });
      const client = new Client({ connectionString: url });
      await client.connect();
      await client.query("CREATE ROLE clerk LOGIN PASSWORD 's3cret'");
      const grant = () =>
        client.query(
          'GRANT USAGE ON SCHEMA bullmq TO clerk; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bullmq TO clerk; GRANT USAGE ON ALL SEQUENCES IN SCHEMA bullmq TO clerk',
        );
      await grant();
      const clerk = { postgres: url.replace('postgres@', 'clerk:s3cret@') };
      const plain: Setting = { engine: { migrate: false } };
      const limited = { ...plain, options: { policy: { segmentsPerDay: 10 } } };
      const paced = { ...plain, options: { rate: { perSecond: 10 } } };
      await run(gateway, clerk, plain);
      for (const setting of [limited, paced])
        await expect(problemsOf(clerk, setting)).resolves.toEqual([
          expect.stringMatching(/the user lacks rights .* grant CREATE on the database and the schema/),
        ]);
      // Replicas that start together create the tables once.
      const both = { options: { ...limited.options, ...paced.options } };
      await Promise.all([1, 2, 3].map(() => run(gateway, { postgres: url }, both)));
      await grant();
      const { sms } = await run(gateway, clerk, { ...plain, ...both });
      const sent = gateway.waitForMessage(() => true);
      await sms.enqueue(hello);
      await sent;
      await client.end();
    } finally {
      await postgres.close();
    }
  });

  it('PostgreSQL with tables of another BullMQ', async () => {
    const postgres = await startStore('PostgreSQL');
    atEnd(() => postgres.close());
    const { postgres: url } = postgres.options as { postgres: string };
    const { app } = await run(await gatewayOf(), { postgres: url });
    await app.close();
    const client = new Client({ connectionString: url });
    await client.connect();
    atEnd(() => client.end());
    await client.query('DELETE FROM bullmq.job');
    for (const [change, back, what] of [
      ['ADD COLUMN shard text NOT NULL', 'DROP COLUMN shard', 'null value in column "shard"'],
      ['RENAME lock_token TO token', 'RENAME token TO lock_token', 'column "lock_token" .*does not exist'],
    ] as const) {
      await client.query(`ALTER TABLE bullmq.job ${change}`);
      await expect(problemsOf({ postgres: url })).resolves.toEqual([
        expect.stringMatching(`does not support the data layout of this BullMQ .*${what}`),
      ]);
      await client.query(`ALTER TABLE bullmq.job ${back}`);
    }
  });

  it.each([
    ['the data of a job', ', "data", data', ', "payload", data'],
    ['the lock', ':lock', ':held'],
    ['the delayed jobs', '* 0x1000', '* 0x2000'],
    ['the options', 'cjson.encode(opts)', 'cjson.encode({ o = opts })'],
  ])('Redis with another BullMQ, which keeps %s otherwise', async (_, here, there) => {
    const redis = await startStore('Redis');
    atEnd(() => redis.close());
    const { defineCommand } = Redis.prototype;
    let changed = 0;
    const spy = jest.spyOn(Redis.prototype, 'defineCommand').mockImplementation(function (this: Redis, name, script) {
      const lua = name.startsWith('rtSms') ? script.lua : script.lua.replaceAll(here, there);
      if (lua !== script.lua) changed++;
      return defineCommand.call(this, name, { ...script, lua });
    });
    atEnd(() => spy.mockRestore());
    await expect(problemsOf(redis.options as { connection: string })).resolves.toEqual([
      expect.stringContaining('does not support the data layout of this BullMQ'),
    ]);
    expect(changed).toBeGreaterThan(0);
    expect(await redis.dump()).not.toContain('probe');
  });

  it.each<[string, object, RegExp]>([
    ['neither', {}, /either connection \(Redis\) or postgres/],
    ['both', { connection: 'redis://x', postgres: 'postgres://x' }, /either connection \(Redis\) or postgres/],
    ['an unknown option', { connection: 'redis://x', concurency: 1 }, /no option 'concurency'/],
    ['a prefix for PostgreSQL', { postgres: 'postgres://x', prefix: 'a' }, /with postgres use schema/],
    ['a schema for Redis', { connection: 'redis://x', schema: 'a' }, /with Redis use prefix/],
    ['a client', { connection: { on: () => undefined } }, /not a client/],
    ['a role', { connection: 'redis://x', role: 'slave' }, /role must be 'both' or 'producer' or 'worker'/],
  ])('options: %s', async (_, options, problem) => {
    await expect(problemsOf(options)).resolves.toContainEqual(expect.stringMatching(problem));
  });
});
