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
import type { CallOptions } from '../gateway/calls.js';
import { redact } from '../redact.js';
import { RtSmsAbortedError, RtSmsTimeoutError } from '../rt-sms.errors.js';
import { MAX_TIMER_MS } from '../options/option-rules.js';
import type { DeliveryTracker } from './engine.js';

/** Those in this process who wait for the final status of a message: what is told ends it, or a limit of their own. */
export class FinalWaits {
  private readonly ends = new Map<string, Subject<RtSmsStatusEvent>>();
  private stopped = false;

  constructor(
    private readonly account: string,
    /** The longest wait where the caller gives no limit; a time that is not finite is none. */
    private readonly maxAgeMs: number,
  ) {}

  /** What `seek` finds ends the wait too; an error that it returns is the cause of a time-out. */
  async wait(uid: string, limits: CallOptions, seek: DeliveryTracker['seek']): Promise<RtSmsStatusEvent> {
    const { timeoutMs = this.maxAgeMs, signal } = limits;
    const limitMs = Math.min(timeoutMs, MAX_TIMER_MS);
    const began = performance.now();
    let cause: unknown;
    const about = () => this.context(performance.now() - began, cause);
    const aborted = () =>
      new RtSmsAbortedError(`The caller's signal ended the wait for ${redact(uid)}`, 'not_sent', about());
    const late = () =>
      new RtSmsTimeoutError(`No final status of ${redact(uid)} within ${limitMs} ms`, 'not_sent', about());
    if (signal?.aborted) throw aborted();
    if (this.stopped) throw this.atEnd(uid);
    // Many waits may share a signal; that each has a listener on it while it lasts is no leak to warn of.
    if (signal) setMaxListeners(Infinity, signal);
    const told = this.ends.get(uid) ?? new Subject<RtSmsStatusEvent>();
    this.ends.set(uid, told);
    const aborts = signal ? fromEvent(signal, 'abort').pipe(switchMap(() => throwError(aborted))) : NEVER;
    const found = defer(() => seek(uid, () => !told.observed)).pipe(
      mergeMap((end) => (end instanceof Error ? ((cause = end), NEVER) : end ? of(end) : NEVER)),
    );
    try {
      // What is told is listened to before anything is sought.
      const end = merge(told, aborts, found);
      const limited = end.pipe(timeout({ first: limitMs, with: () => throwError(late) }));
      return await firstValueFrom(timeoutMs === Infinity ? end : limited);
    } finally {
      if (!told.observed && this.ends.get(uid) === told) this.ends.delete(uid);
    }
  }

  /** A status became known. */
  learn(event: RtSmsStatusEvent): void {
    if (event.final) this.ends.get(event.uid)?.next(event);
  }

  /** The message is followed no more. */
  giveUp(uid: string): void {
    const what = `${redact(uid)} stays without a final status: its time is over (tracking.maxAgeMs), the gateway does not know it, or too many are followed (tracking.limit)`;
    this.fail(uid, new RtSmsTimeoutError(what, 'not_sent', this.context()));
  }

  /** The application ends. */
  stop(): void {
    this.stopped = true;
    for (const uid of this.ends.keys()) this.fail(uid, this.atEnd(uid));
  }

  private fail(uid: string, error: Error): void {
    const told = this.ends.get(uid);
    this.ends.delete(uid);
    told?.error(error);
  }

  private atEnd(uid: string): RtSmsAbortedError {
    const why = `The wait for the final status of ${redact(uid)} was ended by the application's end`;
    return new RtSmsAbortedError(why, 'not_sent', this.context());
  }

  private context(durationMs = 0, cause?: unknown) {
    return { operation: 'wait', account: this.account, durationMs, cause } as const;
  }
}
