// One replica of an application, to be killed, frozen and restarted by the tests. It is told what to be by its argument,
// tells every event over IPC, and takes `{ enqueue: […] }`.
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { createPostgresBackend, createRedisBackend, Worker } from 'bullmq';
import { RtSmsModule, RtSmsService, type EngineHost, type RtSmsOptions, type SmsEngineFactory } from 'nestjs-rt-sms';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import type { ReplicaEvent, ReplicaSetting, ReplicaTells } from './replicas.js';

const setting = JSON.parse(process.argv[2]!) as ReplicaSetting;
const tell = (what: ReplicaTells) =>
  new Promise<void>((resolve, reject) => process.send!(what, (error) => (error ? reject(error) : resolve())));

/** What BullMQ does by itself: the negative control, without which a test of "never twice" may be blind. */
async function bare(): Promise<void> {
  const { gateway, store, lockDurationMs, stalledIntervalMs, concurrency = 10 } = setting;
  const redis = 'connection' in store;
  const authorization = `Basic ${Buffer.from(`${gateway.login}:${gateway.password}`).toString('base64')}`;
  const worker = new Worker(
    'bare',
    async ({ data }: { data: { text: string } }) => {
      const body = JSON.stringify({ msisdn: '79270000001', shortcode: 'SHOP', text: data.text });
      const answer = await fetch(gateway.url, {
        method: 'POST',
        body,
        headers: { authorization, 'content-type': 'application/json' },
      });
      await answer.text();
      await tell({ event: 'sent', id: data.text });
    },
    {
      connection: (redis ? { url: store.connection, maxRetriesPerRequest: null } : store.postgres) as object,
      ...(lockDurationMs === undefined ? {} : { lockDuration: lockDurationMs }),
      ...(stalledIntervalMs === undefined ? {} : { stalledInterval: stalledIntervalMs }),
      maxStalledCount: 100,
      concurrency,
    },
    (redis ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend,
  );
  worker.on('error', () => undefined);
  await worker.waitUntilReady();
  await tell({ ready: '' });
}

async function replica(): Promise<void> {
  const { gateway, store, options, diesBeforeMark, ...engine } = setting;
  const given = bullMq({
    ...store,
    ...(engine.role && { role: engine.role }),
    ...(engine.lockDurationMs && { lockDurationMs: engine.lockDurationMs }),
    ...(engine.stalledIntervalMs && { stalledIntervalMs: engine.stalledIntervalMs }),
    ...(engine.concurrency && { concurrency: engine.concurrency }),
  });
  // The place in the rate is asked for when the job is fetched, and before anything is marked.
  const deadly: SmsEngineFactory = (host) => {
    const slot = (): never => process.kill(process.pid, 'SIGKILL') as never;
    return given(Object.assign(Object.create(host) as EngineHost, { slot }));
  };
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({
        ...gateway,
        shortcode: 'SHOP',
        callback: { secrets: 'a-secret-of-sixteen' },
        engine: diesBeforeMark ? deadly : given,
        ...(options as Partial<RtSmsOptions>),
      }),
    ],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: setting.log ? ['error', 'warn'] : false });
  app.enableShutdownHooks(['SIGTERM']);
  const emitter = app.get(EventEmitter2);
  for (const name of ['accepted', 'refused', 'outcome-unknown', 'expired', 'cancelled', 'unresolved', 'status']) {
    emitter.on(`rt-sms.${name}`, ({ id, uid, ref, status, final }: ReplicaEvent): unknown =>
      tell({ event: name, id, uid, ref, status, final }),
    );
  }
  await app.listen(0, '127.0.0.1');
  const sms = app.get(RtSmsService);
  process.on('message', ({ enqueue }: { enqueue: string[] }) => {
    sms
      .enqueueMany(enqueue.map((id) => ({ message: { msisdn: '79270000001', text: id, ref: id }, id })))
      .then(() => tell({ enqueued: enqueue.length }))
      .catch((error: Error) => tell({ failed: error.message }));
  });
  await tell({ ready: await app.getUrl() });
}

process.once('disconnect', () => process.exit());
await (setting.bare ? bare() : replica());
