import { isRtSmsError, RtSmsOverloadedError, RtSmsTimeoutError } from 'nestjs-rt-sms';
import { certainlyNotExecuted, isOffline, reason, safeStoreError } from './store-errors.js';

/** Milliseconds for which a caller waits for the store, plus those for each further message. */
const ANSWER_MS = 5_000;
const ANSWER_EACH_MS = 1;

const REPEAT = 'Fix: call it again, which is safe';
/** Operation of the error, and its message if the store certainly did not execute the request, or did not acknowledge it. */
const REQUESTS = {
  enqueue: {
    operation: 'send',
    notDone: (why: string) => `Nothing was queued: ${why}`,
    unknown: (why: string) =>
      `Enqueue outcome unknown: the store did not acknowledge the message (${why}). Fix: if it has an id of yours, enqueue it again with this id, which cannot send it twice`,
  },
  find: {
    operation: 'status',
    notDone: (why: string) => `The message could not be looked up: ${why}. ${REPEAT}`,
    unknown: (why: string) => `The message could not be looked up: the store did not answer (${why}). ${REPEAT}`,
  },
  cancel: {
    operation: 'status',
    notDone: (why: string) => `Nothing was cancelled, and the message may still be sent: ${why}. ${REPEAT}`,
    unknown: (why: string) =>
      `Cancel outcome unknown, and the message may still be sent: the store did not acknowledge it (${why}). ${REPEAT}`,
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

/** Requests that a caller waits for. */
export type StoreRequest = keyof typeof REQUESTS;

/**
 * Runs a request that a caller waits for, with a time limit.
 * @param reached resolves once the store has been reached
 * @throws RtSmsOverloadedError if it certainly was not executed; RtSmsTimeoutError if the store did not acknowledge it, for
 * `enqueue` with the outcome `unknown`
 */
export async function guardRequest<T>(
  request: StoreRequest,
  work: () => Promise<T>,
  { account, reached, count }: { account: string; reached: Promise<unknown> | undefined; count: number },
): Promise<T> {
  const began = performance.now();
  const { notDone, unknown, operation } = REQUESTS[request];
  const context = (error: unknown) => {
    const durationMs = performance.now() - began;
    return { operation, account, durationMs, cause: safeStoreError(error) };
  };
  try {
    if (reached) await reached;
  } catch (error) {
    throw new RtSmsOverloadedError(notDone(`the store of the queue is unreachable (${reason(error)})`), context(error));
  }
  try {
    return await within(ANSWER_MS + (count - 1) * ANSWER_EACH_MS, work());
  } catch (error) {
    if (isRtSmsError(error)) throw error;
    // Of many messages, those before the failed one may be stored.
    if (count === 1 ? certainlyNotExecuted(error) : isOffline(error))
      throw new RtSmsOverloadedError(notDone(`the store of the queue is down (${reason(error)})`), context(error));
    throw new RtSmsTimeoutError(unknown(reason(error)), 'unknown', context(error));
  }
}

/** Rejects if `work` has not settled after `ms`, with `late` if it is given. */
export async function within<T>(ms: number, work: Promise<T>, late?: Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late ?? new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
