import type { Logger } from '@nestjs/common';
import { RtSmsAuthError } from '../rt-sms.errors.js';

const FIRST_PROBE_MS = 5_000;
const LAST_PROBE_MS = 300_000;

/**
 * Shut while the gateway refuses this process (password, IP list): nothing automatic is asked of it then but a probe with
 * back-off. One replica outside of the IP list must neither burn a queue nor hammer the gateway.
 */
export class AuthGate {
  /** Why it is shut. */
  error: RtSmsAuthError | undefined;
  private closed = false;
  private delayMs = FIRST_PROBE_MS;
  private timer: NodeJS.Timeout | undefined;
  private readonly waiters = new Set<() => void>();

  constructor(
    /** Asks the gateway for something that costs nothing; its answer comes back through `learn`. */
    private readonly probe: () => Promise<unknown>,
    private readonly logger: Logger,
  ) {}

  /** Takes the outcome of any request: an error, or nothing for a success. */
  learn(error?: unknown): void {
    if (this.closed) return;
    if (error instanceof RtSmsAuthError) {
      if (!this.error)
        this.logger.error(`${error.message}. Sending from the queue and polling pause until it is mended`);
      this.error = error;
      if (this.timer) return;
      this.timer = setTimeout(() => {
        this.timer = undefined;
        void this.probe()
          .catch(() => undefined)
          .then(() => this.error && this.learn(this.error));
      }, this.delayMs);
      this.timer.unref();
      this.delayMs = Math.min(LAST_PROBE_MS, this.delayMs * 2);
    } else if (this.error && (!error || (error as { httpStatus?: number }).httpStatus === 200)) {
      this.logger.log('The gateway accepts this process again');
      this.reset();
      for (const go of this.waiters) go();
    }
  }

  /** Calls `go` each time the gate opens. */
  onOpen(go: () => void): void {
    this.waiters.add(go);
  }

  /** Probes no more: the application ends. */
  close(): void {
    this.closed = true;
    this.reset();
  }

  private reset(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.error = undefined;
    this.delayMs = FIRST_PROBE_MS;
  }
}
