// A replica in a separate process, to be killed and frozen. Its argument has the settings. It sends all events over
// IPC, and receives `{ enqueue: […], options: {…} }` and `{ leave: true }`.
import { createPostgresBackend, createRedisBackend, Worker } from 'bullmq';
import { startReplica, type ReplicaEnqueueOptions, type ReplicaSetting } from './replica.js';
import type { ReplicaTells } from './replicas.js';

const setting = JSON.parse(process.argv[2]!) as ReplicaSetting;
const tell = (what: ReplicaTells) =>
  new Promise<void>((resolve, reject) => process.send!(what, (error) => (error ? reject(error) : resolve())));

/** A bare BullMQ worker: the negative control, without which a test of double sends may prove nothing. */
async function bare({ gateway, store, engine = {} }: ReplicaSetting): Promise<void> {
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
      connection: redis
        ? { url: store.connection, maxRetriesPerRequest: null }
        : { connectionString: store.postgres, migrate: true },
      ...(engine.lockDurationMs && { lockDuration: engine.lockDurationMs }),
      ...(engine.stalledIntervalMs && { stalledInterval: engine.stalledIntervalMs }),
      ...(engine.concurrency && { concurrency: engine.concurrency }),
      maxStalledCount: 100,
    },
    (redis ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend,
  );
  worker.on('error', () => undefined);
  await worker.waitUntilReady();
  await tell({ ready: '' });
}

process.once('disconnect', () => process.exit());
if (setting.bare) await bare(setting);
else {
  const log = (level: 'error' | 'warn') => (text: unknown) => void tell({ level, text: String(text) });
  const replica = await startReplica(setting, tell, {
    error: log('error'),
    warn: log('warn'),
    log: () => undefined,
  });
  process.on('message', ({ enqueue, options }: { enqueue?: string[]; options?: ReplicaEnqueueOptions }) => {
    if (enqueue)
      replica
        .enqueue(enqueue, options)
        .then(() => tell({ enqueued: true }))
        .catch((error: Error) => tell({ enqueued: false, failed: error.message }));
    else void replica.end().then(() => process.exit());
  });
  await tell({ ready: replica.url });
}
