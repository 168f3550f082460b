import type { RatePermit } from './call-options.js';

/**
 * One request to the gateway, and the one place that decides whether it may have left this process. The caller creates it
 * and may abandon it; the transport marks it before it writes the first byte. Error codes cannot decide this: a reset in the
 * TLS handshake and a reset after the request look the same.
 */
export class RequestAttempt {
  /** The transport is writing the request, or has written it. */
  written = false;
  /** Code other than the transport has the request and does not report what it does with it. */
  untracked = false;
  abandoned = false;
  /** Version of the password that the request is sent with. */
  passwordVersion = 0;
  /** Holder of the request while there is something to cancel. */
  canceller: { cancel(): void } | undefined;

  constructor(
    /** The permit of the rate limit that this request uses. */
    private readonly permit?: RatePermit,
    /** Time after which the request must not start, in milliseconds as returned by `Date.now()`. */
    private readonly startBefore = Infinity,
  ) {}

  /** True if the request must not start any more. */
  get expired(): boolean {
    return this.abandoned || this.startBefore <= Date.now();
  }

  /** True if a byte of the request may have left. */
  get started(): boolean {
    return this.written || this.untracked;
  }

  start(how: 'written' | 'untracked'): void {
    this[how] = true;
    this.permit?.start();
  }

  /** Ends the request: it is not sent if it has not left, and its connection is closed if it has. */
  abandon(): void {
    this.abandoned = true;
    this.canceller?.cancel();
  }
}
