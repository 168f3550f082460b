/** The right to start one send under the rate limit. It counts for one second after it was used, or until it is released. */
export interface RatePermit {
  /** Uses the permit now. */
  start(): void;
  /** Returns the permit unused. */
  release(): void;
}

/** Limits of one call. */
export interface CallOptions {
  /** Ends the call at once. */
  signal?: AbortSignal | undefined;
  /** Total deadline in milliseconds; replaces `timeouts.sendMs` or `timeouts.statusMs`. */
  timeoutMs?: number | undefined;
}

/** Limits of one send. */
export interface SendOptions extends CallOptions {
  /** A permit that the caller has acquired (see `acquirePermit`). */
  permit?: RatePermit | undefined;
  /** Time after which no attempt starts, in milliseconds as returned by `Date.now()`. A started attempt may finish. */
  startBefore?: number | undefined;
}

/** Facts about a call in addition to its result. */
export interface CallFacts {
  /** Number of requests made. */
  attempts: number;
  /** The gateway's request id, if it returned one. */
  requestId?: string;
}
