/** Sends on their way, so that a callback which overtakes the answer to its POST can wait for it. */
export class InFlight {
  private readonly running = new Set<number>();
  private readonly waiters: { before: number; go: () => void }[] = [];
  private last = 0;

  /** A send sets out; what is returned is for `leave`. */
  enter(): number {
    this.running.add(++this.last);
    return this.last;
  }

  /** It has settled, and is followed. */
  leave(number: number): void {
    this.running.delete(number);
    // Not at once: who called learns of its end before anybody who waits for it.
    if (this.waiters.length > 0) setImmediate(() => this.release());
  }

  /** Counts `work` as in flight until it settles. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const number = this.enter();
    try {
      return await work();
    } finally {
      this.leave(number);
    }
  }

  /** Calls `go` once everything that runs now has settled, at once if nothing does, after `maxMs` at the latest. */
  settled(maxMs: number, go: () => void): void {
    if (this.running.size === 0 && this.waiters.length === 0) return go();
    const timer = setTimeout(() => {
      this.waiters.splice(this.waiters.indexOf(waiter), 1);
      go();
    }, maxMs);
    const waiter = {
      before: this.last,
      go: () => {
        clearTimeout(timer);
        go();
      },
    };
    this.waiters.push(waiter);
  }

  /** Waiters stand in the order of their numbers, and so do the sends in the set: both are looked at from the front. */
  private release(): void {
    const [oldest = Infinity] = this.running;
    const stay = this.waiters.findIndex((waiter) => waiter.before >= oldest);
    for (const waiter of this.waiters.splice(0, stay < 0 ? this.waiters.length : stay)) waiter.go();
  }
}
