import { RateLimiter } from '../gateway/rate-limiter.js';
import { MAX_TIMER_MS } from '../options/option-rules.js';
import { IndexedHeap, type HeapItem } from './indexed-heap.js';
import { HINT_PAUSE_MS } from './poll-schedule.js';

/** A message that is waiting for a poll. Its times are those of `performance.now()`, because the system clock may be set back. */
export class PollTask implements HeapItem {
  index = -1;
  dueAt = 0;
  /** Number of scheduled polls so far. */
  step = 0;
  polledAt = -Infinity;
  /** The request in flight. It resolves to its error. */
  polling: Promise<Error | undefined> | undefined;
  /** Set by a callback: the task is in the urgent queue, or follows the request in flight, whose answer may be older. */
  isUrgent = false;
}

interface SchedulerOptions {
  /** Polls that may start in any second. */
  perSecond: number;
  /** Polls that may be in flight at once. */
  parallel: number;
  /** False while the gateway rejects this process. */
  isAllowed(): boolean;
}

/** Runs polls when they are due, within a rate and a number of requests at once. Urgent tasks go first. */
export class PollScheduler<T extends PollTask> {
  private readonly urgent = new IndexedHeap<T>((a, b) => a.dueAt < b.dueAt);
  private readonly due = new IndexedHeap<T>((a, b) => a.dueAt < b.dueAt);
  private readonly rate: RateLimiter;
  /** Polls in flight that count against `parallel`. */
  private activePolls = 0;
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Infinity;
  private started = false;
  private stopped = false;

  constructor(
    private readonly options: SchedulerOptions,
    private readonly poll: (task: T) => Promise<unknown>,
  ) {
    this.rate = new RateLimiter(options.perSecond);
  }

  start(): void {
    this.started = true;
    this.run();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** Polls at `at`. */
  schedule(task: T, at: number): void {
    task.dueAt = at;
    this.due.put(task);
    this.run();
  }

  /** Polls soon; after the request in flight, if there is one. */
  scheduleUrgent(task: T): void {
    // A waiting urgent task keeps its place.
    if (task.isUrgent && task.index >= 0) return;
    this.remove(task);
    task.isUrgent = true;
    if (task.polling) return;
    task.dueAt = Math.max(performance.now(), task.polledAt + HINT_PAUSE_MS);
    this.urgent.put(task);
    this.run();
  }

  /** Polls as soon as the limits allow, as an extra poll. A poll in flight or in the urgent queue is enough. */
  scheduleNow(task: T): void {
    if (task.isUrgent || task.polling) return;
    // `run` counts it as a poll of the schedule.
    task.step--;
    this.schedule(task, performance.now());
  }

  /** Removes a task from the queues. */
  remove(task: T): void {
    this.urgent.remove(task);
    this.due.remove(task);
    task.isUrgent = false;
  }

  /** Starts the polls that are due, within the limits, and sets the timer for the next one. */
  run(): void {
    for (let task = this.next; task && this.canPoll; task = this.next) {
      const waitMs = Math.max(task.dueAt - performance.now(), this.rate.waitMs);
      if (waitMs > 0) return this.runIn(waitMs);
      this.rate.grant().start();
      if (!task.isUrgent) task.step++;
      this.activePolls++;
      void this.poll(task).then(() => {
        this.activePolls--;
        this.run();
      });
    }
  }

  private get next(): T | undefined {
    const urgent = this.urgent.first;
    const due = this.due.first;
    return urgent && (!due || urgent.dueAt <= Math.max(due.dueAt, performance.now())) ? urgent : due;
  }

  private get canPoll(): boolean {
    return this.started && !this.stopped && this.options.isAllowed() && this.activePolls < this.options.parallel;
  }

  private runIn(ms: number): void {
    const at = performance.now() + ms;
    // An earlier timer sets the next one itself. Resetting it for each tracked message would cost more than all the rest.
    if (this.timerAt <= at) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    const run = () => {
      this.timerAt = Infinity;
      this.run();
    };
    this.timer = setTimeout(run, Math.min(Math.ceil(ms), MAX_TIMER_MS)).unref();
  }
}
