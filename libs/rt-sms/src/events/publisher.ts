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

/**
 * Hands events to the application's listeners: all of them, awaited together, each on its own. Nothing goes out before the
 * listeners are bound (it waits) nor after `close` (it is dropped).
 */
export class Publisher {
  /** Handlers that failed so far. */
  failures = 0;
  private readonly subject = new Subject<RtSmsStatusEvent>();
  private readonly running = new Set<Promise<boolean>>();
  /** Per uid, the end of the handlers of its last status. */
  private readonly tails = new Map<string, Promise<unknown>>();
  private ready = false;
  private closed = false;

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
    const { uid, id } = event;
    const names = [RtSmsEvents.status, `${RtSmsEvents.status}.${event.status}`];
    let end!: () => void;
    const tail = new Promise<void>((resolve) => (end = resolve));
    const passOn = () => {
      end();
      if (this.tails.get(uid) === tail) this.tails.delete(uid);
    };
    const before = this.tails.get(uid);
    this.tails.set(uid, tail);
    const run = before
      ? before.then(() => this.publish(names, event, id, passOn))
      : this.publish(names, event, id, passOn);
    void run.then(passOn);
    return run;
  }

  /** Emits `payload`; `id` stands for it in the log. True if every handler succeeded; `slow` is called if one takes long. */
  publish(names: readonly string[], payload: object, id: string, slow?: () => void): Promise<boolean> {
    if (this.closed) return Promise.resolve(false);
    const run = this.ready
      ? this.run(names, payload, id, slow)
      : this.whenReady.then(
          () => !this.closed && this.run(names, payload, id, slow),
          () => false,
        );
    this.running.add(run);
    void run.then(() => this.running.delete(run));
    return run;
  }

  /** Emits nothing more, and waits for the handlers that run, `maxMs` at most. */
  async close(maxMs: number): Promise<void> {
    this.closed = true;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise((resolve) => (timer = setTimeout(resolve, maxMs)));
    if (this.ready) await Promise.race([Promise.allSettled(this.running), limit]);
    clearTimeout(timer);
    this.subject.complete();
  }

  private async run(names: readonly string[], payload: object, id: string, slow?: () => void): Promise<boolean> {
    let failed = false;
    const fail = (name: string) => (error: unknown) => {
      failed = true;
      this.failed(`a handler of ${name} for the event ${id}`, error);
    };
    const pending: Promise<unknown>[] = [];
    // Not `emitAsync`: it stops at a listener that throws, and rejects while others still run.
    const call = (listener: Listener, name: string, ...args: unknown[]) => {
      try {
        // A listener for many names reads there which one it was called for.
        (this.emitter as EventEmitter2 & { event: string }).event = name;
        const result = listener.apply(this.emitter, args) as PromiseLike<unknown> | undefined;
        if (typeof result?.then === 'function') pending.push(Promise.resolve(result).catch(fail(name)));
      } catch (error) {
        fail(name)(error);
      }
    };
    for (const name of names) {
      for (const listener of this.emitter.listeners(name)) call(listener as Listener, name, payload);
      for (const listener of this.emitter.listenersAny().slice()) call(listener as Listener, name, name, payload);
    }
    if (names[0] === RtSmsEvents.status) this.subject.next(payload as RtSmsStatusEvent);
    if (pending.length > 0) {
      const limit = setTimeout(() => {
        this.logger.warn(redact(`A handler of ${names[0]} for the event ${id} has not settled for 30 s`));
        slow?.();
      }, SLOW_HANDLER_MS).unref();
      await Promise.all(pending);
      clearTimeout(limit);
    }
    return !failed;
  }

  private failed(who: string, error: unknown): void {
    this.failures++;
    const message = messageOf(error);
    const stack = isError(error) ? String(error.stack) : '';
    // The frames only: a stack begins with the message as it was, whose lines may look like frames.
    const frames = stack
      .slice(stack.indexOf(message) + message.length)
      .split('\n')
      .filter((line) => /^\s+at .+:\d+:\d+\)?$/.test(line))
      .map((line) => redact(line));
    this.logger.error(redact(`${who} failed: ${message}`), frames.join('\n'));
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
