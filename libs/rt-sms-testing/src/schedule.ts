/** Tasks with the same delay: they are due in the order in which they were added. */
interface Lane {
  tasks: { readonly at: number; readonly run: () => void }[];
  /** Index of the first pending task in `tasks`. */
  head: number;
}

/** The maximum of setTimeout; a longer wait is armed several times. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * All delays of a simulator. There are only a few different lengths, so each length has one queue and one timer: each of
 * a hundred thousand pending messages costs one slot, and `close()` drops them all at once. The timers are unref'ed.
 */
export class Schedule {
  readonly #lanes = new Map<number, Lane>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  after(delayMs: number, run: () => void): void {
    if (this.#closed) return;
    const task = { at: performance.now() + delayMs, run };
    const lane = this.#lanes.get(delayMs);
    if (lane) {
      lane.tasks.push(task);
      return;
    }
    const fresh = { tasks: [task], head: 0 };
    this.#lanes.set(delayMs, fresh);
    this.#arm(delayMs, fresh);
  }

  close(): void {
    this.#closed = true;
    this.#lanes.clear();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Sets the timer for the first task of a lane; removes an empty lane. */
  #arm(delayMs: number, lane: Lane): void {
    const first = lane.tasks[lane.head];
    if (!first || this.#closed) {
      this.#lanes.delete(delayMs);
      return;
    }
    const waitMs = Math.min(Math.ceil(first.at - performance.now()), LONGEST_TIMEOUT_MS);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#run(delayMs, lane);
    }, waitMs).unref();
    this.#timers.add(timer);
  }

  #run(delayMs: number, lane: Lane): void {
    const now = performance.now();
    try {
      for (let task = lane.tasks[lane.head]; task && task.at <= now && !this.#closed; task = lane.tasks[lane.head]) {
        lane.head += 1;
        task.run();
      }
    } finally {
      // A user's listener that throws must not stop the other tasks.
      if (lane.head > lane.tasks.length / 2) {
        lane.tasks = lane.tasks.slice(lane.head);
        lane.head = 0;
      }
      this.#arm(delayMs, lane);
    }
  }
}
