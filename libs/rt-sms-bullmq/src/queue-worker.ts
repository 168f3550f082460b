import { DelayedError, type WorkerOptions } from 'bullmq';
import type { JobWorker, StoredJob } from './jobs.js';
import { jobError } from './store-errors.js';
import { within } from './store-requests.js';
import type { QueueName, Store } from './store.js';

/** Milliseconds that active jobs may still take when their worker stops. */
export const GRACE_MS = 10_000;

/** Life cycle of the worker of one queue. Subclasses define what a run of a job does. */
export abstract class QueueWorker<T> {
  protected worker: JobWorker<T> | undefined;
  private stopped = false;

  constructor(
    protected readonly store: Store,
    private readonly queue: QueueName,
    private readonly options: Partial<WorkerOptions>,
  ) {}

  /** Runs a job and returns its result. @throws DelayedError if it postponed the job */
  protected abstract run(job: StoredJob<T>, token: string): Promise<string>;

  /** Connects the worker, which takes no job before `start`. */
  async open(): Promise<void> {
    this.worker = await this.store.work<T>(this.queue, (job, token) => this.process(job, token), this.options);
  }

  start(): void {
    if (!this.stopped) void this.worker?.run().catch(this.store.warnThrottled);
  }

  /** Takes no more jobs and lets active ones finish. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.worker) await this.end(this.worker);
  }

  protected async end(worker: JobWorker<T>): Promise<void> {
    await within(GRACE_MS, worker.close()).catch(() => worker.close(true));
  }

  /** Values of a job that its errors must not contain, because BullMQ stores errors. */
  protected secretsOf?(data: T): readonly string[];

  private async process(job: StoredJob<T>, token: string): Promise<string> {
    try {
      return await this.run(job, token);
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      throw jobError(error, this.secretsOf?.(job.data));
    }
  }
}
