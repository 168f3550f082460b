/** One counter of a message as the store sees it: its key holds a keyed hash. */
export interface StoredCounter {
  key: string;
  max: number;
  perMs: number;
  cost: number;
  /** Milliseconds to which times are rounded; 0 for exact times. */
  stepMs: number;
}

/** One message as the store sees it. */
export interface StoredCharge {
  id: string;
  /** Job id of a queued message whose id is the caller's, else empty. */
  jobId: string;
  counters: StoredCounter[];
}

/** Result of one group: the ids that were counted, or the refused counter with its wait; -1 if the group never fits. */
export type GroupResult = { taken: string[] } | { refused: string; waitMs: number };

/** Operations on the counters of the send policy. All use the clock of the store. */
export interface LimitOperations {
  /** Takes groups of messages one after the other, each whole or not at all, with one request. */
  take(groups: StoredCharge[][], idempotencyMs: number): Promise<GroupResult[]>;
  giveBack(ids: string[]): Promise<void>;
  /** Removes counters that have ended, if the store does not do it. */
  sweep(): Promise<void>;
}
