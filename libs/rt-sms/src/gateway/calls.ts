/** A start that was granted. It counts until a second after it was made use of, or until it is given back unused. */
export interface RateTicket {
  /** It is made use of now. */
  start(): void;
  /** It is not needed. */
  giveBack(): void;
}

/** How long one call may take, and whether its caller still wants it. */
export interface CallOptions {
  /** Ends the call at once. */
  signal?: AbortSignal | undefined;
  /** Total deadline in milliseconds, in place of `timeouts.sendMs` or `timeouts.statusMs`. */
  timeoutMs?: number | undefined;
}

/** Limits of one send. */
export interface SendOptions extends CallOptions {
  /** The start under `rate` that the caller has waited for, see `slot`. */
  ticket?: RateTicket | undefined;
  /** No attempt starts after this time (as `Date.now()` has it); one that has started may finish. */
  startBefore?: number | undefined;
}

/** A message that has passed its checks. */
export interface CheckedMessage {
  /** Digits, international. */
  msisdn: string;
  /** As it is sent. */
  text: string;
  /** The sender name. */
  shortcode: string;
}

/** How a call went, beside what it returned. */
export interface CallFacts {
  /** Requests made. */
  attempts: number;
  /** The gateway's, if it gave one. */
  requestId?: string;
}
