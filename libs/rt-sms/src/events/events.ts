import { isInstance, nameClasses } from '../copies.js';
import type { SmsStatus } from '../message/status.js';
import type { RtSmsError } from '../rt-sms.errors.js';

/** Names of the events, as the application's `EventEmitter2` carries them. */
export const RtSmsEvents = {
  /** A status became known: `RtSmsStatusEvent`. The same event is emitted as `rt-sms.status.<status>`, too. */
  status: 'rt-sms.status',
  /** The gateway took an enqueued message: `RtSmsAcceptedEvent`. */
  accepted: 'rt-sms.accepted',
  /** An enqueued message will not be sent: `RtSmsFailedEvent`. */
  refused: 'rt-sms.refused',
  /** An enqueued message may have been sent, nobody can know: `RtSmsFailedEvent`. */
  outcomeUnknown: 'rt-sms.outcome-unknown',
  /** An enqueued message was not sent, because its `expiresAt` passed: `RtSmsExpiredEvent`. */
  expired: 'rt-sms.expired',
  /** An enqueued message was cancelled, it will not be sent: `RtSmsExpiredEvent`. */
  cancelled: 'rt-sms.cancelled',
  /** Sent, but without a final status within `maxAgeMs`: `RtSmsUnresolvedEvent`. */
  unresolved: 'rt-sms.unresolved',
} as const;

/** A status of a message became known. Frozen; nothing in it is unchecked text. */
export class RtSmsStatusEvent {
  /** Stable, so that a handler can be idempotent: `account:uid:status`; for an unknown one `account:uid:unknown:<raw>`. */
  readonly id: string;
  /** The account's name, `'default'` without one. */
  readonly account: string;
  /** The gateway's, `message-id-…`. */
  readonly uid: string;
  /** Yours, from `SmsMessage.ref`, while it is known. */
  readonly ref?: string;
  /** What became of the message, in this module's words. */
  readonly status: SmsStatus;
  /** The gateway's own word. */
  readonly gatewayStatus: string;
  /** Nothing more is expected. */
  readonly final: boolean;
  /** Segments the message was split into. */
  readonly parts?: number;
  /** Only with `rejected`. */
  readonly errorCode?: string;
  /** What made the status known: a callback, or a look of the tracker's own. */
  readonly source: 'callback' | 'poll';
  /** The gateway said it in answer to a request of ours. */
  readonly confirmed: boolean;
  /** The final status that an earlier event gave and that this one takes back. */
  readonly corrects?: SmsStatus;
  /** When this process came to know it. */
  readonly receivedAt: Date;

  constructor(
    fields: Omit<RtSmsStatusEvent, 'id' | 'ref' | 'parts' | 'errorCode' | 'corrects'> & {
      [Name in 'ref' | 'parts' | 'errorCode' | 'corrects']?: RtSmsStatusEvent[Name] | undefined;
    },
  ) {
    const word = fields.status === 'unknown' ? `unknown:${fields.gatewayStatus}` : fields.status;
    // One by one: what Object.assign makes of it is larger, and there are many.
    this.id = `${fields.account}:${fields.uid}:${word}`;
    this.account = fields.account;
    this.uid = fields.uid;
    if (fields.ref !== undefined) this.ref = fields.ref;
    this.status = fields.status;
    this.gatewayStatus = fields.gatewayStatus;
    this.final = fields.final;
    if (fields.parts !== undefined) this.parts = fields.parts;
    if (fields.errorCode !== undefined) this.errorCode = fields.errorCode;
    this.source = fields.source;
    this.confirmed = fields.confirmed;
    if (fields.corrects !== undefined) this.corrects = fields.corrects;
    this.receivedAt = fields.receivedAt;
    Object.freeze(this);
  }

  /** @internal `instanceof` works across copies of the package. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, value);
  }
}
nameClasses({ RtSmsStatusEvent });

/** `id` is that of `enqueue`. */
export interface RtSmsAcceptedEvent {
  /** That of `enqueue`. */
  id?: string;
  /** The account's name. */
  account: string;
  /** The gateway's. */
  uid: string;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
}
/** An enqueued message that will not be sent, or of which nobody can know. */
export interface RtSmsFailedEvent {
  /** That of `enqueue`. */
  id: string;
  /** The account's name. */
  account: string;
  /** Why. */
  error: RtSmsError;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
}
/** An enqueued message that expired or was cancelled: it was not sent. */
export interface RtSmsExpiredEvent {
  /** That of `enqueue`. */
  id: string;
  /** The account's name. */
  account: string;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
}
/** A message whose final status nobody learned within `tracking.maxAgeMs`. */
export interface RtSmsUnresolvedEvent {
  /** The account's name. */
  account: string;
  /** The gateway's. */
  uid: string;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
  /** The last one that was known. */
  lastStatus?: SmsStatus;
}
