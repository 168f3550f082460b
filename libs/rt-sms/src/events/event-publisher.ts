import type { Logger } from '@nestjs/common';
import type { EventEmitter2 } from '@nestjs/event-emitter';
import { Subject, type Observable } from 'rxjs';
import { isError, messageOf, redact } from '../redact.js';
import { RtSmsEvents, type RtSmsStatusEvent } from './events.js';
import { SafeObservable } from './safe-observable.js';

/** Milliseconds that the handlers of an event may take, unless the engine sets another limit. */
const HANDLER_TIMEOUT_MS = 30_000;

type Listener = (...args: unknown[]) => unknown;

/** One event and its handlers. */
class Emission {
  readonly done: Promise<boolean>;
  since = 0;
  /** Number of handlers that have not settled, plus one until all have been called. */
  left = 1;
  failed = false;
  hasEnded = false;
  /** The next status of the same message. It starts when this one ends. */
  next: Emission | undefined;
  private resolve!: (succeeded: boolean) => void;

  constructor(
    readonly names: readonly string[],
    readonly payload: object,
    /** Id of the event in the log. */
    readonly id: string,
    /** Uid whose events are emitted one after the other. */
    readonly order: string | undefined,
  ) {
    this.done = new Promise((resolve) => (this.resolve = resolve));
  }

  end(): void {
    this.hasEnded = true;
    this.resolve(!this.failed);
  }
}

/**
 * Emits events to the application's listeners. All are called and awaited, and a failure in one does not affect the others.
 * Events wait until the listeners are bound, and are dropped after `close`.
 */
export class EventPublisher {
  /** Number of handlers that have failed. */
  failures = 0;
  /** Milliseconds after which handlers that have not settled count as failed. */
  handlerTimeoutMs = HANDLER_TIMEOUT_MS;
  private readonly subject = new Subject<RtSmsStatusEvent>();
  /** In the order in which they started. */
  private readonly running = new Set<Emission>();
  /** Last emission of each uid, while it runs or waits. */
  private readonly lastByUid = new Map<string, Emission>();
  private ready = false;
  private closed = false;
  /** One timer for all emissions: a timer for each event would cost more than the event. */
  private timer: NodeJS.Timeout | undefined;
  private shutdown: NodeJS.Timeout | undefined;

  constructor(
    private readonly emitter: EventEmitter2,
    private readonly whenReady: Promise<void>,
    private readonly logger: Logger,
  ) {
    whenReady.then(
      () => (this.ready = true),
      // The account logs this error. Nothing is ever emitted then.
      () => undefined,
    );
  }

  readonly statuses$: Observable<RtSmsStatusEvent> = new SafeObservable<RtSmsStatusEvent>(
    (subscriber) => this.subject.subscribe(subscriber),
    (error) => this.report('a subscriber of statuses$', error),
  );

  /**
   * Emits a status under both of its names. True if every handler succeeded. Statuses of one message are emitted one after
   * the other, so that a slow handler of the first cannot overwrite what a handler of the second has written.
   */
  status(event: RtSmsStatusEvent): Promise<boolean> {
    return this.publish([RtSmsEvents.status, `${RtSmsEvents.status}.${event.status}`], event, event.id, event.uid);
  }

  /** Emits `payload`; `id` is its id in the log. True if every handler succeeded. */
  publish(names: readonly string[], payload: object, id: string, order?: string): Promise<boolean> {
    const emission = new Emission(names, payload, id, order);
    const before = order === undefined ? undefined : this.lastByUid.get(order);
    if (order !== undefined) this.lastByUid.set(order, emission);
    if (before) before.next = emission;
    else if (this.ready) this.start(emission);
    else {
      const start = () => this.start(emission);
      void this.whenReady.then(start, start);
    }
    return emission.done;
  }

  /** Starts the shutdown: events are emitted for `ms` more, and handlers that still run then count as failed. */
  limit(ms: number): void {
    this.shutdown ??= setTimeout(() => {
      this.closed = true;
      for (const emission of this.running) this.fail(emission, 'had not ended when the application shut down');
    }, ms);
  }

  /** Emits nothing from now on. Resolves when the running handlers have ended. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.running].map(({ done }) => done));
    clearTimeout(this.shutdown);
    clearTimeout(this.timer);
    this.subject.complete();
  }

  private drop(emission: Emission): void {
    emission.failed = true;
    this.startNext(emission);
    emission.end();
  }

  private start(emission: Emission): void {
    if (this.closed || !this.ready) return this.drop(emission);
    emission.since = performance.now();
    this.running.add(emission);
    this.timer ??= setTimeout(this.endLate, this.handlerTimeoutMs).unref();
    for (const name of emission.names) {
      for (const listener of this.emitter.listeners(name))
        this.call(listener as Listener, emission, name, emission.payload);
      for (const listener of this.emitter.listenersAny().slice())
        this.call(listener as Listener, emission, name, name, emission.payload);
    }
    if (emission.names[0] === RtSmsEvents.status) this.subject.next(emission.payload as RtSmsStatusEvent);
    this.settled(emission);
  }

  /** Replaces `emitAsync`, which stops at a listener that throws and rejects while others still run. */
  private call(listener: Listener, emission: Emission, name: string, ...args: unknown[]): void {
    const fail = (error: unknown) => {
      emission.failed = true;
      this.report(`a handler of ${name} for the event ${emission.id}`, error);
    };
    const settled = () => this.settled(emission);
    try {
      // A wildcard listener reads the name of the event from this property.
      (this.emitter as EventEmitter2 & { event: string }).event = name;
      const result = listener.apply(this.emitter, args) as PromiseLike<unknown> | undefined;
      if (typeof result?.then !== 'function') return;
      emission.left++;
      void Promise.resolve(result).then(settled, (error: unknown) => {
        fail(error);
        settled();
      });
    } catch (error) {
      fail(error);
    }
  }

  private settled(emission: Emission): void {
    if (--emission.left === 0 && !emission.hasEnded) this.end(emission);
  }

  private startNext(emission: Emission): void {
    const { order, next } = emission;
    emission.next = undefined;
    if (next) this.start(next);
    else if (order !== undefined && this.lastByUid.get(order) === emission) this.lastByUid.delete(order);
  }

  /** Ends the emissions whose handlers have had their time. They start in order, so the first ones are the oldest. */
  private readonly endLate = (): void => {
    this.timer = undefined;
    for (const emission of this.running) {
      const restMs = emission.since + this.handlerTimeoutMs - performance.now();
      if (restMs > 0) {
        this.timer = setTimeout(this.endLate, restMs).unref();
        return;
      }
      this.fail(emission, `has not ended after ${this.handlerTimeoutMs / 1000} s and counts as failed`);
    }
  };

  private fail(emission: Emission, why: string): void {
    this.failures++;
    emission.failed = true;
    this.logger.warn(redact(`A handler of ${emission.names[0]} for the event ${emission.id} ${why}`));
    this.end(emission);
  }

  private end(emission: Emission): void {
    this.running.delete(emission);
    this.startNext(emission);
    emission.end();
  }

  private report(who: string, error: unknown): void {
    this.failures++;
    const message = messageOf(error);
    const stack = stackOf(error);
    // Only the frames: a stack starts with the original message, whose lines may look like frames.
    const frames = stack
      .slice(stack.indexOf(message) + message.length)
      .split('\n')
      .filter((line) => /^\s+at .+:\d+:\d+\)?$/.test(line))
      .map((line) => redact(line));
    this.logger.error(redact(`${who} failed: ${message}`), frames.join('\n'));
  }
}

/** The stack, or an empty string. Never throws. */
function stackOf(thrown: unknown): string {
  try {
    return isError(thrown) ? String(thrown.stack) : '';
  } catch {
    return '';
  }
}
