const BASE_MS = 100;
const CAP_MS = 5_000;

/** Back-off with full jitter: a random time up to a bound that doubles with each attempt. */
export const backoffMs = (attempt: number, baseMs = BASE_MS, capMs = CAP_MS): number =>
  Math.random() * Math.min(capMs, baseMs * 2 ** (attempt - 1));

/**
 * Retries that all calls of an account share: one for five calls, plus one a second. An outage is not amplified, and a quiet
 * service always has retries left.
 */
export class RetryBudget {
  private static readonly capacity = 20;
  private tokens = RetryBudget.capacity;
  private at = performance.now();

  /** Called for every first attempt. */
  earn(): void {
    this.tokens = Math.min(RetryBudget.capacity, this.tokens + 0.2);
  }

  /** Allows no further retries. */
  close(): void {
    this.tokens = -Infinity;
  }

  /** Takes one retry; false if none is left. */
  spend(): boolean {
    const now = performance.now();
    this.tokens = Math.min(RetryBudget.capacity, this.tokens + (now - this.at) / 1000);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
