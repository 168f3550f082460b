import type { JobsOptions } from 'bullmq';

/*
 * Everything that depends on the layout of BullMQ's data: atomic operations that BullMQ does not offer. `probeSchema` checks
 * at the start that the layout is the expected one.
 */

/** A write to a job by the worker that holds it. */
export interface FencedUpdate {
  jobId: string;
  /** Lock token of the worker. Nothing is written if another worker holds the job. */
  token: string;
  /** `version` counts the writes: a write whose answer was lost may arrive late and must not undo a newer one. */
  data: object & { version?: number | undefined };
  /** A check job that is added in the same operation, even if the first job is not written. */
  checkJob?: DelayedJob | undefined;
}

export interface DelayedJob {
  name: string;
  data: object;
  opts: JobsOptions & { jobId: string; delay: number; attempts: number };
}

export interface UpdateResult {
  replaced: boolean;
  /** False if a check job with this id existed. */
  added: boolean;
}

/** What is known of the message that has a job id. */
export interface KnownJob {
  digest: string;
  /** Unix time in milliseconds at which the message settled. */
  finishedOn?: number | undefined;
}

/** A row for the log of a job, which is run now. Without a row it is only run. */
export interface Note {
  jobId: string;
  row?: string | undefined;
}

export interface Inbox {
  rows: string[];
  /** True while the send job has not announced its outcome for the first time. */
  isAnnouncing: boolean;
}

export type Noted = 'missing' | 'runs' | 'notDelayed';

export interface StoreOperations {
  /** Looks jobs up by id, all with one request. */
  lookUp(jobIds: string[]): Promise<(KnownJob | undefined)[]>;
  /** Appends the rows to the logs of delayed jobs and runs these now, all with one request. */
  note(notes: Note[]): Promise<Noted[]>;
  /**
   * Reads the log of a check job from a row on, and looks at the send job of its message, with one request. For the operations
   * of the send queue.
   */
  inbox(checkJobId: string, from: number, sendJobId: string | undefined): Promise<Inbox>;
  /** The clock of the store: Unix time in milliseconds. */
  now(): Promise<number>;
  /**
   * Reserves the next `forMs` milliseconds of the rate that all replicas share. Resolves to the milliseconds until they begin,
   * by the clock of the store.
   */
  reserve(forMs: number): Promise<number>;
  /** Replaces the data of a message that no worker holds and that has not been sent. */
  replaceUnsent(jobId: string, data: object): Promise<boolean>;
  /** Updates a job and may add a check job. Updates at the same time are batched. */
  update(keeping: FencedUpdate): Promise<UpdateResult>;
  /**
   * Removes the jobs that were completed before `at` (Unix time in milliseconds), and BullMQ's events of that time, which
   * contain ids. A new job with the same id stays. The work is done in small steps.
   */
  removeCompleted(at: number): Promise<void>;
}

/** Jobs removed in one step, which blocks the store. */
export const REMOVE_AT_ONCE = 1_000;

/** Results of `note` by their codes in BullMQ. */
export const NOTED: Record<string, Noted> = { '-1': 'missing', '0': 'runs', '-3': 'notDelayed' };
