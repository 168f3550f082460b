/** Number of entries at most. */
const MAX_DEFERRED = 10_000;
const RETRY_MS = 5_000;

/** Work that this process repeats until the store has taken it. Each key is deferred once. */
export class DeferredWork {
  private readonly deferred = new Map<string, () => Promise<unknown>>();
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(private readonly onError: (error: unknown) => void) {}

  /** Runs `work` after `afterMs`, and again after 5 s each time it fails. */
  retryLater(key: string, work: () => Promise<unknown>, afterMs = RETRY_MS): void {
    if (this.stopped || (this.deferred.size >= MAX_DEFERRED && !this.deferred.has(key))) return;
    this.deferred.set(key, work);
    if (afterMs < RETRY_MS) {
      setTimeout(() => void this.runDeferred(key), afterMs).unref();
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      for (const key of this.deferred.keys()) void this.runDeferred(key);
    }, afterMs).unref();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async runDeferred(key: string): Promise<void> {
    const work = this.deferred.get(key);
    if (!work || this.stopped) return;
    this.deferred.delete(key);
    await work().catch((error: unknown) => {
      this.onError(error);
      this.retryLater(key, work);
    });
  }
}
