import type { RateTicket } from './calls.js';

/**
 * At most `perSecond` starts in any sliding second, by the moment at which each really starts: what waits for a connection
 * after its turn has come must not meet the next second's. Waiters are served in order; one that gives up costs nothing.
 * The second is taken 1 % longer, so that the jitter of the way to the gateway does not push two seconds together.
 */
export class SlidingRate {
  /** Tickets that count. */
  private taken = 0;
  /** When those that started cease to count, the earliest first. */
  private readonly ends: number[] = [];
  private readonly waiters = new Set<(ticket: RateTicket) => void>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly perSecond: number) {}

  /** Calls back with a ticket once a start is allowed, at once if one is free; the returned function gives the place up. */
  wait(go: (ticket: RateTicket) => void): () => void {
    this.waiters.add(go);
    this.serve();
    return () => {
      this.waiters.delete(go);
      if (this.waiters.size === 0) clearTimeout(this.timer);
    };
  }

  /** Milliseconds until a start is free, 0 for now; Infinity while all that were granted are still to be made use of. */
  get waitMs(): number {
    const now = performance.now();
    while (this.ends.length > 0 && this.ends[0]! <= now) {
      this.ends.shift();
      this.taken--;
    }
    return this.taken < this.perSecond ? 0 : (this.ends[0] ?? Infinity) - now;
  }

  /** A ticket now; whoever asks has seen that `waitMs` is 0. */
  take(): RateTicket {
    this.taken++;
    let used = false;
    const once = (act: () => void) => () => {
      if (used) return;
      used = true;
      act();
      if (this.waiters.size > 0) this.serve();
    };
    return { start: once(() => this.ends.push(performance.now() + 1010)), giveBack: once(() => this.taken--) };
  }

  private serve(): void {
    for (const go of this.waiters) {
      if (this.waitMs > 0) break;
      this.waiters.delete(go);
      go(this.take());
    }
    clearTimeout(this.timer);
    // With no end in sight all tickets wait to start; their start or their return calls here again.
    const { waitMs } = this;
    if (this.waiters.size > 0 && waitMs < Infinity) this.timer = setTimeout(() => this.serve(), Math.ceil(waitMs));
  }
}
