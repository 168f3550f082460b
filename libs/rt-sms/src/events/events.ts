import { isInstance, nameClasses } from '../copies.js';
import type { SmsStatus } from '../message/status.js';
import type { RtSmsError } from '../rt-sms.errors.js';

/** Names of the events that the module emits through the application's `EventEmitter2`. */
export const RtSmsEvents = {
  /** A new status of a message: `RtSmsStatusEvent`. The same event is also emitted as `rt-sms.status.<status>`. */
  status: 'rt-sms.status',
  /** The gateway accepted an enqueued message: `RtSmsAcceptedEvent`. */
  accepted: 'rt-sms.accepted',
  /** An enqueued message will not be sent: `RtSmsFailedEvent`. */
  refused: 'rt-sms.refused',
  /** An enqueued message may have been sent; its outcome is unknown: `RtSmsFailedEvent`. */
  outcomeUnknown: 'rt-sms.outcome-unknown',
  /** An enqueued message was not sent, because its `expiresAt` passed: `RtSmsExpiredEvent`. */
  expired: 'rt-sms.expired',
  /** An enqueued message was cancelled and will not be sent: `RtSmsExpiredEvent`. */
  cancelled: 'rt-sms.cancelled',
  /** A sent message has no final status within `maxAgeMs`: `RtSmsUnresolvedEvent`. */
  unresolved: 'rt-sms.unresolved',
  /** A message has no final status within its `overdueAfterMs`: `RtSmsOverdueEvent`. */
  overdue: 'rt-sms.overdue',
} as const;

/** A new status of a message. The event is frozen, and every field has been validated. */
export class RtSmsStatusEvent {
  /** Stable id of the event, for idempotent handlers: `account:uid:status`, or `account:uid:unknown:<gatewayStatus>`. */
  readonly id: string;
  /** Name of the account, `'default'` without one. */
  readonly account: string;
  /** The gateway's name for the message, `message-id-…`. */
  readonly uid: string;
  /** Your reference, from `SmsMessage.ref`, while the module remembers the message. */
  readonly ref?: string;
  /** Status as the module classifies it. */
  readonly status: SmsStatus;
  /** The gateway's own word for the status. */
  readonly gatewayStatus: string;
  /** True if no other status is expected. */
  readonly final: boolean;
  /** Number of segments the message was split into. */
  readonly parts?: number;
  /** Error code of the gateway, only with `rejected`. */
  readonly errorCode?: string;
  /** Trigger of the event: a callback, or a poll by the module. */
  readonly source: 'callback' | 'poll';
  /** True if the gateway gave the status in answer to a status request. */
  readonly confirmed: boolean;
  /** Final status of an earlier event that this event replaces. */
  readonly corrects?: SmsStatus;
  /** Time when this process received the status. */
  readonly receivedAt: Date;

  constructor(
    fields: Omit<RtSmsStatusEvent, 'id' | 'ref' | 'parts' | 'errorCode' | 'corrects'> & {
      [Name in 'ref' | 'parts' | 'errorCode' | 'corrects']?: RtSmsStatusEvent[Name] | undefined;
    },
  ) {
    const word = fields.status === 'unknown' ? `unknown:${fields.gatewayStatus}` : fields.status;
    // Assigned one by one, because Object.assign creates larger objects, and there are many events.
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

/** An enqueued message that the gateway accepted. */
export interface RtSmsAcceptedEvent {
  /** Id of the message in `enqueue`. */
  id?: string;
  /** Name of the account. */
  account: string;
  /** The gateway's name for the message. */
  uid: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
}
/** An enqueued message that will not be sent, or whose outcome is unknown. */
export interface RtSmsFailedEvent {
  /** Id of the message in `enqueue`. */
  id: string;
  /** Name of the account. */
  account: string;
  /** Reason of the failure. */
  error: RtSmsError;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
}
/** An enqueued message that expired or was cancelled: it was not sent. */
export interface RtSmsExpiredEvent {
  /** Id of the message in `enqueue`. */
  id: string;
  /** Name of the account. */
  account: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
}
/** A message without a final status within `tracking.maxAgeMs`. */
export interface RtSmsUnresolvedEvent {
  /** Name of the account. */
  account: string;
  /** The gateway's name for the message. */
  uid: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
  /** Last status of the message, if there was one. */
  lastStatus?: SmsStatus;
}
/** A message without a final status within its `overdueAfterMs`. At most one for each message; a final status may follow. */
export interface RtSmsOverdueEvent {
  /** Name of the account. */
  account: string;
  /** The gateway's name for the message. Absent while an enqueued message has not been sent. */
  uid?: string;
  /** Id of the message in `enqueue`. */
  id?: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
  /** Last status of the message, if there was one. */
  lastStatus?: SmsStatus;
  /** `overdueAfterMs` of the message, in milliseconds. */
  overdueAfterMs: number;
}
