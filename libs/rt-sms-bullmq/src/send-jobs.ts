import { RtSmsValidationError, SMS_PRIORITIES, type EngineItem, type EngineSettings } from 'nestjs-rt-sms';
import { idTaken } from 'nestjs-rt-sms/engine';
import type { SendData } from './job-data.js';
import { jobIdOf } from './job-id.js';
import { JOB } from './jobs.js';
import { overdueTimer, type OverdueTimer } from './overdue-jobs.js';
import type { MessageSeal } from './message-seal.js';
import type { KnownJob } from './operations.js';
import type { StoreClock } from './store-clock.js';
import type { Store } from './store.js';

const isSame = (a: EngineItem, b: EngineItem) =>
  a.msisdn === b.msisdn && a.shortcode === b.shortcode && a.text === b.text;

/** The messages of one call, without repetitions. @throws RtSmsValidationError if different messages have one id */
export function distinctItems(items: EngineItem[], account: string): EngineItem[] {
  const distinct = new Map<string, EngineItem>();
  const problems: string[] = [];
  for (const item of items) {
    const known = distinct.get(item.id);
    if (!known) distinct.set(item.id, item);
    else if (!isSame(known, item)) problems.push(idTaken(item.id));
  }
  if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
  return [...distinct.values()];
}

/** The job of a message, with the times of the store. */
export function sendJob({ seal, clock }: Pick<Store, 'seal' | 'clock'>, item: EngineItem) {
  const { id, ref, expiresAt, priority, notBefore, overdueAfterMs } = item;
  const data: SendData = {
    message: seal.close(item, item),
    digest: seal.digest(item),
    ...(ref === undefined ? {} : { ref: JSON.stringify(ref) }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(overdueAfterMs === undefined ? {} : { overdueAfterMs }),
  };
  const delay = Math.ceil(Math.min(notBefore, expiresAt ?? Infinity) - Date.now());
  const timestamp = clock.now();
  if (delay > 0) data.notBefore = timestamp + delay;
  return {
    name: 'send',
    data,
    // In BullMQ a lower priority is earlier, and 0 is the earliest.
    opts: {
      ...JOB,
      jobId: jobIdOf(id),
      priority: SMS_PRIORITIES.indexOf(priority),
      timestamp,
      ...(delay > 0 ? { delay } : {}),
    },
  };
}

/** Timer jobs of the items that have `overdueAfterMs`. They are added first: one without a message does nothing. */
export function overdueTimers(clock: StoreClock, items: EngineItem[]): OverdueTimer[] {
  const now = clock.now();
  return items.flatMap(({ id, notBefore, overdueAfterMs: afterMs }) =>
    afterMs === undefined
      ? []
      : overdueTimer(now, now + notBefore - Date.now() + afterMs, { afterMs, sendJobId: jobIdOf(id) }),
  );
}

/** Messages added or looked up in one call: a larger batch would block the store, and use its memory, for seconds. */
export const BATCH = 2_000;

/** Which ids are free: those without a message, and those of messages that are forgotten. */
export interface Compared {
  free: EngineItem[];
  hasForgotten: boolean;
}

/**
 * Compares messages with those that have their ids.
 * @param lookUp finds the jobs of up to `BATCH` ids
 * @throws RtSmsValidationError if an id belongs to a different message
 */
export async function compareIds(
  items: EngineItem[],
  lookUp: (jobIds: string[]) => Promise<(KnownJob | undefined)[]>,
  { seal, options, now }: { seal: MessageSeal; options: EngineSettings; now: number },
): Promise<Compared> {
  const problems: string[] = [];
  const compared: Compared = { free: [], hasForgotten: false };
  for (let begin = 0; begin < items.length; begin += BATCH) {
    const batch = items.slice(begin, begin + BATCH);
    const known = await lookUp(batch.map(({ id }) => jobIdOf(id)));
    for (const [index, item] of batch.entries()) {
      const job = known[index];
      const isFree = !job || isForgotten(job, options, now);
      if (isFree) compared.free.push(item);
      else if (seal.matches(job.digest, item) === false) problems.push(idTaken(item.id));
      compared.hasForgotten ||= isFree && job !== undefined;
    }
  }
  if (problems.length > 0) throw new RtSmsValidationError(problems, { account: options.account });
  return compared;
}

/** True if a message settled so long ago that its id is free again. */
export const isForgotten = (
  { finishedOn }: { finishedOn?: number | undefined },
  { idempotencyMs }: Pick<EngineSettings, 'idempotencyMs'>,
  now: number,
): boolean => finishedOn !== undefined && finishedOn + idempotencyMs < now;
