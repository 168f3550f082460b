import { MAX_TIMER_MS } from '../options/option-rules.js';
import { IndexedHeap, type HeapItem } from './indexed-heap.js';

/**
 * Milliseconds for which an overdue message waits for its poll, which may wait for its turn among others. The event is then
 * emitted without an answer of the gateway.
 */
export const OVERDUE_POLL_MS = 60_000;
/** Milliseconds after which a message whose POST was in flight is looked at again. */
export const OVERDUE_RECHECK_MS = 500;

/** When a message becomes overdue. */
export interface Overdue {
  /** `SmsMessage.overdueAfterMs`. */
  afterMs: number;
  /** Milliseconds from now until that time; 0 or less if it has passed. */
  inMs: number;
  /** Id of a queued message. */
  id?: string | undefined;
}

/** The timer of one message. `key` is its uid, or the id of a message that has not been sent. */
export class OverdueTimer implements HeapItem {
  index = -1;
  /** True while the event waits for a poll. */
  isPolled = false;

  constructor(
    readonly key: string,
    readonly afterMs: number,
    readonly id: string | undefined,
    /** Time of `performance.now()`. */
    public dueAt = 0,
  ) {}

  /** What is left of it, for another owner. */
  get left(): Overdue {
    return { afterMs: this.afterMs, inMs: this.dueAt - performance.now(), id: this.id };
  }
}

/** Timers of messages with `overdueAfterMs`, which share one Node timer. */
export class OverdueTimers {
  private readonly heap = new IndexedHeap<OverdueTimer>((a, b) => a.dueAt < b.dueAt);
  private readonly byKey = new Map<string, OverdueTimer>();
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Infinity;
  private isRunning = false;

  /** `onDue` removes the timer or sets it anew. */
  constructor(private readonly onDue: (timer: OverdueTimer) => void) {}

  get(key: string): OverdueTimer | undefined {
    return this.byKey.get(key);
  }

  /** Adds the timer of a message that has none. */
  add(key: string, { afterMs, inMs, id }: Overdue): void {
    if (this.byKey.has(key)) return;
    const timer = new OverdueTimer(key, afterMs, id);
    this.byKey.set(key, timer);
    this.set(timer, inMs);
  }

  /** Lets a timer fire in `inMs` milliseconds. */
  set(timer: OverdueTimer, inMs: number): void {
    timer.dueAt = performance.now() + inMs;
    this.heap.put(timer);
    this.wait();
  }

  remove(key: string): void {
    const timer = this.byKey.get(key);
    if (!timer) return;
    this.byKey.delete(key);
    this.heap.remove(timer);
  }

  start(): void {
    this.isRunning = true;
    this.wait();
  }

  stop(): void {
    this.isRunning = false;
    clearTimeout(this.timer);
  }

  private wait(): void {
    const { first } = this.heap;
    // An earlier Node timer sets the next one itself.
    if (!first || !this.isRunning || this.timerAt <= first.dueAt) return;
    clearTimeout(this.timer);
    this.timerAt = first.dueAt;
    const waitMs = Math.max(0, Math.ceil(first.dueAt - performance.now()));
    this.timer = setTimeout(() => this.fire(), Math.min(waitMs, MAX_TIMER_MS)).unref();
  }

  private fire(): void {
    this.timerAt = Infinity;
    const now = performance.now();
    for (let { first } = this.heap; first && first.dueAt <= now; { first } = this.heap) this.onDue(first);
    this.wait();
  }
}
