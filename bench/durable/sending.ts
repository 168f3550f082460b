// The engine works off a full queue, compared with a bare BullMQ worker that makes the same POST.
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { Worker } from 'bullmq';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { Pool } from 'undici';
import type { Service } from '../../test/durable/services.js';
import { messageOf } from '../account.js';
import { attempt, figure, median, type Figure } from '../figures.js';
import { account, ACCOUNT, bareQueue, CONCURRENCY, connection, engine, factory, perSecond } from './setup.js';

const ROUNDS = 5;
const SENDS = { Redis: 6_000, PostgreSQL: 1_500 };
const BARS = { Redis: 0.75, PostgreSQL: 0.8 };

const { origin, pathname: path } = new URL(ACCOUNT.url);
const headers = {
  authorization: `Basic ${Buffer.from(`${ACCOUNT.login}:${ACCOUNT.password}`).toString('base64')}`,
  'content-type': 'application/json',
};
let next = 0;
const backlog = (count: number) => Array.from({ length: count }, () => messageOf(next++));

/** Sends per second of a bare worker, from its start to its last message. */
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
  const rate = await perSecond(count, () => {
    void worker.run();
    return all;
  });
  await worker.close();
  await queue.close();
  await pool.close();
  return rate;
}

/** Sends per second of the engine, from the start of its application. */
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
  const rate = await perSecond(count, async () => {
    await app.init();
    await all;
  });
  await app.close();
  return rate;
}

export async function sending(store: Service): Promise<Figure[]> {
  const { kind } = store;
  const rates: { bare: number; durable: number }[] = [];
  const result = await attempt(async () => {
    // The first round warms up.
    for (let round = 0; round <= ROUNDS; round++) {
      const rate = { bare: await bare(store, SENDS[kind]), durable: await durable(store, SENDS[kind]) };
      await store.clear();
      if (round > 0) rates.push(rate);
    }
    return rates;
  });
  const medianOf = (value: (rate: (typeof rates)[0]) => number) =>
    result instanceof Error ? result : median(result.map(value));
  return [
    figure(
      `${kind}: a bare BullMQ worker, 50 at once`,
      medianOf((rate) => rate.bare),
      { unit: '/s' },
    ),
    figure(
      `${kind}: the engine, 50 at once`,
      medianOf((rate) => rate.durable),
      { unit: '/s' },
    ),
    figure(
      `${kind}: the engine ÷ the bare worker`,
      medianOf((rate) => rate.durable / rate.bare),
      { bar: { atLeast: BARS[kind] } },
    ),
  ];
}
