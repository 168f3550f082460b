import type { StoreClock } from './store-clock.js';
import type { Store } from './store.js';
import type { QueueName } from './store-queues.js';

/** Less than an hour, so that a sweep ends within the hour that docs/security.md promises. */
const LONGEST_PAUSE_MS = 50 * 60_000;
const SHORTEST_PAUSE_MS = 1_000;
/** Pause in milliseconds after a failure, for example if the store is down. */
const RETRY_MS = 60_000;

/**
 * Removes expired jobs at the start and then at least once an hour. BullMQ removes them only when another job of the queue ends,
 * so an idle account would keep them.
 */
export class Sweep {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly pauseMs: number;

  constructor(
    private readonly store: Pick<Store, 'removeCompleted' | 'warnThrottled'> & {
      limits: { sweep(): Promise<void> };
    } & { clock: Pick<StoreClock, 'now'> },
    /** Milliseconds for which the completed jobs of each queue are kept. */
    private readonly keepMs: Record<QueueName, number>,
  ) {
    const half = Math.min(...Object.values(keepMs)) / 2;
    this.pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, half));
  }

  async start(): Promise<void> {
    let { pauseMs } = this;
    try {
      for (const [queue, keepMs] of Object.entries(this.keepMs))
        await this.store.removeCompleted(queue as QueueName, this.store.clock.now() - keepMs);
      await this.store.limits.sweep();
    } catch (error) {
      this.store.warnThrottled(error);
      pauseMs = Math.min(pauseMs, RETRY_MS);
    }
    if (!this.stopped) this.timer = setTimeout(() => void this.start(), pauseMs).unref();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}
