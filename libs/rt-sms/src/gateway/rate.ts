/**
 * At most `perSecond` starts in any sliding second. Waiters are served in order; one that gives up costs nothing.
 * The second is taken 1 % longer, so that the jitter of the way to the gateway does not push two seconds together.
 */
export class SlidingRate {
  private readonly starts: number[];
  private next = 0;
  private readonly waiters = new Set<() => void>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly perSecond: number) {
    this.starts = Array.from<number>({ length: perSecond }).fill(-Infinity);
  }

  /** Calls back once a start is allowed, at once if one is free; the returned function gives the place up. */
  wait(go: () => void): () => void {
    this.waiters.add(go);
    this.serve();
    return () => {
      this.waiters.delete(go);
      if (this.waiters.size > 0) return;
      clearTimeout(this.timer);
      this.timer = undefined;
    };
  }

  private serve(): void {
    for (const go of this.waiters) {
      const now = performance.now();
      const freeAt = this.starts[this.next]! + 1010;
      if (freeAt > now) {
        this.timer ??= setTimeout(
          () => {
            this.timer = undefined;
            this.serve();
          },
          Math.ceil(freeAt - now),
        );
        return;
      }
      this.starts[this.next] = now;
      this.next = (this.next + 1) % this.perSecond;
      this.waiters.delete(go);
      go();
    }
  }
}
