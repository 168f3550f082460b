import { setMaxListeners } from 'node:events';
import {
  defer,
  firstValueFrom,
  fromEvent,
  merge,
  mergeMap,
  NEVER,
  of,
  Subject,
  switchMap,
  throwError,
  timeout,
} from 'rxjs';
import type { RtSmsStatusEvent } from '../events/events.js';
import type { CallOptions } from '../gateway/call-options.js';
import { redact } from '../redact.js';
import { RtSmsAbortedError, RtSmsTimeoutError } from '../rt-sms.errors.js';
import { MAX_TIMER_MS } from '../options/option-rules.js';
import type { DeliveryTracker } from './delivery-tracker.js';

/** The calls of `waitForFinal` in this process. */
export class FinalStatusWaiters {
  private readonly finals = new Map<string, Subject<RtSmsStatusEvent>>();
  private stopped = false;

  constructor(
    private readonly account: string,
    /** Longest wait in milliseconds if the caller sets no limit; `Infinity` for no limit. */
    private readonly maxAgeMs: number,
  ) {}

  /** Resolves with the event that `notify` receives or `find` returns. An error that `find` returns is the cause of a time-out. */
  async wait(uid: string, limits: CallOptions, find: DeliveryTracker['findFinal']): Promise<RtSmsStatusEvent> {
    const { timeoutMs = this.maxAgeMs, signal } = limits;
    const limitMs = Math.min(timeoutMs, MAX_TIMER_MS);
    const began = performance.now();
    let cause: unknown;
    const context = () => this.context(performance.now() - began, cause);
    const aborted = () =>
      new RtSmsAbortedError(`The caller's signal ended the wait for ${redact(uid)}`, 'not_sent', context());
    const late = () =>
      new RtSmsTimeoutError(`No final status of ${redact(uid)} within ${limitMs} ms`, 'not_sent', context());
    if (signal?.aborted) throw aborted();
    if (this.stopped) throw this.shutdownError(uid);
    // Many waits may share one signal, each with a listener until it ends: Node's warning would be wrong here.
    if (signal) setMaxListeners(Infinity, signal);
    const notified = this.finals.get(uid) ?? new Subject<RtSmsStatusEvent>();
    this.finals.set(uid, notified);
    const aborts = signal ? fromEvent(signal, 'abort').pipe(switchMap(() => throwError(aborted))) : NEVER;
    const found = defer(() => find(uid, () => !notified.observed)).pipe(
      mergeMap((final) => (final instanceof Error ? ((cause = final), NEVER) : final ? of(final) : NEVER)),
    );
    try {
      // Subscribed to `notified` first, so that no event is missed while `find` runs.
      const final = merge(notified, aborts, found);
      const limited = final.pipe(timeout({ first: limitMs, with: () => throwError(late) }));
      return await firstValueFrom(timeoutMs === Infinity ? final : limited);
    } finally {
      if (!notified.observed && this.finals.get(uid) === notified) this.finals.delete(uid);
    }
  }

  /** Ends the waits for this event's message if it is final. */
  notify(event: RtSmsStatusEvent): void {
    if (event.final) this.finals.get(event.uid)?.next(event);
  }

  /** Rejects the waits for a message that is no longer tracked. */
  giveUp(uid: string): void {
    const what = `${redact(uid)} is no longer tracked and has no final status: it is older than tracking.maxAgeMs, the gateway does not find it, or tracking.limit is exceeded`;
    this.fail(uid, new RtSmsTimeoutError(what, 'not_sent', this.context()));
  }

  /** Rejects all waits during shutdown. */
  stop(): void {
    this.stopped = true;
    for (const uid of this.finals.keys()) this.fail(uid, this.shutdownError(uid));
  }

  private fail(uid: string, error: Error): void {
    const notified = this.finals.get(uid);
    this.finals.delete(uid);
    notified?.error(error);
  }

  private shutdownError(uid: string): RtSmsAbortedError {
    const what = `The wait for the final status of ${redact(uid)} ended: the application is shutting down`;
    return new RtSmsAbortedError(what, 'not_sent', this.context());
  }

  private context(durationMs = 0, cause?: unknown) {
    return { operation: 'wait', account: this.account, durationMs, cause } as const;
  }
}
