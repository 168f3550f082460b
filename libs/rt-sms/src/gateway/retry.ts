const BASE_MS = 100;
const CAP_MS = 5_000;

/** Full jitter: somewhere between now and a bound that doubles with each attempt. */
export const backoffMs = (attempt: number, baseMs = BASE_MS, capMs = CAP_MS): number =>
  Math.random() * Math.min(capMs, baseMs * 2 ** (attempt - 1));

/**
 * What all calls of an account may spend on repeating: a fifth of the calls made and one a second on top, so that an outage
 * is not amplified, yet a quiet service always has its retries.
 */
export class RetryBudget {
  private static readonly capacity = 20;
  private tokens = RetryBudget.capacity;
  private at = performance.now();

  /** To be called for every first attempt. */
  earn(): void {
    this.tokens = Math.min(RetryBudget.capacity, this.tokens + 0.2);
  }

  /** From now on nothing is repeated. */
  close(): void {
    this.tokens = -Infinity;
  }

  /** True, and one retry less to spend, if one is left. */
  spend(): boolean {
    const now = performance.now();
    this.tokens = Math.min(RetryBudget.capacity, this.tokens + (now - this.at) / 1000);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
