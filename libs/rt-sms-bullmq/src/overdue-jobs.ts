import type { SmsStatus } from 'nestjs-rt-sms';
import { isOptionalStatus, isOptionalString, type OverdueNote } from './check-data.js';
import { checkIdOf } from './job-id.js';
import { JOB, type NewJobOptions, type StoredQueue } from './jobs.js';
import type { Store } from './store.js';

/** Name of the timer jobs in the check queue. */
export const OVERDUE = 'overdue';
/** Timers added in one call. */
const BATCH = 2_000;

/** The part of an overdue event that changes with time. */
export interface OverdueEvent {
  uid?: string | undefined;
  /** The reference of the message as JSON. */
  ref?: string | undefined;
  lastStatus?: SmsStatus | undefined;
}

/** Data of a timer job: a message is overdue at `dueAt`. It has a send job, or a uid if `send` has sent it. */
export interface OverdueData extends OverdueNote {
  /** Unix time in milliseconds by the clock of the store. */
  dueAt: number;
  uid?: string | undefined;
  /** True once the check job of the message has the note. */
  isNoted?: boolean;
  /** Present once it has been emitted. */
  event?: OverdueEvent;
  failures?: number;
}

export interface OverdueTimer {
  name: string;
  data: OverdueData;
  opts: NewJobOptions;
}

/** A job id and a uid contain no `%`. */
export const overdueIdOf = (jobId: string): string => `${jobId}%overdue`;

/** The timer job of a message. */
export function overdueTimer(
  now: number,
  dueAt: number,
  about: OverdueNote & { uid?: string | undefined },
): OverdueTimer {
  const jobId = overdueIdOf(about.sendJobId ?? checkIdOf(about.uid!));
  const due = Math.ceil(Math.max(now, dueAt));
  return {
    name: OVERDUE,
    data: { ...about, dueAt: due },
    opts: { ...JOB, jobId, timestamp: now, delay: due - now, removeOnComplete: true },
  };
}

/** Adds timers unless they exist. */
export async function addTimers({ check }: Pick<Store, 'check'>, timers: OverdueTimer[]): Promise<void> {
  const queue = check as unknown as StoredQueue<OverdueData>;
  for (let begin = 0; begin < timers.length; begin += BATCH) await queue.addBulk(timers.slice(begin, begin + BATCH));
}

/** Removes the timer of a message that settled without a uid, so that it does not outlive the message. */
export async function removeTimer({ check }: Pick<Store, 'check'>, sendJobId: string): Promise<void> {
  await check.remove(overdueIdOf(sendJobId)).catch(() => undefined);
}

/** True if the engine can have written these data. */
export function isOverdueData({ afterMs, dueAt, sendJobId, uid, event }: OverdueData): boolean {
  const isMessage = typeof (sendJobId ?? uid) === 'string' && isOptionalString(sendJobId) && isOptionalString(uid);
  const isEvent = isOptionalString(event?.uid) && isOptionalStatus(event?.lastStatus);
  return Number.isFinite(afterMs) && Number.isFinite(dueAt) && isMessage && isEvent;
}
