import type { Logger } from '@nestjs/common';
import { RtSmsAuthError } from '../rt-sms.errors.js';
import { rejectsPassword } from './account-password.js';

const FIRST_PROBE_MS = 5_000;
const LAST_PROBE_MS = 300_000;

/**
 * Circuit breaker for credentials and IP list. While the gateway rejects this process, the queue and the polling pause, and
 * only a probe with back-off reaches the gateway: one replica outside the IP list must neither use up the queue nor flood
 * the gateway.
 */
export class AuthCircuitBreaker {
  /** The rejection, while the breaker is open. */
  error: RtSmsAuthError | undefined;
  private closed = false;
  private delayMs = FIRST_PROBE_MS;
  private timer: NodeJS.Timeout | undefined;
  /** Ends the reading of the password. */
  private unwatch: (() => void) | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(
    /** Makes a request that is free of charge; its outcome comes back through `onOutcome`. */
    private readonly probe: () => Promise<unknown>,
    private readonly logger: Logger,
    /** Calls the function after each change of the password, until the returned function is called. */
    private readonly watchPassword: (onChange: () => void) => () => void = () => () => undefined,
  ) {}

  /** Takes the outcome of any request: its error, or nothing after a success. */
  onOutcome(error?: unknown): void {
    if (this.closed) return;
    if (error instanceof RtSmsAuthError) {
      if (!this.error) this.logger.error(`${error.message}. Queue and polling are paused until then`);
      this.error = error;
      if (rejectsPassword(error)) this.unwatch ??= this.watchPassword(() => this.runProbe());
      if (this.timer) return;
      this.timer = setTimeout(() => this.runProbe(), this.delayMs).unref();
      this.delayMs = Math.min(LAST_PROBE_MS, this.delayMs * 2);
    } else if (this.error && (!error || (error as { httpStatus?: number }).httpStatus === 200)) {
      this.logger.log('Gateway access restored');
      this.reset();
      for (const listener of this.listeners) listener();
    }
  }

  /** Calls `listener` each time access is restored. */
  onRestored(listener: () => void): void {
    this.listeners.add(listener);
  }

  /** Stops the probes during shutdown. */
  close(): void {
    this.closed = true;
    this.reset();
  }

  private runProbe(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    void this.probe()
      .catch(() => undefined)
      .then(() => this.error && this.onOutcome(this.error));
  }

  private reset(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.unwatch?.();
    this.unwatch = undefined;
    this.error = undefined;
    this.delayMs = FIRST_PROBE_MS;
  }
}
