import { setTimeout as pause } from 'node:timers/promises';
import { Worker, type IQueueBackend, type Job } from 'bullmq';

const RETRY_MS = 500;
/** Longest sleep of an idle worker in seconds. */
const LONGEST_SLEEP = 5;

export class EngineWorker<T> extends Worker<T, string, string, IQueueBackend, never, object> {
  override get maximumBlockTimeout(): number {
    return Math.min(super.maximumBlockTimeout, LONGEST_SLEEP);
  }
}

/** Permits of a worker that may not take jobs faster than a rate. */
export interface Pace {
  /** Resolves when a job may be taken with this token. */
  acquire(token: string): Promise<unknown>;
  /** Returns the permit of a token with which no job was taken. */
  release(token: string): void;
}

/**
 * A worker under a rate. It takes a job only with a permit, so that urgent jobs that arrive in the meantime are taken first, and
 * jobs that wait for their turn are not lost with this process. An idle worker takes the first job at once.
 */
export class PacedWorker<T> extends EngineWorker<T> {
  pace!: Pace;

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
    const active = new Set<Promise<void>>();
    let isIdle = true;
    for (let n = 0; !this.closing && !this.paused; n++) {
      if (active.size >= this.concurrency) {
        await Promise.race(active);
        continue;
      }
      const token = `${this.id}:${n}`;
      if (!isIdle) await this.pace.acquire(token);
      const taking = this.takeOne(token, isIdle);
      const work = taking
        .then(async (job) => {
          isIdle = !job;
          if (job) await this.processJob(job, token, () => false);
        })
        .catch((error: Error) => void this.emit('error', error))
        .then(() => void active.delete(work));
      active.add(work);
      // Otherwise the next job is taken at the same time, because permits expire while a slow store answers.
      if (isIdle) await taking;
    }
    await Promise.all(active);
  }

  /** Takes a job; waits for one if `isIdle`. */
  private async takeOne(token: string, isIdle: boolean): Promise<Job<T, string, string, never> | undefined> {
    try {
      const job = await this.getNextJob(token, { block: isIdle });
      if (!job) this.pace.release(token);
      return job;
    } catch (error) {
      this.pace.release(token);
      this.emit('error', error as Error);
      await pause(RETRY_MS);
      return undefined;
    }
  }
}
