/** Hints that are remembered at the same time. Those beyond are dropped: the schedule asks for their messages later. */
const MAX_HINTS = 1_000;

interface Hint {
  uid: string;
  /** Another one came before the pause was over. */
  again: boolean;
  /** The message was not found the last time. */
  isRetry: boolean;
}

/**
 * Hints come from anybody, so the work that they make in the store is bounded: they are handled one after the other, each uid at
 * most once in `pauseMs`, and no caller waits for it. If a message is not found, its hint is handled once more after `retryMs`,
 * because the answer to its POST may be on the way.
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
    else if (this.known.size < MAX_HINTS) this.enter({ uid, again: false, isRetry: false });
  }

  private enter(hint: Hint): void {
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
    const over = () => {
      this.known.delete(uid);
      if (paused.again || paused.isRetry) this.enter({ ...paused, again: false });
    };
    setTimeout(over, isFound ? this.pauseMs : this.retryMs).unref();
  }
}
