import { setTimeout as pause } from 'node:timers/promises';
import { Worker, type IQueueBackend } from 'bullmq';

/** Longest pause in milliseconds, so that a shutdown is noticed. */
const LONGEST_PAUSE_MS = 1_000;
const RETRY_MS = 500;
/** Longest sleep of an idle worker in seconds. */
const LONGEST_SLEEP = 5;

export class EngineWorker<T> extends Worker<T, string, string, IQueueBackend, never, object> {
  override get maximumBlockTimeout(): number {
    return Math.min(super.maximumBlockTimeout, LONGEST_SLEEP);
  }
}

/**
 * A worker under the limiter of its queue. BullMQ's own worker, once limited, continues only when one of its jobs ends: with
 * answers that take 300 ms, a rate of ten a second would become three. This one continues when the window is over.
 */
export class PacedWorker<T> extends EngineWorker<T> {
  override async run(): Promise<void> {
    this.running = true;
    try {
      await this.startStalledCheckTimer();
      this.lockManager.start();
      this.mainLoopRunning = this.take();
      await this.mainLoopRunning;
    } finally {
      this.running = false;
    }
  }

  private async take(): Promise<void> {
    const { max } = this.opts.limiter!;
    const active = new Set<Promise<void>>();
    let empty = 0;
    for (let n = 0; !this.closing; n++) {
      if (active.size >= this.concurrency) {
        await Promise.race(active);
        continue;
      }
      try {
        const token = `${this.id}:${n}`;
        const job = await this.getNextJob(token, { block: empty > 1 });
        if (!job) {
          // There may be no job because another replica used up this window.
          const limitedMs = await this.backend.getRateLimitTtl(max);
          if (limitedMs > 0) await pause(Math.min(limitedMs, LONGEST_PAUSE_MS));
          else empty++;
          continue;
        }
        empty = 0;
        const work = this.processJob(job, token, () => false)
          .catch((error: Error) => void this.emit('error', error))
          .then(() => void active.delete(work));
        active.add(work);
      } catch (error) {
        this.emit('error', error as Error);
        await pause(RETRY_MS);
      }
    }
    await Promise.all(active);
  }
}
