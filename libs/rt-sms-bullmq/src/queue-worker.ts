import { DelayedError, WaitingError, type WorkerOptions } from 'bullmq';
import type { JobWorker, StoredJob } from './jobs.js';
import { jobError } from './store-errors.js';
import { within } from './store-requests.js';
import type { Pace } from './workers.js';
import type { Store } from './store.js';
import type { QueueName } from './store-queues.js';

/** Milliseconds that active jobs may still take when their worker stops: the time of the event handlers, and the last writes. */
const GRACE_MS = 13_000;
/** Milliseconds after which handlers that hold all places of a worker are logged. */
const ALL_HELD_MS = 10_000;
/** Minimum interval in milliseconds between two of these lines. */
const REPORT_INTERVAL_MS = 300_000;

/** Life cycle of the worker of one queue. Subclasses define what a run of a job does. */
export abstract class QueueWorker<T> {
  protected worker: JobWorker<T> | undefined;
  private stopped = false;
  /** Number of jobs whose event handlers run. */
  private handling = 0;
  private allHeld: NodeJS.Timeout | undefined;
  private reportedAt = -Infinity;

  constructor(
    protected readonly store: Store,
    private readonly queue: QueueName,
    private readonly options: Partial<WorkerOptions>,
    private readonly pace?: Pace,
  ) {}

  /** Runs a job and returns its result. @throws DelayedError if it postponed the job */
  protected abstract run(job: StoredJob<T>, token: string): Promise<string>;

  /** Connects the worker, which takes no job before `start`. */
  async open(): Promise<void> {
    this.worker = await this.store.work<T>(
      this.queue,
      (job, token) => this.process(job, token),
      this.options,
      this.pace,
    );
  }

  /** Takes jobs while the clock of this process can be used. */
  start(): void {
    if (this.stopped || !this.worker) return;
    this.store.clock.onChange((isUsable) => {
      if (this.stopped) return;
      if (!isUsable) void this.worker!.pause(true);
      else if (this.worker!.isPaused()) void this.worker!.resume();
      else if (!this.worker!.isRunning()) void this.worker!.run().catch(this.store.warnThrottled);
    });
  }

  /** Takes no more jobs and lets active ones finish. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.worker) await this.end(this.worker);
  }

  /** A worker that does not end in time is cut off when the store closes its connections. Its jobs then go to other replicas. */
  protected async end(worker: JobWorker<T>): Promise<void> {
    await within(GRACE_MS, worker.close()).catch(() => undefined);
  }

  /**
   * Ends the run of a job, which runs again at `at`. BullMQ takes jobs by the clock of the process, so the time is stored by that
   * clock: with that of the store, a worker that is ahead would take the job again and again.
   */
  protected async postpone(job: StoredJob<T>, token: string, at: number): Promise<never> {
    // PostgreSQL accepts only whole milliseconds.
    await job.moveToDelayed(Math.ceil(this.store.clock.toLocal(at)), token);
    throw new DelayedError();
  }

  /** Awaits the event handlers of a job. Logs once if those of all places of the worker do not end. */
  protected async handled(handlers: Promise<boolean>): Promise<boolean> {
    const { concurrency, handlerTimeoutMs } = this.store.options;
    if (++this.handling === concurrency)
      this.allHeld = setTimeout(() => this.reportAllHeld(), Math.min(ALL_HELD_MS, handlerTimeoutMs / 2)).unref();
    try {
      return await handlers;
    } finally {
      clearTimeout(this.allHeld);
      this.handling--;
    }
  }

  private reportAllHeld(): void {
    if (performance.now() - this.reportedAt < REPORT_INTERVAL_MS) return;
    this.reportedAt = performance.now();
    const { concurrency, handlerTimeoutMs } = this.store.options;
    this.store.logger.error(
      `Event handlers that do not end hold all ${concurrency} places of ${this.store.name(this.queue)}. Each place is free again after ${handlerTimeoutMs / 1000} s (handlerTimeoutMs). Fix: let the handlers end sooner, for example by handing long work to a queue of the application`,
    );
  }

  /** Values of a job that its errors must not contain, because BullMQ stores errors. */
  protected secretsOf?(data: T): readonly string[];

  private async process(job: StoredJob<T>, token: string): Promise<string> {
    try {
      // A worker may take one more job after it has been paused.
      if (!this.store.clock.isUsable) await putBack(job, token);
      return await this.run(job, token);
    } catch (error) {
      if (error instanceof DelayedError || error instanceof WaitingError) throw error;
      throw jobError(error, this.secretsOf?.(job.data));
    }
  }
}

/** Leaves a job to other workers. */
async function putBack<T>(job: StoredJob<T>, token: string): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}
