import type { EngineHost } from 'nestjs-rt-sms';

/** Deviation in milliseconds from which the clock of this process is logged. */
const WARNING_MS = 1_000;
/** Deviation in milliseconds from which this process takes no jobs: locks and delays would be wrong by as much. */
const MAX_SKEW_MS = 30_000;

/**
 * The clock of the store, which all replicas share. Times in jobs are of this clock. It goes on with the monotonic clock of the
 * process, so that a clock that is set does not change it.
 */
export class StoreClock {
  private measured: { store: number; at: number } | undefined;
  private logged: 'nothing' | 'warning' | 'error' = 'nothing';
  private readonly listeners: ((isUsable: boolean) => void)[] = [];

  constructor(private readonly logger: EngineHost['logger']) {}

  /** Unix time in whole milliseconds. */
  now(): number {
    if (!this.measured) return Date.now();
    return Math.floor(this.measured.store + performance.now() - this.measured.at);
  }

  /** A time of this clock as a time of the process. */
  toLocal(time: number): number {
    return time + this.skewMs();
  }

  /** False while the clock of the process deviates so much that the process may not take jobs. */
  get isUsable(): boolean {
    return this.logged !== 'error';
  }

  /** Calls `listener` now, and each time the clock of the process becomes unusable or usable again. */
  onChange(listener: (isUsable: boolean) => void): void {
    this.listeners.push(listener);
    listener(this.isUsable);
  }

  /** Compares the clocks; `read` reads that of the store as Unix time in milliseconds. */
  async measure(read: () => Promise<number>): Promise<void> {
    const began = performance.now();
    const store = await read();
    const ended = performance.now();
    this.measured = { store, at: (began + ended) / 2 };
    this.report((ended - began) / 2);
  }

  private skewMs(): number {
    return this.measured ? Date.now() - this.measured.store - (performance.now() - this.measured.at) : 0;
  }

  private report(uncertaintyMs: number): void {
    const skewMs = this.skewMs();
    const certainMs = Math.abs(skewMs) - uncertaintyMs;
    const due = certainMs > MAX_SKEW_MS ? 'error' : certainMs > WARNING_MS ? 'warning' : 'nothing';
    if (due === this.logged) return;
    const was = this.isUsable;
    this.logged = due;
    if (this.isUsable !== was) for (const listener of this.listeners) listener(this.isUsable);
    const seconds = (Math.abs(skewMs) / 1_000).toFixed(1);
    const what = `The clock of this process is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} that of the store of the queue`;
    const fix = 'Fix: synchronise the clocks (NTP)';
    if (due === 'error') this.logger.error(`${what}, so it takes no messages until they agree within 30 s. ${fix}`);
    else if (due === 'warning') this.logger.warn(`${what}. Times of the queue follow the store. ${fix}`);
  }
}
