/** Tasks with one and the same delay: they fall due in the order they came. */
interface Lane {
  tasks: { readonly at: number; readonly run: () => void }[];
  /** Where the lane begins in `tasks`. */
  head: number;
}

/** setTimeout takes no more; a longer wait is armed again. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * All delays of a simulator. They have few different lengths, so a queue and a timer for each length will do: a hundred
 * thousand messages under way cost a slot each, and `close()` forgets them all at once. The timers are unref'ed.
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

  /** Waits for the first task of a lane; a lane that has none is forgotten. */
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
      // A listener of the user's that throws must not stop the clock for all the others.
      if (lane.head > lane.tasks.length / 2) {
        lane.tasks = lane.tasks.slice(lane.head);
        lane.head = 0;
      }
      this.#arm(delayMs, lane);
    }
  }
}
