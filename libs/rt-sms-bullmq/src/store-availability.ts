import { setTimeout as pause } from 'node:timers/promises';
import { isDown, isSlow } from './store-errors.js';
import { within } from './store-requests.js';

/** Milliseconds of nothing but failures after which the store is down. A lost connection alone does not mean that. */
const DOWN_AFTER_MS = 3_000;
/** Milliseconds without any answer after which the store is down: its host may be gone without closing its connections. */
const SILENT_AFTER_MS = 20_000;
/** Pause in milliseconds before a failed request is repeated. */
const RETRY_MS = 100;
/** Interval in milliseconds of the probes while a request waits or the store is down. */
const PROBE_MS = 1_000;

/** Thrown while the store is down; `cause` is its failure. */
export class StoreDownError extends Error {}

/**
 * Distinguishes a store that is down from one that is slow. The store is down once it has refused or lost every connection for
 * some time, or has answered neither a request nor a probe for much longer.
 */
export class StoreAvailability {
  private readonly waiting = new Set<(error: StoreDownError) => void>();
  private failingSince: number | undefined;
  private silentSince: number | undefined;
  private answeredAt = -Infinity;
  private down: StoreDownError | undefined;
  private isProbing = false;

  constructor(
    /** A small request, which fails at once without a connection. */
    private readonly probe: () => Promise<unknown>,
    /** True once requests are no longer repeated. */
    private readonly isEnding: () => boolean,
    private readonly onDown: (cause: unknown) => void,
  ) {}

  /**
   * Repeats `work`, which must be safe to repeat, until the store has answered or the result is no longer wanted.
   * @throws StoreDownError if the store is down; an error of `work` that is neither a lost connection nor one of a slow store
   */
  async run<T>(work: () => Promise<T>, isWanted: () => boolean): Promise<T> {
    if (this.down) throw this.down;
    let onDown: (error: StoreDownError) => void;
    const down = new Promise<never>((_, reject) => this.waiting.add((onDown = reject)));
    void this.watch();
    try {
      return await Promise.race([down, this.repeat(work, isWanted)]);
    } finally {
      this.waiting.delete(onDown!);
    }
  }

  private async repeat<T>(work: () => Promise<T>, isWanted: () => boolean): Promise<T> {
    for (;;) {
      try {
        const result = await work();
        this.answered();
        return result;
      } catch (error) {
        const canRepeat = this.note(error);
        if (!canRepeat || this.isEnding() || !isWanted()) throw error;
        if (this.down) throw this.down;
      }
      await pause(RETRY_MS);
    }
  }

  /** Returns true if the request can be repeated. */
  private note(error: unknown): boolean {
    if (isSlow(error)) return true;
    if (!isDown(error)) {
      this.answered();
      return false;
    }
    this.failingSince ??= performance.now();
    this.failed(error, performance.now() - this.failingSince >= DOWN_AFTER_MS);
    return true;
  }

  private failed(error: unknown, isDown: boolean): void {
    if (isDown && !this.down) {
      this.down = new StoreDownError('the store is down', { cause: error });
      for (const reject of this.waiting) reject(this.down);
    }
    if (this.down) this.onDown(error);
  }

  private answered(): void {
    this.answeredAt = performance.now();
    this.failingSince = this.silentSince = this.down = undefined;
  }

  /** Probes the store while requests wait in vain, because one on a lost connection may not fail by itself. */
  private async watch(): Promise<void> {
    if (this.isProbing) return;
    this.isProbing = true;
    for (;;) {
      await pause(PROBE_MS, undefined, { ref: false });
      if (this.isEnding() || (this.waiting.size === 0 && !this.down)) break;
      if (performance.now() - this.answeredAt < PROBE_MS) continue;
      const noAnswer = new Error(`no answer for ${SILENT_AFTER_MS / 1_000} s`);
      this.silentSince ??= performance.now();
      // A late answer is one too.
      const probing = this.probe().then(() => this.answered());
      await within(PROBE_MS, probing, noAnswer).catch((error: unknown) => {
        if (error !== noAnswer) this.note(error);
        else if (this.silentSince !== undefined)
          this.failed(error, performance.now() - this.silentSince >= SILENT_AFTER_MS);
      });
    }
    this.isProbing = false;
  }
}
