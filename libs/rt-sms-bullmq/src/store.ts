import { setTimeout as pause } from 'node:timers/promises';
import { createRedisBackend, type WorkerOptions } from 'bullmq';
import type { EngineHost, RtSmsConfigError } from 'nestjs-rt-sms';
import type { CheckData, UnknownData } from './check-data.js';
import type { SendData } from './job-data.js';
import type { JobWorker, Processor, StoredQueue } from './jobs.js';
import { MessageSeal } from './message-seal.js';
import type { LimitOperations } from './limit-operations.js';
import type { StoreOperations } from './operations.js';
import { connectionOptions, queueName, type ResolvedBullMqOptions } from './options.js';
import { sharedPostgresBackend } from './postgres-connections.js';
import { StoreClock } from './store-clock.js';
import { isMissing, reason, toConfigError } from './store-errors.js';
import { StoreIdentity } from './store-identity.js';
import {
  openQueues,
  type Connected,
  type QueueName,
  type StoreBackendFactory,
  type StoreCounts,
  type StoreQueues,
} from './store-queues.js';
import { guardRequest, within, type StoreRequest } from './store-requests.js';
import { EngineWorker, PacedWorker, type Pace } from './workers.js';

/** Milliseconds for which the start of the application waits for the store. */
const START_MS = 5_000;
/** Milliseconds for which a connection may take to close. */
const CLOSE_MS = 5_000;
const PAUSE_MS = 500;
/** Interval in milliseconds at which the store is looked at: its clock and its mark. */
const LOOK_MS = 5_000;
/** Minimum interval in milliseconds between two warnings about the store. */
const WARNING_MS = 30_000;
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
  private queues: StoreQueues | undefined;
  private messageSeal: MessageSeal | undefined;
  private identity: StoreIdentity | undefined;
  private watch: NodeJS.Timeout | undefined;
  private unusable: RtSmsConfigError | undefined;
  /** Why the store has not been reached yet. */
  private openFailure: unknown;
  private closed = false;
  private readonly connections = new Set<Connected>();
  private warnedAt = -Infinity;
  private readonly factory: StoreBackendFactory;
  readonly isRedis: boolean;
  readonly clock: StoreClock;

  constructor(
    readonly options: ResolvedBullMqOptions,
    private readonly account: string,
    readonly logger: EngineHost['logger'],
    private readonly counts: StoreCounts,
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
    return this.opened().send;
  }

  get check(): StoredQueue<CheckData> {
    return this.opened().check;
  }

  get unknown(): StoredQueue<UnknownData> {
    return this.opened().unknown;
  }

  /** The job that marks the store, and what is stored in it. */
  get mark(): { queue: string; jobId: string; id: string } {
    return { queue: queueName(this.account, 'store'), ...this.identity!.mark };
  }

  /** Compares the clocks, and looks for the mark of the store. */
  async look(): Promise<void> {
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
    const reached = this.queues ? undefined : this.reached;
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
    return this.opened().operations[queue];
  }

  /** A small request. While the store has not been reached, it waits, or fails with the reason. */
  async probe(): Promise<void> {
    if (this.queues) await this.operations('send').now();
    else if (this.openFailure === undefined) await this.ready;
    else throw new Error(`The store of the queue is not reached yet: ${reason(this.openFailure)}`);
  }

  /** True once the application shuts down. */
  get isEnding(): boolean {
    return this.closed;
  }

  /** Operations on the counters of the send policy. */
  get limits(): LimitOperations {
    return this.opened().limits;
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

  private onError(error: unknown): void {
    if (!this.queues) this.openFailure = error;
    this.warnThrottled(error);
  }

  private onEmptied(): void {
    this.emptied++;
    this.logger.error(
      'The store of the queue was emptied: messages that waited in it are lost without an event, and uids in it are no longer tracked. Fix: enqueue the messages again whose outcome your application does not know, with their ids, and track() open uids; set up persistence (Redis: appendonly yes)',
    );
  }

  private opened(): StoreQueues {
    if (!this.queues) throw new Error('The store of the queue is not reached yet');
    return this.queues;
  }

  private async open(): Promise<void> {
    while (!this.closed) {
      const made: Connected[] = [];
      try {
        const queues = await openQueues({
          account: this.account,
          options: this.options,
          factory: this.factory,
          counts: this.counts,
          now: () => this.clock.now(),
          onError: (error) => this.onError(error),
          onMade: (queue) => {
            made.push(queue);
            this.connections.add(queue);
          },
        });
        await this.clock.measure(() => queues.operations.send.now());
        this.identity = await StoreIdentity.open(queues.marks, () => this.onEmptied());
        this.messageSeal = new MessageSeal(this.account, this.options.keys, this.identity.key);
        this.queues = queues;
        this.watch = setInterval(() => void this.look().catch(this.warnThrottled), LOOK_MS).unref();
        if (queues.isVolatile)
          this.logger.warn(
            'This Redis has AOF disabled: if it crashes, queued messages are lost. Fix: set appendonly yes',
          );
        return;
      } catch (error) {
        const gone = Promise.all(made.map((queue) => this.discard(queue)));
        this.unusable = toConfigError(error, this.account);
        if (this.unusable) {
          await gone;
          throw this.unusable;
        }
        this.onError(error);
        await pause(PAUSE_MS);
      }
    }
    throw new Error('the application is shutting down');
  }
}
