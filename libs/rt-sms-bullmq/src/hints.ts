/** Hints that are stored at once. Further hints are dropped; the schedule polls their messages later. */
const MAX_HINTS = 1_000;

interface Hint {
  uid: string;
  /** True if the same hint arrived again during the pause. */
  again: boolean;
  /** True if the message was not found the last time. */
  isRetry: boolean;
}

/**
 * Bounds the work that hints cause in the store, because anyone can send them: they are handled one after the other, each uid
 * at most once in `pauseMs`, and no caller waits. If a message is not found, its hint is handled once more after `retryMs`,
 * because the answer to its POST may be in flight.
 */
export class Hints {
  private readonly known = new Map<string, Hint>();
  private readonly waiting: Hint[] = [];
  private isRunning = false;

  constructor(
    /** Resolves to false if the message is not found. Never rejects. */
    private readonly handle: (uid: string) => Promise<boolean>,
    private readonly pauseMs: number,
    private readonly retryMs: number,
  ) {}

  add(uid: string): void {
    const hint = this.known.get(uid);
    if (hint) hint.again = true;
    else if (this.known.size < MAX_HINTS) this.enqueue({ uid, again: false, isRetry: false });
  }

  private enqueue(hint: Hint): void {
    this.known.set(hint.uid, hint);
    this.waiting.push(hint);
    if (!this.isRunning) void this.run();
  }

  private async run(): Promise<void> {
    this.isRunning = true;
    for (let hint = this.waiting.shift(); hint; hint = this.waiting.shift())
      this.pause(hint, await this.handle(hint.uid));
    this.isRunning = false;
  }

  private pause({ uid, again, isRetry }: Hint, isFound: boolean): void {
    const paused = { uid, again, isRetry: !isFound && !isRetry };
    this.known.set(uid, paused);
    const resume = () => {
      this.known.delete(uid);
      if (paused.again || paused.isRetry) this.enqueue({ ...paused, again: false });
    };
    setTimeout(resume, isFound ? this.pauseMs : this.retryMs).unref();
  }
}
