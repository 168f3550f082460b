import { setTimeout as pause } from 'node:timers/promises';
import type { EngineHost } from 'nestjs-rt-sms';
import { parallelPolls } from 'nestjs-rt-sms/engine';
import { pickReport, type StatusNote } from './check-data.js';
import type { StoreClock } from './store-clock.js';

/** Time in milliseconds for which a job holds its worker to wait for its turn. A longer wait puts the job back. */
export const PATIENCE_MS = 100;
const BREAKER_PAUSE_MS = 5_000;
/** Number of reserved turns at most. */
const MAX_RESERVED = 10_000;

/** Limits the polls of this replica: evenly spaced turns, half of the connections, and none while the breaker is open. */
export class PollGate {
  private activePolls = 0;
  private readonly parallel: number;
  private readonly perSecond: number;
  private nextTurnAt = 0;
  /** Turns of jobs that were put back, by job id. */
  private readonly reserved = new Map<string, number>();

  constructor(
    private readonly host: Pick<EngineHost, 'options' | 'breaker' | 'status'>,
    private readonly clock: Pick<StoreClock, 'now'>,
  ) {
    const { tracking, connections } = host.options;
    this.perSecond = tracking ? tracking.perSecond : 50;
    this.parallel = parallelPolls(connections);
  }

  /**
   * Waits for the turn of a job if it comes soon and returns 0; otherwise returns the milliseconds after which the job should
   * try again.
   */
  async enter(jobId: string, notBefore = 0): Promise<number> {
    const waitMs = this.waitMs(jobId, notBefore);
    if (waitMs > PATIENCE_MS) return waitMs;
    if (waitMs > 0) await pause(waitMs);
    return 0;
  }

  /** Makes one status request. */
  async poll(uid: string): Promise<StatusNote['report']> {
    this.activePolls++;
    try {
      return pickReport(await this.host.status(uid));
    } finally {
      this.activePolls--;
    }
  }

  private waitMs(jobId: string, notBefore: number): number {
    const waitMs = Math.max(
      this.host.breaker.error ? BREAKER_PAUSE_MS * (1 + Math.random()) : 0,
      notBefore - this.clock.now(),
      this.activePolls >= this.parallel ? PATIENCE_MS * (2 + Math.random()) : 0,
    );
    return waitMs > 0 ? waitMs : this.turnMs(jobId);
  }

  private turnMs(jobId: string): number {
    const now = this.clock.now();
    const reserved = this.reserved.get(jobId);
    if (reserved !== undefined) {
      this.reserved.delete(jobId);
      if (reserved <= now + PATIENCE_MS) return Math.max(0, reserved - now);
    }
    const at = (this.nextTurnAt = Math.max(now, this.nextTurnAt + 1000 / this.perSecond));
    if (at - now > PATIENCE_MS) {
      if (this.reserved.size > MAX_RESERVED) this.reserved.clear();
      this.reserved.set(jobId, at);
    }
    return Math.max(0, at - now);
  }
}
