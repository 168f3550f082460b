import type { IQueueBackend, Job, JobsOptions, Queue, Worker, WorkerOptions } from 'bullmq';

export type StoredQueue<T> = Queue<T, string, string, T, string, string, IQueueBackend, object>;
export type StoredJob<T> = Job<T, string>;
export type JobWorker<T> = Worker<T, string, string, IQueueBackend, never, object>;
export type Processor<T> = (job: StoredJob<T>, token: string) => Promise<string>;

/** Options of every job: it never fails permanently, and the store holds no stack of an error. */
export const JOB = { attempts: 1_000_000, backoff: 5_000, stackTraceLimit: 0 } as const;

/** Options of a job that is added. */
export type NewJobOptions = JobsOptions & { jobId: string; timestamp: number; attempts: number };

/** Options of a worker that keep its completed jobs for `ms`. BullMQ removes them when another job ends, `Sweep` at the latest. */
export function keepFor(ms: number): Pick<WorkerOptions, 'removeOnComplete' | 'removeOnFail'> {
  const keep = { age: Math.ceil(ms / 1000) };
  return { removeOnComplete: keep, removeOnFail: keep };
}
