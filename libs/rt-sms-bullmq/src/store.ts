import { setTimeout as pause } from 'node:timers/promises';
import {
  createRedisBackend,
  Queue,
  type BackendFactory,
  type IQueueBackend,
  type RedisClient,
  type WorkerOptions,
} from 'bullmq';
import type { EngineHost, RtSmsConfigError } from 'nestjs-rt-sms';
import type { CheckData, UnknownData } from './check-data.js';
import type { SendData } from './job-data.js';
import { JOB, type JobWorker, type Processor, type StoredQueue } from './jobs.js';
import { connectionOptions, queueName, type ResolvedBullMqOptions, type rtSmsQueueNames } from './options.js';
import { MessageSeal } from './message-seal.js';
import { probeSchema } from './schema-probe.js';
import { StoreClock } from './store-clock.js';
import { StoreIdentity, type IdentityData } from './store-identity.js';
import type { StoreOperations } from './operations.js';
import { postgresOperations } from './postgres-operations.js';
import { redisOperations } from './redis-operations.js';
import { sharedPostgresBackend } from './postgres-connections.js';
import { guardRequest, within, type StoreRequest } from './store-requests.js';
import { EngineWorker, PacedWorker, type Pace } from './workers.js';
import {
  evictionPolicyProblem,
  isMissing,
  layoutProblem,
  reason,
  StoreUnusableError,
  toConfigError,
} from './store-errors.js';

/** Milliseconds for which the start of the application waits for the store. */
const START_MS = 5_000;
/** Milliseconds for which a connection may take to close. */
const CLOSE_MS = 5_000;
const PAUSE_MS = 500;
/** Interval in milliseconds at which the store is looked at: its clock and its mark. */
const LOOK_MS = 5_000;
/** Minimum interval in milliseconds between two warnings about the store. */
const WARNING_MS = 30_000;
/** BullMQ writes events that the engine does not read. */
const EVENTS = { events: { maxLen: 1_000 } };

/** Keys of `rtSmsQueueNames`. */
export type QueueName = keyof ReturnType<typeof rtSmsQueueNames>;

/** The connections of a queue or a worker. */
interface Connected {
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

/**
 * The queues and workers of an account in Redis or PostgreSQL. Connections are restored automatically, even if the store was
 * down at the start.
 */
export class Store {
  /** Resolves once the store has been reached and is usable. */
  readonly ready: Promise<void>;
  /** Number of times that the store was found emptied. */
  emptied = 0;
  /** `ready` with the time limit of the start. Later callers do not wait for a store that is down. */
  private readonly reached: Promise<void>;
  private isReady = false;
  private allOperations: Record<QueueName, StoreOperations> | undefined;
  private queues: [StoredQueue<SendData>, StoredQueue<CheckData>, StoredQueue<UnknownData>] | undefined;
  private messageSeal: MessageSeal | undefined;
  private identity: StoreIdentity | undefined;
  private watch: NodeJS.Timeout | undefined;
  private unusable: RtSmsConfigError | undefined;
  private isVolatile = false;
  private closed = false;
  private readonly connections = new Set<Connected>();
  private warnedAt = -Infinity;
  private readonly factory: BackendFactory<IQueueBackend, object>;
  readonly isRedis: boolean;
  readonly clock: StoreClock;

  constructor(
    readonly options: ResolvedBullMqOptions,
    private readonly account: string,
    readonly logger: EngineHost['logger'],
  ) {
    this.isRedis = options.connection !== undefined;
    const { postgres = {}, schema, migrate } = options;
    this.factory = this.isRedis ? createRedisBackend : sharedPostgresBackend({ postgres, schema, migrate });
    this.clock = new StoreClock(logger);
    this.ready = this.open();
    this.reached = within(START_MS, this.ready);
    this.reached.catch(() => undefined);
  }

  name(queue: QueueName): string {
    return queueName(this.account, queue);
  }

  get send(): StoredQueue<SendData> {
    return this.opened()[0];
  }

  get check(): StoredQueue<CheckData> {
    return this.opened()[1];
  }

  get unknown(): StoredQueue<UnknownData> {
    return this.opened()[2];
  }

  /** Compares the clocks, and looks for the mark of the store. */
  private async look(): Promise<void> {
    await this.clock.measure(() => this.operations('send').now());
    await this.identity!.look();
  }

  /** True if the store was emptied after it had been found emptied `times` times. */
  async isEmptiedSince(times: number): Promise<boolean> {
    await this.retryUntilStored(() => this.identity!.look());
    return this.emptied > times;
  }

  /** The seal of stored messages. */
  get seal(): MessageSeal {
    this.opened();
    return this.messageSeal!;
  }

  /** @throws RtSmsConfigError if the store is reachable but unusable */
  async prepare(opening: Promise<void>): Promise<void> {
    const isReached = await within(START_MS, opening).then(
      () => true,
      () => false,
    );
    if (this.unusable) throw this.unusable;
    if (!isReached)
      this.logger.warn('The store of the queue is unreachable. Nothing is queued or sent until it is available');
  }

  /** Runs a request that a caller waits for, see `guardRequest`. `count` is the number of messages. */
  guard<T>(request: StoreRequest, work: () => Promise<T>, count = 1): Promise<T> {
    const reached = this.isReady ? undefined : this.reached;
    return guardRequest(request, work, { account: this.account, reached, count });
  }

  /** Repeats `work` until the store has done it, for data that must not be lost with one connection. */
  async retryUntilStored<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (isMissing(error) || this.closed) throw error;
        this.warnThrottled(error);
        await pause(PAUSE_MS);
      }
    }
  }

  /** Operations on a queue that BullMQ does not offer. */
  operations(queue: QueueName): StoreOperations {
    this.opened();
    return this.allOperations![queue];
  }

  /** Removes the jobs of a queue that were completed before `at`, a Unix time in milliseconds. */
  async removeCompleted(queue: QueueName, at: number): Promise<void> {
    await this.operations(queue).removeCompleted(Math.max(0, Math.floor(at)));
  }

  /** Runs a delayed job now. @throws if the job is not delayed */
  async runNow(queue: StoredQueue<SendData> | StoredQueue<CheckData>, jobId: string): Promise<void> {
    const backend = queue.getBackend();
    // On PostgreSQL promote() may put an active job back into the queue (bullmq 6.7).
    await (this.isRedis ? backend.promote(jobId) : backend.changeDelay(jobId, 0));
  }

  /** Connects a worker, which still has to be run. Retries while the store is down. */
  async work<T>(
    queue: QueueName,
    processor: Processor<T>,
    options: Partial<WorkerOptions>,
    pace?: Pace,
  ): Promise<JobWorker<T> | undefined> {
    const { concurrency, lockDurationMs, stalledIntervalMs } = this.options;
    while (!this.closed) {
      const Kind = pace ? PacedWorker<T> : EngineWorker<T>;
      const worker: JobWorker<T> = new Kind(
        this.name(queue),
        (job, token) => processor(job, token!),
        {
          ...connectionOptions(this.options, 'worker'),
          autorun: false,
          concurrency,
          lockDuration: lockDurationMs,
          stalledInterval: stalledIntervalMs,
          // A job never fails because its workers died: the engine decides each time.
          maxStalledCount: 1_000_000_000,
          runRetryDelay: PAUSE_MS,
          ...(options as object),
        },
        this.factory,
      );
      if (worker instanceof PacedWorker) worker.pace = pace!;
      worker.on('error', this.warnThrottled);
      this.connections.add(worker);
      try {
        await worker.waitUntilReady();
        return worker;
      } catch (error) {
        this.warnThrottled(error);
        await this.discard(worker);
        await pause(PAUSE_MS);
      }
    }
    return undefined;
  }

  /** Stops connecting. */
  end(): void {
    this.closed = true;
    clearInterval(this.watch);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.connections].map((made) => this.discard(made)));
  }

  private async discard(made: Connected): Promise<void> {
    this.connections.delete(made);
    await within(CLOSE_MS, made.close()).catch(() => undefined);
    // If the store is down, the client would keep connecting and keep the process alive.
    await within(CLOSE_MS, made.disconnect()).catch(() => undefined);
  }

  readonly warnThrottled = (error: unknown): void => {
    const now = performance.now();
    if (this.closed || now - this.warnedAt < WARNING_MS) return;
    this.warnedAt = now;
    this.logger.warn(`The store of the queue failed: ${reason(error)}`);
  };

  private onEmptied(): void {
    this.emptied++;
    this.logger.error(
      'The store of the queue was emptied: messages that waited in it are lost without an event, and uids in it are no longer tracked. Fix: enqueue the messages again whose outcome your application does not know, with their ids, and track() open uids; set up persistence (Redis: appendonly yes)',
    );
  }

  private opened(): [StoredQueue<SendData>, StoredQueue<CheckData>, StoredQueue<UnknownData>] {
    if (!this.queues || !this.isReady) throw new Error('The store of the queue is not reached yet');
    return this.queues;
  }

  private async open(): Promise<void> {
    while (!this.closed) {
      const make = <T>(name: QueueName | 'store', factory: typeof this.factory): StoredQueue<T> => {
        const made: StoredQueue<T> = new Queue<T, string, string, T, string, string, IQueueBackend, object>(
          queueName(this.account, name),
          // The lock duration is for the job of `probeSchema`.
          {
            ...connectionOptions(this.options, 'producer'),
            streams: EVENTS,
            ...({ lockDuration: this.options.lockDurationMs } as object),
          },
          factory,
        );
        this.connections.add(made);
        return made;
      };
      const first = make<SendData>('send', this.factory);
      const queues: StoredQueue<unknown>[] = [first];
      try {
        await this.connected(first);
        const backend = first.getBackend();
        // The other queues share the connections of the first one.
        const second = make<CheckData>('check', (name) => backend.forQueue(name));
        const third = make<UnknownData>('unknown', (name) => backend.forQueue(name));
        const marks = make<IdentityData>('store', (name) => backend.forQueue(name));
        queues.push(second, third, marks);
        const steps = (jobs: Queue, others: Queue) =>
          this.isRedis
            ? redisOperations(jobs.getBackend(), jobs.toKey(''), others.toKey(''), () => this.clock.now())
            : postgresOperations(backend, jobs.name, others.name, () => this.clock.now());
        const wrong = await probeSchema(`${this.name('send')}-probe`, backend, (probe) => steps(probe, probe), JOB);
        if (wrong !== undefined) throw new StoreUnusableError(layoutProblem(wrong));
        const own = (jobs: StoredQueue<unknown>) => steps(jobs as Queue, second as Queue);
        this.allOperations = { send: own(first), check: own(second), unknown: own(third) };
        for (const queue of [second, third, marks]) {
          queue.on('error', this.warnThrottled);
          await queue.waitUntilReady();
        }
        await this.clock.measure(() => this.allOperations!.send.now());
        this.identity = await StoreIdentity.open(marks, () => this.onEmptied());
        this.watch = setInterval(() => void this.look().catch(this.warnThrottled), LOOK_MS).unref();
        this.messageSeal = new MessageSeal(this.account, this.options.keys, this.identity.key);
        this.queues = [first, second, third];
        this.isReady = true;
        if (this.isVolatile)
          this.logger.warn(
            'This Redis has AOF disabled: if it crashes, queued messages are lost. Fix: set appendonly yes',
          );
        return;
      } catch (error) {
        const gone = Promise.all(queues.map((queue) => this.discard(queue)));
        this.unusable = toConfigError(error, this.account);
        if (this.unusable) {
          await gone;
          throw this.unusable;
        }
        this.warnThrottled(error);
        await pause(PAUSE_MS);
      }
    }
    throw new Error('the application is shutting down');
  }

  private async connected(queue: StoredQueue<SendData>): Promise<void> {
    let refused: (error: unknown) => void;
    const refusal = new Promise<never>((_, reject) => (refused = reject));
    queue.on('error', (error) => {
      this.warnThrottled(error);
      if (toConfigError(error, this.account)) refused(error);
    });
    await Promise.race([queue.waitUntilReady(), refusal]);
    if (!this.isRedis) return;
    const client = await (queue.getBackend() as unknown as { client: Promise<RedisClient> }).client;
    const info = await client.info();
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    if (policy !== undefined && policy !== 'noeviction') throw new StoreUnusableError(evictionPolicyProblem(policy));
    this.isVolatile = /^aof_enabled:0/m.test(info);
  }
}
