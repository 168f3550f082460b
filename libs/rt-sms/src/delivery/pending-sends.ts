/** Sends that have started and not settled, so that a callback which arrives before the answer to its POST can wait for it. */
export class PendingSends {
  private readonly running = new Set<number>();
  private readonly waiters: { before: number; go: () => void }[] = [];
  private last = 0;

  /** Starts a send and returns its number. */
  begin(): number {
    this.running.add(++this.last);
    return this.last;
  }

  /** Ends a send once it has settled and its message is tracked. */
  end(number: number): void {
    this.running.delete(number);
    // Deferred, so that the caller of the send resumes before those who waited for it.
    if (this.waiters.length > 0) setImmediate(() => this.release());
  }

  /** Counts `work` as a pending send until it settles. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    const number = this.begin();
    try {
      return await work();
    } finally {
      this.end(number);
    }
  }

  /**
   * Calls `go` once all sends that are pending now have settled, or after `maxMs`.
   * The limit is waited for in two halves: after a stall of the process, timers fire before answers that have long
   * arrived are read, and the second half leaves time to read them.
   */
  settled(maxMs: number, go: () => void): void {
    if (this.running.size === 0 && this.waiters.length === 0) return go();
    let isSecondHalf = false;
    const timer = setTimeout(() => {
      if (!isSecondHalf) {
        isSecondHalf = true;
        timer.refresh();
        return;
      }
      this.waiters.splice(this.waiters.indexOf(waiter), 1);
      go();
    }, maxMs / 2);
    const waiter = {
      before: this.last,
      go: () => {
        clearTimeout(timer);
        go();
      },
    };
    this.waiters.push(waiter);
  }

  /** Waiters and sends are both in the order of their numbers, so only the first ones are compared. */
  private release(): void {
    const [oldest = Infinity] = this.running;
    const stay = this.waiters.findIndex((waiter) => waiter.before >= oldest);
    for (const waiter of this.waiters.splice(0, stay < 0 ? this.waiters.length : stay)) waiter.go();
  }
}
