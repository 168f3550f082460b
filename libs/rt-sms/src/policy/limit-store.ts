/** Rules of the send policy that count. */
export type LimitRule = 'perRecipient' | 'perPrefix' | 'segmentsPerDay';

/** One counter that a message is counted in: at most `max` units in any `perMs` milliseconds. */
export interface LimitCounter {
  /** Rule that the counter belongs to. */
  rule: LimitRule;
  /** Counted thing: a number, the start of a number, or `''`. Implementations keep only a keyed hash of it. */
  subject: string;
  /** Units that the counter holds at most. */
  max: number;
  /** Sliding window in milliseconds. */
  perMs: number;
  /** Units that the message takes. */
  cost: number;
}

/** One message with its counters. */
export interface LimitCharge {
  /** Identifies the message. It is counted once while its counters hold it. */
  id: string;
  /** Id of a queued message. An implementation that shares the engine's store does not count one that is queued already. */
  queueId?: string | undefined;
  /** Counters of the message. */
  counters: readonly LimitCounter[];
}

/** A limit that the messages do not fit into. */
export interface LimitRefusal {
  /** Rule of the limit. */
  rule: LimitRule;
  /** Units that the limit allows. */
  max: number;
  /** Window of the limit in milliseconds. */
  perMs: number;
  /** Milliseconds until the messages fit. Absent if they are more than the limit allows at all. */
  retryAfterMs?: number;
}

/** Result of `LimitStore.take`: a refusal, or the ids that this call has counted. */
export type LimitResult = { refusal: LimitRefusal } | { taken: string[] };

/** Port: sliding counters of the send policy, exact under concurrency. */
export interface LimitStore {
  /**
   * Counts all messages or none. An id that is counted already is not counted again. Waits for a store that is slow. Once
   * `isWanted` returns false the caller has stopped waiting, and gives back what is counted later.
   * @throws RtSmsError with the outcome `not_sent` if nothing can be counted
   */
  take(charges: readonly LimitCharge[], isWanted?: () => boolean): Promise<LimitResult> | LimitResult;
  /** Removes messages from their counters. Ignores ids that are not counted. Never rejects. */
  giveBack(ids: readonly string[]): Promise<void>;
  /** Called once these messages can no longer be given back. */
  settle?(ids: readonly string[]): void;
}

/** Times of a counter that holds more messages are rounded up, so that it keeps at most this number of times. */
const MAX_TIMES = 1_000;

/** Milliseconds to which the times of a counter are rounded; 0 for exact times. */
export const roundedTo = ({ max, perMs }: Pick<LimitCounter, 'max' | 'perMs'>): number =>
  max > MAX_TIMES ? perMs / MAX_TIMES : 0;
