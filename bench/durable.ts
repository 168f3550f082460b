// Cost of the durable engine, compared with a bare BullMQ worker that does the same POST. It starts its own Redis and
// PostgreSQL; all in one process, in turn, against one gateway.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { createPostgresBackend, createRedisBackend, Queue, Worker, type ConnectionOptions } from 'bullmq';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { bullMq, type BullMqRole } from 'nestjs-rt-sms-bullmq';
import { Pool } from 'undici';
import { startStore, STORES, type Service } from '../test/durable/services.js';
import { LOGIN, messageOf, PASSWORD, SECRET, startAccount, startGateway } from './account.js';
import { median, percentile, report, type Figure } from './figures.js';

const CONCURRENCY = 50;
const ROUNDS = 5;
const SENDS = { Redis: 6_000, PostgreSQL: 1_500 };
const MANY = 100_000;
/** Number of first callbacks that are not counted, while code and connections are cold and a backlog is worked off. */
const COLD = 1_500;
const CALLBACKS = 5_000 + COLD;

const url = await startGateway();
const { origin, pathname: path } = new URL(url);
const headers = {
  authorization: `Basic ${Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64')}`,
  'content-type': 'application/json',
};
const ACCOUNT = {
  login: LOGIN,
  password: PASSWORD,
  shortcode: 'SHOP',
  callback: { secrets: SECRET },
  url,
  connections: CONCURRENCY,
  tracking: { schedule: [600_000] },
};
let next = 0;
const backlog = (count: number) => Array.from({ length: count }, () => messageOf(next++));

const engine = (store: Service, role: BullMqRole) => bullMq({ ...store.options, concurrency: CONCURRENCY, role });
const account = (store: Service, role: BullMqRole) => startAccount({ ...ACCOUNT, engine: engine(store, role) });

const connection = (store: Service): ConnectionOptions =>
  'connection' in store.options
    ? { url: store.options.connection, maxRetriesPerRequest: null }
    : { connectionString: store.options.postgres, migrate: true };
const factory = (store: Service) =>
  (store.kind === 'Redis' ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend;

async function bareQueue(store: Service): Promise<Queue> {
  const queue = new Queue('bare', { connection: connection(store) }, factory(store));
  queue.on('error', () => undefined);
  await queue.waitUntilReady();
  return queue;
}

/** Sends per second from a full queue, from the start of the worker to its last message. */
async function bare(store: Service, count: number): Promise<number> {
  const pool = new Pool(origin, { connections: CONCURRENCY });
  const queue = await bareQueue(store);
  await queue.addBulk(backlog(count).map((data) => ({ name: 'send', data })));
  let left = count;
  let done!: () => void;
  const all = new Promise<void>((resolve) => (done = resolve));
  const worker = new Worker(
    'bare',
    async ({ data }) => {
      const answer = await pool.request({ method: 'POST', path, headers, body: JSON.stringify(data) });
      return ((await answer.body.json()) as { result: { uid: string } }).result.uid;
    },
    { connection: connection(store), concurrency: CONCURRENCY, autorun: false, removeOnComplete: { age: 3_600 } },
    factory(store),
  );
  worker.on('error', () => undefined);
  worker.on('completed', () => {
    if (--left === 0) done();
  });
  await worker.waitUntilReady();
  const began = performance.now();
  void worker.run();
  await all;
  const seconds = (performance.now() - began) / 1000;
  await worker.close();
  await queue.close();
  await pool.close();
  return count / seconds;
}

/** Sends per second of the engine from a full queue, from the start of its application. */
async function durable(store: Service, count: number): Promise<number> {
  const producer = await account(store, 'producer');
  await producer.get(RtSmsService).enqueueMany(backlog(count).map((message) => ({ message, priority: 'otp' })));
  await producer.close();
  @Module({
    imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...ACCOUNT, engine: engine(store, 'both') })],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: ['error'] });
  let left = count;
  const all = new Promise<void>((resolve) => {
    app.get(EventEmitter2).on('rt-sms.accepted', () => {
      if (--left === 0) resolve();
    });
  });
  const began = performance.now();
  await app.init();
  await all;
  const seconds = (performance.now() - began) / 1000;
  await app.close();
  return count / seconds;
}

async function enqueueMany(store: Service, named: boolean): Promise<number> {
  const app = await account(store, 'producer');
  const items = Array.from({ length: MANY }, (_, n) => ({
    message: messageOf(n),
    priority: 'otp' as const,
    ...(named ? { id: `named-${n}` } : {}),
  }));
  const began = performance.now();
  await app.get(RtSmsService).enqueueMany(items);
  const seconds = (performance.now() - began) / 1000;
  await app.close();
  await store.clear();
  return MANY / seconds;
}

async function addBulk(store: Service): Promise<number> {
  const queue = await bareQueue(store);
  const jobs = Array.from({ length: MANY }, (_, n) => ({
    name: 'send',
    data: messageOf(n),
    opts: { jobId: `bare-${n}` },
  }));
  const began = performance.now();
  await queue.addBulk(jobs);
  const seconds = (performance.now() - began) / 1000;
  await queue.close();
  await store.clear();
  return MANY / seconds;
}

/** Milliseconds from a callback at one replica to its event at another one, while 500 messages a second are sent. */
async function callbackWaits(store: Service): Promise<number[]> {
  const worker = await account(store, 'both');
  const producer = await account(store, 'producer');
  const sms = producer.get(RtSmsService);
  const emitter = worker.get(EventEmitter2);
  const calledAt = new Map<string, number>();
  const waits: number[] = [];
  emitter.on('rt-sms.status', ({ uid }: { uid: string }) => waits.push(performance.now() - calledAt.get(uid)!));
  emitter.on('rt-sms.accepted', ({ uid }: { uid: string }) => {
    setTimeout(() => {
      calledAt.set(uid, performance.now());
      void sms.handleCallback({ id: uid, status: 'delivered', parts: '1' }, { secret: SECRET });
    }, 200);
  });
  const began = performance.now();
  for (let sent = 0; sent < CALLBACKS;) {
    const due = Math.min(CALLBACKS, Math.floor((performance.now() - began) / 2));
    for (; sent < due; sent++) void sms.enqueue(messageOf(next++));
    await sleep(2);
  }
  while (waits.length < CALLBACKS) await sleep(50);
  await producer.close();
  await worker.close();
  return waits.slice(COLD);
}

const figures: Figure[] = [];
for (const kind of STORES) {
  const store = await startStore(kind);
  const rates: { bare: number; durable: number }[] = [];
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++) {
    const rate = { bare: await bare(store, SENDS[kind]), durable: await durable(store, SENDS[kind]) };
    await store.clear();
    if (round > 0) rates.push(rate);
  }
  figures.push(
    { what: `${kind}: a bare BullMQ worker, 50 at once`, value: median(rates.map((rate) => rate.bare)), unit: '/s' },
    { what: `${kind}: the engine, 50 at once`, value: median(rates.map((rate) => rate.durable)), unit: '/s' },
    {
      what: `${kind}: the engine ÷ the bare worker`,
      value: median(rates.map((rate) => rate.durable / rate.bare)),
      bar: { atLeast: kind === 'Redis' ? 0.45 : 0.4 },
    },
  );
  if (kind === 'Redis') {
    const ratios: number[] = [];
    const named: number[] = [];
    for (let round = 0; round < 3; round++) {
      const bulk = await addBulk(store);
      ratios.push((await enqueueMany(store, false)) / bulk);
      named.push((await enqueueMany(store, true)) / bulk);
    }
    const waits = await callbackWaits(store);
    figures.push(
      { what: 'Redis: enqueueMany of 100,000 ÷ bare addBulk', value: median(ratios), bar: { atLeast: 0.8 } },
      { what: 'Redis: the same with ids of one’s own, which are looked up', value: median(named) },
      { what: 'Redis: callback at another replica → event, median', value: median(waits), unit: 'ms' },
      {
        what: 'Redis: callback at another replica → event, p99, at 500 sends a second',
        value: percentile(waits, 99),
        unit: 'ms',
        bar: { atMost: 100 },
      },
    );
  }
  await store.close();
}
report(figures);
