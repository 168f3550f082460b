// What all measurements of the durable engine share: the gateway, the account, and bare BullMQ for comparison.
import 'reflect-metadata';
import type { INestApplicationContext } from '@nestjs/common';
import { createPostgresBackend, createRedisBackend, Queue, type ConnectionOptions } from 'bullmq';
import { bullMq, type BullMqRole } from 'nestjs-rt-sms-bullmq';
import type { Service } from '../../test/durable/services.js';
import { LOGIN, PASSWORD, SECRET, startAccount, startGateway } from '../account.js';

export const CONCURRENCY = 50;

const url = await startGateway();
export const ACCOUNT = {
  login: LOGIN,
  password: PASSWORD,
  shortcode: 'SHOP',
  callback: { secrets: SECRET },
  url,
  connections: CONCURRENCY,
  tracking: { schedule: [600_000] },
};

export const engine = ({ options }: Service, role: BullMqRole) =>
  bullMq({ ...options, concurrency: CONCURRENCY, role });

/** Starts an application with the account, and its queue in `store`. */
export const account = (store: Service, role: BullMqRole): Promise<INestApplicationContext> =>
  startAccount({ ...ACCOUNT, engine: engine(store, role) });

export const connection = ({ options }: Service): ConnectionOptions =>
  'connection' in options
    ? { url: options.connection, maxRetriesPerRequest: null }
    : { connectionString: options.postgres, migrate: true };

export const factory = ({ kind }: Service) =>
  (kind === 'Redis' ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend;

export async function bareQueue(store: Service): Promise<Queue> {
  const queue = new Queue('bare', { connection: connection(store) }, factory(store));
  queue.on('error', () => undefined);
  await queue.waitUntilReady();
  return queue;
}

/** Number of `count` per second while `work` runs. */
export async function perSecond(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (count * 1_000) / (performance.now() - began);
}
