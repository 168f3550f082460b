import { OnEvent, type EventEmitter2 } from '@nestjs/event-emitter';
import { RtSmsEvents, type RtSmsError } from 'nestjs-rt-sms';
import type { OtpStore } from './store.js';

/** Names of the events that this package emits through the application's `EventEmitter2`. */
export const RtSmsOtpEvents = {
  /** The message of a code was not delivered, or not in time: `RtSmsOtpUndeliveredEvent`. */
  undelivered: 'rt-sms-otp.undelivered',
} as const;

/** Events of a message, and what they mean for its code. */
const REASONS = {
  [`${RtSmsEvents.status}.failed`]: 'failed',
  [`${RtSmsEvents.status}.rejected`]: 'rejected',
  [`${RtSmsEvents.status}.insufficient_balance`]: 'insufficient_balance',
  [RtSmsEvents.refused]: 'refused',
  [RtSmsEvents.outcomeUnknown]: 'unknown',
  [RtSmsEvents.expired]: 'expired',
  [RtSmsEvents.overdue]: 'overdue',
} as const;

/**
 * The message of a code was not delivered, or not in time, and the code was not used: offer another way. The code stays valid.
 * A challenge may cause several events, such as `overdue` and later `failed`.
 */
export interface RtSmsOtpUndeliveredEvent extends Record<'challengeId' | 'account', string> {
  /** Final status; or, of a queued message, `refused`, `unknown` or `expired`; or `overdue` (the option `overdueAfterMs`). */
  reason: (typeof REASONS)[keyof typeof REASONS];
}

/** Calls the method for each `RtSmsOtpUndeliveredEvent`. */
export const OnRtSmsOtpUndelivered = (): MethodDecorator =>
  OnEvent(RtSmsOtpEvents.undelivered, { suppressErrors: false });

/** Reference of a message: its challenge and the number of its send. The code is not in it. */
export const refOf = (challengeId: string, sends: number): string => `rt-sms-otp:${challengeId}:${sends}`;

/** Emits `rt-sms-otp.undelivered` for the messages of codes. With a durable engine, an event whose handler fails comes again. */
export function watchDelivery(emitter: EventEmitter2, account: string, store: OtpStore): void {
  const receive = async (reason: string, event: { account: string; ref?: string; error?: RtSmsError }) => {
    const [, challengeId, sends] = /^rt-sms-otp:([\w-]{22}):(\d+)$/.exec(event.ref ?? '') ?? [];
    if (challengeId === undefined || event.account !== account) return;
    // A queued message that was not sent does not count, as in `resend`.
    const isSent = reason !== 'expired' && event.error?.outcome !== 'not_sent';
    const record = await store.step(challengeId, isSent ? 'find' : 'undo', [Number(sends)]);
    // A delivery report may be late.
    if (record?.state === 'used') return;
    await emitter.emitAsync(RtSmsOtpEvents.undelivered, { challengeId, account, reason });
  };
  // The module that emits these events waits for the promise.
  const listener =
    (reason: string) =>
    (event: Parameters<typeof receive>[1]): unknown =>
      receive(reason, event);
  for (const [name, reason] of Object.entries(REASONS)) emitter.on(name, listener(reason));
}
