import type { DeliveryReport } from '../message/status.js';
import type { RtSmsStatusEvent } from '../events/events.js';
import type { Overdue } from './overdue-timers.js';

/**
 * Number of uids that are remembered although only callbacks have named them. Anyone with the callback secret can invent
 * such uids.
 */
export const MAX_UNKNOWN_UIDS = 10_000;
/** Milliseconds for which a callback with an unknown uid waits for pending sends, because its message may be one of them. */
export const PENDING_SENDS_WAIT_MS = 2_000;

/** Port: tracks messages until their final status. An engine with a store brings its own implementation. */
export interface DeliveryTracker {
  /** Number of tracked messages, for metrics, if this process can count them. */
  readonly size?: number;
  /** True if this process tracks `uid`. Callbacks for it do not wait for pending sends. */
  follows(uid: string): boolean;
  /** True if this account sent or tracked `uid`, as far as the records go back. */
  isKnown(uid: string): Promise<boolean> | boolean;
  /**
   * Starts tracking; the age of the message counts from `sentAt`, by default from now. At the time of `overdue` the message is
   * polled, and `rt-sms.overdue` is emitted unless its status is final. Never throws.
   */
  follow(
    uid: string,
    about?: { ref?: string | undefined; sentAt?: Date | undefined; overdue?: Overdue | undefined },
  ): Promise<void> | void;
  /**
   * Applies a status that came from an authenticated callback or from the gateway's answer. For an unknown uid it is emitted
   * once, unless another account of the application sent the message, and the uid is not polled.
   */
  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> | void;
  /**
   * Polls `uid` soon if it is tracked; with `evenIfUnknown` once also if it is not. Without `evenIfUnknown` the request may
   * come from anyone, so the caller must not wait for a store.
   */
  requestPoll(uid: string, evenIfUnknown: boolean): Promise<void> | void;
  /**
   * Returns the final event of `uid`. Without one it starts tracking, polls once, and the event is emitted later. If another
   * replica may emit it, the tracker looks for it until `isOver` returns true. May return the error of the poll.
   */
  findFinal(uid: string, isOver: () => boolean): Promise<RtSmsStatusEvent | Error | undefined>;
  /** Called once the application's listeners are bound. */
  start?(): void;
  /** Emits nothing from now on. */
  stop(): Promise<void> | void;
}
