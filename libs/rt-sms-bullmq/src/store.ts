import { setTimeout as pause } from 'node:timers/promises';
import {
  createPostgresBackend,
  createRedisBackend,
  DelayedError,
  Queue,
  type Worker,
  type BackendFactory,
  type IQueueBackend,
  type Job,
  type RedisClient,
  type Telemetry,
  type WorkerOptions,
} from 'bullmq';
import {
  isRtSmsError,
  type EngineHost,
  type RtSmsConfigError,
  RtSmsOverloadedError,
  RtSmsTimeoutError,
} from 'nestjs-rt-sms';
import { rtSmsQueueNames, type ResolvedBullMqOptions } from './options.js';
import { misfit } from './layout.js';
import { postgresSteps, redisSteps, type OwnSteps } from './own-steps.js';
import { EngineWorker, PacedWorker } from './workers.js';
import { isMissing, LAYOUT, neverLeft, offline, POLICY, reason, safeStoreError, Unfit, unfit } from './store-errors.js';

/** A caller waits so long for the store. */
const ANSWER_MS = 5_000;
/** And so much longer for each further message. */
const ANSWER_EACH_MS = 1;
/** The start of the application waits so long for it. */
const START_MS = 5_000;
const PAUSE_MS = 500;
/** Jobs that run when their worker is stopped may take so long. */
const GRACE_MS = 10_000;
/** The store's complaints are logged so often at most. */
const COMPLAINT_MS = 30_000;
/** Jobs move events of their own along; nobody reads them here. */
const EVENTS = { events: { maxLen: 1_000 } };

/** Of each job: nothing of it fails for good, and no stack of an error gets into the store. */
export const JOB = { attempts: 1_000_000, backoff: 5_000, stackTraceLimit: 0 } as const;

/** For how long a worker's jobs stay after their end. BullMQ removes them when another one ends, `Sweep` where none does. */
export function keepFor(ms: number): Pick<WorkerOptions, 'removeOnComplete' | 'removeOnFail'> {
  const keep = { age: Math.ceil(ms / 1000) };
  return { removeOnComplete: keep, removeOnFail: keep };
}

/** What callers wait for. */
export type StoreRequest = keyof typeof REQUESTS;

const AGAIN = 'call it again, which is safe';
/** What each says where it certainly was not done, and where the store did not acknowledge it, and what to do then. */
const REQUESTS = {
  enqueue: {
    operation: 'send',
    notDone: (why: string) => `Nothing was queued: ${why}`,
    unknown: (why: string) =>
      `Enqueue outcome unknown: the store did not acknowledge the message (${why}). If it has an id of yours, enqueue it again with this id: that cannot send it twice`,
  },
  find: {
    operation: 'status',
    notDone: (why: string) => `The message could not be looked up: ${why}. find() changes nothing: ${AGAIN}`,
    unknown: (why: string) =>
      `The message could not be looked up: the store did not answer (${why}). find() changes nothing: ${AGAIN}`,
  },
  cancel: {
    operation: 'status',
    notDone: (why: string) => `Nothing was cancelled: ${why}. The message may still be sent; to cancel it, ${AGAIN}`,
    unknown: (why: string) =>
      `Cancel outcome unknown: the store did not acknowledge it (${why}). The message may still be sent; to cancel it, ${AGAIN}`,
  },
  track: {
    operation: 'status',
    notDone: (why: string) => `The uid is not tracked yet: ${why}`,
    unknown: (why: string) => `Track outcome unknown: the store did not acknowledge the uid (${why})`,
  },
  callback: {
    operation: 'status',
    notDone: (why: string) => `The status was not stored: ${why}`,
    unknown: (why: string) => `The status may not be stored: the store did not acknowledge it (${why})`,
  },
} as const;

export type StoredQueue<T> = Queue<T, string, string, T, string, string, IQueueBackend, object>;
export type StoredJob<T> = Job<T, string>;
export type JobWorker<T> = Worker<T, string, string, IQueueBackend, never, object>;
export type Processor<T> = (job: StoredJob<T>, token: string) => Promise<string>;

/** Those of `rtSmsQueueNames`. */
export type QueueName = keyof ReturnType<typeof rtSmsQueueNames>;

/** A queue or a worker, as far as its connections go. */
interface Connected {
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

/**
 * The queues and workers of an account in Redis or PostgreSQL. Its connections come back by themselves, also where the
 * store was not there at the start.
 */
export class Store<Send, Check, Unknown> {
  /** Resolves once the store has been reached, and was found fit for use. */
  readonly ready: Promise<void>;
  /** The same, but a store that is not there at the start is waited for only so long; later callers not at all. */
  private readonly reached: Promise<void>;
  private isReady = false;
  private own: Record<QueueName, OwnSteps> | undefined;
  private queues: [StoredQueue<Send>, StoredQueue<Check>, StoredQueue<Unknown>] | undefined;
  private unfit: RtSmsConfigError | undefined;
  private isVolatile = false;
  private closed = false;
  private readonly made = new Set<Connected>();
  private complainedAt = -Infinity;
  private readonly factory: BackendFactory<IQueueBackend, object>;
  readonly isRedis: boolean;

  constructor(
    private readonly options: ResolvedBullMqOptions,
    private readonly account: string,
    private readonly logger: EngineHost['logger'],
  ) {
    this.isRedis = options.connection !== undefined;
    this.factory = (this.isRedis ? createRedisBackend : createPostgresBackend) as unknown as typeof this.factory;
    this.ready = this.open();
    this.reached = within(START_MS, this.ready);
    this.reached.catch(() => undefined);
  }

  name(queue: QueueName): string {
    return rtSmsQueueNames(this.account)[queue];
  }

  get send(): StoredQueue<Send> {
    return this.opened()[0];
  }

  get check(): StoredQueue<Check> {
    return this.opened()[1];
  }

  get unknown(): StoredQueue<Unknown> {
    return this.opened()[2];
  }

  /** @throws RtSmsConfigError if the store can be reached, but never be used */
  async prepare(opening: Promise<void>): Promise<void> {
    const there = await within(START_MS, opening).then(
      () => true,
      () => false,
    );
    if (this.unfit) throw this.unfit;
    if (!there) this.logger.warn('The store of the queue cannot be reached; nothing is queued or sent until it comes');
  }

  /**
   * Runs what a caller waits for, and does not let it wait for a store that is down.
   * @throws RtSmsOverloadedError if it certainly was not done; RtSmsTimeoutError if the store did not acknowledge it, for
   * `enqueue` with the outcome `unknown`
   */
  async ask<T>(request: StoreRequest, work: () => Promise<T>, count = 1): Promise<T> {
    const began = performance.now();
    const { notDone, unknown, operation } = REQUESTS[request];
    const context = (error: unknown) => {
      const durationMs = performance.now() - began;
      return { operation, account: this.account, durationMs, cause: safeStoreError(error) };
    };
    try {
      if (!this.isReady) await this.reached;
    } catch (error) {
      throw new RtSmsOverloadedError(
        notDone(`the store of the queue cannot be reached (${reason(error)})`),
        context(error),
      );
    }
    try {
      return await within(ANSWER_MS + (count - 1) * ANSWER_EACH_MS, work());
    } catch (error) {
      if (isRtSmsError(error)) throw error;
      // Of many, those before the one that failed may be in.
      if (count === 1 ? neverLeft(error) : offline(error))
        throw new RtSmsOverloadedError(notDone(`the store of the queue is down (${reason(error)})`), context(error));
      throw new RtSmsTimeoutError(unknown(reason(error)), 'unknown', context(error));
    }
  }

  /** Repeats `work` until the store has done it; what is at stake must not be lost with one connection. */
  async insist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (isMissing(error) || this.closed) throw error;
        this.complain(error);
        await pause(PAUSE_MS);
      }
    }
  }

  /** What BullMQ has no step for, on the queue of messages. */
  get steps(): OwnSteps {
    this.opened();
    return this.own!.send;
  }

  /** Removes the jobs of this queue that were completed before `at`, a Unix time in milliseconds. */
  async forget(queue: QueueName, at: number): Promise<void> {
    this.opened();
    await this.own![queue].forget(Math.max(0, Math.floor(at)));
  }

  /** Lets a delayed job run now. @throws where it is none */
  async hasten(queue: StoredQueue<Send> | StoredQueue<Check>, jobId: string): Promise<void> {
    const backend = queue.getBackend();
    // In PostgreSQL promote() may put a job that is being worked on back into the queue (bullmq 6.7).
    await (this.isRedis ? backend.promote(jobId) : backend.changeDelay(jobId, 0));
  }

  /** Connects a worker that is yet to be run; while the store is away it waits and comes back. */
  async work<T>(
    queue: QueueName,
    processor: Processor<T>,
    options: Partial<WorkerOptions>,
  ): Promise<JobWorker<T> | undefined> {
    const { concurrency, lockDurationMs, stalledIntervalMs } = this.options;
    while (!this.closed) {
      const Kind = options.limiter ? PacedWorker<T> : EngineWorker<T>;
      const worker: JobWorker<T> = new Kind(
        this.name(queue),
        (job, token) => processor(job, token!),
        {
          ...this.base('worker'),
          autorun: false,
          concurrency,
          lockDuration: lockDurationMs,
          stalledInterval: stalledIntervalMs,
          // A job that was lost often is still no other's business: it is looked at each time.
          maxStalledCount: 1_000_000_000,
          runRetryDelay: PAUSE_MS,
          ...(options as object),
        },
        this.factory,
      );
      worker.on('error', this.complain);
      this.made.add(worker);
      try {
        await worker.waitUntilReady();
        return worker;
      } catch (error) {
        this.complain(error);
        await this.discard(worker);
        await pause(PAUSE_MS);
      }
    }
    return undefined;
  }

  /** No more is begun: what is being connected is given up. */
  end(): void {
    this.closed = true;
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.made].map((made) => this.discard(made)));
  }

  private async discard(made: Connected): Promise<void> {
    this.made.delete(made);
    await within(ANSWER_MS, made.close()).catch(() => undefined);
    // A store that is down takes no leave: its client would go on connecting, and keep the process alive.
    await within(ANSWER_MS, made.disconnect()).catch(() => undefined);
  }

  readonly complain = (error: unknown): void => {
    const now = performance.now();
    if (this.closed || now - this.complainedAt < COMPLAINT_MS) return;
    this.complainedAt = now;
    this.logger.warn(`The store of the queue: ${reason(error)}`);
  };

  private opened(): [StoredQueue<Send>, StoredQueue<Check>, StoredQueue<Unknown>] {
    if (!this.queues || !this.isReady) throw new Error('The store of the queue is not reached yet');
    return this.queues;
  }

  private async open(): Promise<void> {
    while (!this.closed) {
      const make = <T>(name: QueueName, factory: typeof this.factory): StoredQueue<T> => {
        const made: StoredQueue<T> = new Queue<T, string, string, T, string, string, IQueueBackend, object>(
          this.name(name),
          // The lock is for the job that finds out about the layout.
          { ...this.base('producer'), streams: EVENTS, ...({ lockDuration: this.options.lockDurationMs } as object) },
          factory,
        );
        this.made.add(made);
        return made;
      };
      const first = make<Send>('send', this.factory);
      const queues: StoredQueue<unknown>[] = [first];
      try {
        await this.connected(first);
        const backend = first.getBackend();
        // By the connections of the first one.
        const second = make<Check>('check', (name) => backend.forQueue(name));
        const third = make<Unknown>('unknown', (name) => backend.forQueue(name));
        queues.push(second, third);
        const steps = (jobs: Queue, others: Queue) =>
          this.isRedis
            ? redisSteps(jobs.getBackend(), jobs.toKey(''), others.toKey(''))
            : postgresSteps(backend, jobs.name, others.name);
        const wrong = await misfit(`${this.name('send')}-probe`, backend, (probe) => steps(probe, probe), JOB);
        if (wrong !== undefined) throw new Unfit(LAYOUT(wrong));
        const own = (jobs: StoredQueue<unknown>) => steps(jobs as Queue, second as Queue);
        this.own = { send: own(first), check: own(second), unknown: own(third) };
        for (const queue of [second, third]) {
          queue.on('error', this.complain);
          await queue.waitUntilReady();
        }
        this.queues = [first, second, third];
        this.isReady = true;
        if (this.isVolatile)
          this.logger.warn(
            'This Redis keeps no append-only file (appendonly yes): when it crashes, queued messages are gone',
          );
        return;
      } catch (error) {
        const gone = Promise.all(queues.map((queue) => this.discard(queue)));
        this.unfit = unfit(error, this.account);
        if (this.unfit) {
          await gone;
          throw this.unfit;
        }
        this.complain(error);
        await pause(PAUSE_MS);
      }
    }
    throw new Error('The application ended');
  }

  private async connected(queue: StoredQueue<Send>): Promise<void> {
    let refused: (error: unknown) => void;
    const refusal = new Promise<never>((_, reject) => (refused = reject));
    queue.on('error', (error) => {
      this.complain(error);
      if (unfit(error, this.account)) refused(error);
    });
    await Promise.race([queue.waitUntilReady(), refusal]);
    if (!this.isRedis) return;
    const client = await (queue.getBackend() as unknown as { client: Promise<RedisClient> }).client;
    const info = await client.info();
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    if (policy !== undefined && policy !== 'noeviction') throw new Unfit(POLICY(policy));
    this.isVolatile = /^aof_enabled:0/m.test(info);
  }

  private base(role: 'producer' | 'worker') {
    const { connection, postgres, schema, migrate, prefix, telemetry } = this.options;
    const common = telemetry ? { telemetry: telemetry as Telemetry } : {};
    if (connection !== undefined) {
      const given = typeof connection === 'string' ? { url: connection } : connection;
      return {
        ...common,
        prefix,
        connection: {
          retryStrategy: (times: number) => Math.min(times * 100, 2_000),
          ...given,
          // An HTTP request must not wait for a Redis that is down; a worker has nothing better to do.
          ...(role === 'producer' ? { enableOfflineQueue: false } : { maxRetriesPerRequest: null }),
        },
      };
    }
    const given = typeof postgres === 'string' ? { connectionString: postgres } : postgres;
    return {
      ...common,
      // Most of what is written goes by the queues; a worker only takes and ends its jobs.
      connection: {
        max: role === 'producer' ? 10 : 5,
        connectionTimeoutMillis: 4_000,
        keepAlive: true,
        ...given,
        schema,
        migrate,
      },
    };
  }
}

/** Ends the work on a job for now; it is taken up again at `at`. PostgreSQL takes whole milliseconds only. */
export async function postpone<T>(job: StoredJob<T>, token: string, at: number): Promise<never> {
  await job.moveToDelayed(Math.ceil(at), token);
  throw new DelayedError();
}

/** Takes no more jobs, and lets those in its hands finish for a while. */
export async function stopWorker<T>(worker: JobWorker<T>): Promise<void> {
  await within(GRACE_MS, worker.close()).catch(() => worker.close(true));
}

export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
