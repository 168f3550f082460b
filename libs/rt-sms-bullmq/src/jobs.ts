import { DelayedError, type IQueueBackend, type Job, type Worker, type WorkerOptions } from 'bullmq';

export type StoredJob<T> = Job<T, string>;
export type JobWorker<T> = Worker<T, string, string, IQueueBackend, never, object>;
export type Processor<T> = (job: StoredJob<T>, token: string) => Promise<string>;

/** Options of every job: it never fails permanently, and the store holds no stack of an error. */
export const JOB = { attempts: 1_000_000, backoff: 5_000, stackTraceLimit: 0 } as const;

/** Options of a worker that keep its completed jobs for `ms`. BullMQ removes them when another job ends, `Sweep` at the latest. */
export function keepFor(ms: number): Pick<WorkerOptions, 'removeOnComplete' | 'removeOnFail'> {
  const keep = { age: Math.ceil(ms / 1000) };
  return { removeOnComplete: keep, removeOnFail: keep };
}

/** Ends the run of a job, which runs again at `at`. PostgreSQL accepts only whole milliseconds. */
export async function postpone<T>(job: StoredJob<T>, token: string, at: number): Promise<never> {
  await job.moveToDelayed(Math.ceil(at), token);
  throw new DelayedError();
}
