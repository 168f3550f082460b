import { Queue, type BackendFactory, type IQueueBackend, type RedisClient } from 'bullmq';
import type { CheckData, UnknownData } from './check-data.js';
import type { SendData } from './job-data.js';
import { JOB, type StoredQueue } from './jobs.js';
import type { LimitOperations } from './limit-operations.js';
import type { StoreOperations } from './operations.js';
import { connectionOptions, queueName, type ResolvedBullMqOptions, type rtSmsQueueNames } from './options.js';
import type { PostgresBackend } from './postgres-backend.js';
import { postgresLimits } from './postgres-limits.js';
import { postgresOperations } from './postgres-operations.js';
import { redisLimits } from './redis-limits.js';
import { redisOperations } from './redis-operations.js';
import { probeSchema } from './schema-probe.js';
import { evictionPolicyProblem, layoutProblem, StoreUnusableError, toConfigError } from './store-errors.js';
import type { IdentityData } from './store-identity.js';
import { transactionSql, type SqlJob } from './transaction-sql.js';

/** BullMQ writes events that the engine does not read. */
const EVENTS = { events: { maxLen: 1_000 } };

/** Keys of `rtSmsQueueNames`. */
export type QueueName = keyof ReturnType<typeof rtSmsQueueNames>;
export type StoreBackendFactory = BackendFactory<IQueueBackend, object>;

/** The connections of a queue or a worker. */
export interface Connected {
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

/** The queues of an account in a store that has been reached. */
export interface StoreQueues {
  send: StoredQueue<SendData>;
  check: StoredQueue<CheckData>;
  unknown: StoredQueue<UnknownData>;
  /** Holds the mark of the store. */
  marks: StoredQueue<IdentityData>;
  operations: Record<QueueName, StoreOperations>;
  limits: LimitOperations;
  /** True for a Redis that loses its content in a crash. */
  isVolatile: boolean;
}

/** Counters that the account keeps in the store. */
export interface StoreCounts {
  rate: boolean;
  limits: boolean;
}

interface Opening {
  account: string;
  options: ResolvedBullMqOptions;
  factory: StoreBackendFactory;
  counts: StoreCounts;
  now: () => number;
  onError: (error: unknown) => void;
  /** Receives each queue, which is to be closed, also if the opening fails. */
  onMade: (made: Connected) => void;
}

/** Opens the queues of an account. @throws StoreUnusableError if the store answers but cannot be used */
export async function openQueues(opening: Opening): Promise<StoreQueues> {
  const { account, options, factory, counts, now, onError, onMade } = opening;
  const isRedis = options.connection !== undefined;
  const make = <T>(name: QueueName | 'store', by: StoreBackendFactory): StoredQueue<T> => {
    const made: StoredQueue<T> = new Queue<T, string, string, T, string, string, IQueueBackend, object>(
      queueName(account, name),
      {
        ...connectionOptions(options, 'producer'),
        streams: EVENTS,
        // For the job of `probeSchema`.
        ...({ lockDuration: options.lockDurationMs } as object),
      },
      by,
    );
    onMade(made);
    return made;
  };
  const send = make<SendData>('send', factory);
  const refusal = new Promise<never>((_, reject) => {
    send.on('error', (error) => {
      onError(error);
      if (toConfigError(error, account)) reject(error);
    });
  });
  await Promise.race([send.waitUntilReady(), refusal]);
  const isVolatile = isRedis && (await checkRedis(send));
  const backend = send.getBackend();
  // The other queues share the connections of the first one.
  const share: StoreBackendFactory = (name) => backend.forQueue(name);
  const check = make<CheckData>('check', share);
  const unknown = make<UnknownData>('unknown', share);
  const marks = make<IdentityData>('store', share);
  const steps = (jobs: Queue, others: Queue) =>
    isRedis
      ? redisOperations(jobs.getBackend(), jobs.toKey(''), others.toKey(''), now)
      : postgresOperations(backend, jobs.name, others.name, now);
  const { addAnywhere } = transactionSql(options.schema);
  const addBySql = (job: SqlJob) => (backend as unknown as PostgresBackend).query(addAnywhere, [JSON.stringify([job])]);
  const probed = [`${send.name}-probe`, backend, (probe: Queue) => steps(probe, probe), JOB] as const;
  const wrong = await probeSchema(...probed, isRedis ? undefined : addBySql);
  if (wrong !== undefined) throw new StoreUnusableError(layoutProblem(wrong));
  for (const queue of [check, unknown, marks]) {
    queue.on('error', onError);
    await queue.waitUntilReady();
  }
  const own = (jobs: StoredQueue<unknown>) => steps(jobs as Queue, check as Queue);
  const operations = { send: own(send), check: own(check), unknown: own(unknown) };
  const limits = isRedis ? redisLimits(backend, send.toKey('')) : postgresLimits(backend, send.name);
  // On PostgreSQL this creates the tables of both, so that missing rights fail the start instead of the first message.
  if (counts.rate) await operations.send.reserve(0);
  if (counts.limits) await limits.giveBack([]);
  return { send, check, unknown, marks, operations, limits, isVolatile };
}

/** True for a Redis that loses its content in a crash. @throws StoreUnusableError if it may delete messages */
async function checkRedis(queue: StoredQueue<SendData>): Promise<boolean> {
  const client = await (queue.getBackend() as unknown as { client: Promise<RedisClient> }).client;
  const info = await client.info();
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy !== undefined && policy !== 'noeviction') throw new StoreUnusableError(evictionPolicyProblem(policy));
  return /^aof_enabled:0/m.test(info);
}
