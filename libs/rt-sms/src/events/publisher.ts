import type { Logger } from '@nestjs/common';
import type { EventEmitter2 } from '@nestjs/event-emitter';
import {
  Observable,
  Subject,
  Subscriber,
  type Observer,
  type Operator,
  type Subscription,
  type TeardownLogic,
} from 'rxjs';
import { isError, messageOf, redact } from '../redact.js';
import { RtSmsEvents, type RtSmsStatusEvent } from './events.js';

/** A handler that has not settled by then is worth a warning. */
const SLOW_HANDLER_MS = 30_000;

type Listener = (...args: unknown[]) => unknown;

/** One event on its way through its handlers. */
class Run {
  readonly done: Promise<boolean>;
  since = 0;
  /** Handlers that have not settled, and one for those that are still to be called. */
  left = 1;
  failed = false;
  isSlow = false;
  /** The next status of the same message: it begins when this one ends. */
  next: Run | undefined;
  private resolve!: (succeeded: boolean) => void;

  constructor(
    readonly names: readonly string[],
    readonly payload: object,
    /** Stands for the event in the log. */
    readonly id: string,
    /** What has its events one after the other. */
    readonly order: string | undefined,
  ) {
    this.done = new Promise((resolve) => (this.resolve = resolve));
  }

  end(): void {
    this.resolve(!this.failed);
  }
}

/**
 * Hands events to the application's listeners: all of them, awaited together, each on its own. Nothing goes out before the
 * listeners are bound (it waits) nor after `close` (it is dropped).
 */
export class Publisher {
  /** Handlers that failed so far. */
  failures = 0;
  private readonly subject = new Subject<RtSmsStatusEvent>();
  /** The one that began first comes first. */
  private readonly running = new Set<Run>();
  /** Per uid its last status, while that runs or waits. */
  private readonly tails = new Map<string, Run>();
  private ready = false;
  private closed = false;
  /** One for all that run: to set one for each event costs more than the event. */
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly emitter: EventEmitter2,
    private readonly whenReady: Promise<void>,
    private readonly logger: Logger,
  ) {
    whenReady.then(
      () => (this.ready = true),
      // The service says so; here it only means that nothing ever goes out.
      () => undefined,
    );
  }

  readonly statuses$: Observable<RtSmsStatusEvent> = new SafeObservable<RtSmsStatusEvent>(
    (subscriber) => this.subject.subscribe(subscriber),
    (error) => this.failed('a subscriber of statuses$', error),
  );

  /**
   * Emits a status under both of its names. True if every handler succeeded. Statuses of one message go out one after the
   * other: what a slow handler of the first writes must not overwrite the second.
   */
  status(event: RtSmsStatusEvent): Promise<boolean> {
    return this.publish([RtSmsEvents.status, `${RtSmsEvents.status}.${event.status}`], event, event.id, event.uid);
  }

  /** Emits `payload`; `id` stands for it in the log. True if every handler succeeded. */
  publish(names: readonly string[], payload: object, id: string, order?: string): Promise<boolean> {
    const run = new Run(names, payload, id, order);
    const before = order === undefined ? undefined : this.tails.get(order);
    if (order !== undefined) this.tails.set(order, run);
    if (before) before.next = run;
    else if (this.ready) this.start(run);
    else {
      const start = () => this.start(run);
      void this.whenReady.then(start, start);
    }
    return run.done;
  }

  /** Emits nothing more, and waits for the handlers that run, `maxMs` at most. */
  async close(maxMs: number): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise((resolve) => (timer = setTimeout(resolve, maxMs)));
    await Promise.race([Promise.all([...this.running].map(({ done }) => done)), limit]);
    clearTimeout(timer);
    this.subject.complete();
  }

  private drop(run: Run): void {
    run.failed = true;
    this.passOn(run);
    run.end();
  }

  private start(run: Run): void {
    if (this.closed || !this.ready) return this.drop(run);
    run.since = performance.now();
    this.running.add(run);
    this.timer ??= setTimeout(this.warn, SLOW_HANDLER_MS).unref();
    for (const name of run.names) {
      for (const listener of this.emitter.listeners(name)) this.call(listener as Listener, run, name, run.payload);
      for (const listener of this.emitter.listenersAny().slice())
        this.call(listener as Listener, run, name, name, run.payload);
    }
    if (run.names[0] === RtSmsEvents.status) this.subject.next(run.payload as RtSmsStatusEvent);
    this.settled(run);
  }

  /** Not `emitAsync`: it stops at a listener that throws, and rejects while others still run. */
  private call(listener: Listener, run: Run, name: string, ...args: unknown[]): void {
    const fail = (error: unknown) => {
      run.failed = true;
      this.failed(`a handler of ${name} for the event ${run.id}`, error);
    };
    const settled = () => this.settled(run);
    try {
      // A listener for many names reads there which one it was called for.
      (this.emitter as EventEmitter2 & { event: string }).event = name;
      const result = listener.apply(this.emitter, args) as PromiseLike<unknown> | undefined;
      if (typeof result?.then !== 'function') return;
      run.left++;
      void Promise.resolve(result).then(settled, (error: unknown) => {
        fail(error);
        settled();
      });
    } catch (error) {
      fail(error);
    }
  }

  private settled(run: Run): void {
    if (--run.left > 0) return;
    this.running.delete(run);
    this.passOn(run);
    run.end();
  }

  private passOn(run: Run): void {
    const { order, next } = run;
    run.next = undefined;
    if (next) this.start(next);
    else if (order !== undefined && this.tails.get(order) === run) this.tails.delete(order);
  }

  private readonly warn = (): void => {
    this.timer = undefined;
    for (const run of this.running) {
      const restMs = run.since + SLOW_HANDLER_MS - performance.now();
      if (restMs > 0) {
        this.timer = setTimeout(this.warn, restMs).unref();
        return;
      }
      if (run.isSlow) continue;
      run.isSlow = true;
      this.logger.warn(redact(`A handler of ${run.names[0]} for the event ${run.id} has not settled for 30 s`));
      this.passOn(run);
    }
  };

  private failed(who: string, error: unknown): void {
    this.failures++;
    const message = messageOf(error);
    const stack = stackOf(error);
    // The frames only: a stack begins with the message as it was, whose lines may look like frames.
    const frames = stack
      .slice(stack.indexOf(message) + message.length)
      .split('\n')
      .filter((line) => /^\s+at .+:\d+:\d+\)?$/.test(line))
      .map((line) => redact(line));
    this.logger.error(redact(`${who} failed: ${message}`), frames.join('\n'));
  }
}

/** Empty where there is none; never throws itself. */
function stackOf(thrown: unknown): string {
  try {
    return isError(thrown) ? String(thrown.stack) : '';
  } catch {
    return '';
  }
}

/** An Observable whose subscribers' exceptions are reported and go no further; rxjs would make them uncaught. */
class SafeObservable<T> extends Observable<T> {
  constructor(
    subscribe: ((this: Observable<T>, subscriber: Subscriber<T>) => TeardownLogic) | undefined,
    private readonly report: (error: unknown) => void,
  ) {
    super(subscribe);
  }

  override lift<R>(operator?: Operator<T, R>): Observable<R> {
    const lifted = new SafeObservable<R>(undefined, this.report);
    return Object.assign(lifted, { source: this, operator });
  }

  override subscribe(observer?: Partial<Observer<T>> | ((value: T) => void) | null, ...rest: unknown[]): Subscription {
    if (observer instanceof Subscriber) return super.subscribe(observer);
    const [error, complete] = rest as [Observer<T>['error']?, Observer<T>['complete']?];
    const to: Partial<Observer<T>> = typeof observer === 'function' ? { next: observer } : (observer ?? {});
    const guard =
      <A extends unknown[]>(action: (...args: A) => void) =>
      (...args: A): void => {
        try {
          action(...args);
        } catch (thrown) {
          this.report(thrown);
        }
      };
    return super.subscribe({
      next: guard((value: T) => to.next?.(value)),
      error: guard((reason: unknown) => (to.error ? to.error(reason) : error ? error(reason) : this.report(reason))),
      complete: guard(() => (to.complete ? to.complete() : complete?.())),
    });
  }
}
