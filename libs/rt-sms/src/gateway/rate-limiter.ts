import type { RatePermit } from './call-options.js';

/**
 * At most `perSecond` starts in any sliding second, counted at the moment at which each request really starts: a request
 * that waits for a connection after it got its permit must not collide with those of the next second. Waiters are served in
 * order, and a cancelled wait costs nothing. The second is 1 % longer, so that network jitter does not push two seconds
 * together at the gateway.
 */
export class RateLimiter {
  /** Permits that count. */
  private granted = 0;
  /** Times at which used permits cease to count, the earliest first. */
  private readonly ends: number[] = [];
  private readonly waiters = new Set<(permit: RatePermit) => void>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly perSecond: number) {}

  /** Calls `go` with a permit once one is free, which may be at once. The returned function cancels the wait. */
  acquire(go: (permit: RatePermit) => void): () => void {
    this.waiters.add(go);
    this.serve();
    return () => {
      this.waiters.delete(go);
      if (this.waiters.size === 0) clearTimeout(this.timer);
    };
  }

  /** Milliseconds until a permit is free; 0 for now, Infinity while all granted permits are still unused. */
  get waitMs(): number {
    const now = performance.now();
    while (this.ends.length > 0 && this.ends[0]! <= now) {
      this.ends.shift();
      this.granted--;
    }
    return this.granted < this.perSecond ? 0 : (this.ends[0] ?? Infinity) - now;
  }

  /** Returns a permit now. Call it only when `waitMs` is 0. */
  grant(): RatePermit {
    this.granted++;
    let used = false;
    const once = (act: () => void) => () => {
      if (used) return;
      used = true;
      act();
      if (this.waiters.size > 0) this.serve();
    };
    return { start: once(() => this.ends.push(performance.now() + 1010)), release: once(() => this.granted--) };
  }

  private serve(): void {
    for (const go of this.waiters) {
      if (this.waitMs > 0) break;
      this.waiters.delete(go);
      go(this.grant());
    }
    clearTimeout(this.timer);
    // While all granted permits are unused there is no time to wait for: their start or release calls this again.
    const { waitMs } = this;
    if (this.waiters.size > 0 && waitMs < Infinity) this.timer = setTimeout(() => this.serve(), Math.ceil(waitMs));
  }
}
