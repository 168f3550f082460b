import type { CredentialsPlace, SmsStatus } from './protocol.js';

/**
 * `accepted` is the time between the answer to the POST and the handover to the operator. The document does not define
 * a status for it, so a status request returns `awaiting_report`. Any other string may be reported, to try a status
 * that is not in the document.
 */
export type MessageStatus = 'accepted' | SmsStatus | (string & Record<never, never>);

/** A message that the gateway accepted. The object is live: its status changes. */
export interface SimulatedMessage {
  /** `message-id-…`. */
  readonly uid: string;
  /** Recipient, digits only. */
  readonly msisdn: string;
  /** Text as received. */
  readonly text: string;
  /** The sender name. */
  readonly shortcode: string;
  /** Time at which it was accepted. */
  readonly createdAt: Date;
  /** Time of the last change of its status. */
  readonly updatedAt: Date;
  /** Its status now. */
  readonly status: MessageStatus;
  /** Number of parts, `undefined` before the first status. */
  readonly parts: number | undefined;
  /** The error code of a rejected message. */
  readonly err: string | undefined;
  /** `X-Request-Id` of the answer to its POST. */
  readonly requestId: string;
  /** Place of the credentials in its POST. */
  readonly credentials: CredentialsPlace;
}

/** A callback (§3.1.1) that was sent, or that was lost on purpose. The object is live until the callback is answered. */
export interface SimulatedCallback {
  /** Uid of the message. */
  readonly uid: string;
  /** The status in it. */
  readonly status: string;
  /** Address that was requested, with its query. */
  readonly url: string;
  /** True if it was lost on purpose: nothing was sent. */
  readonly lost: boolean;
  /** True for the second copy of a duplicated callback. */
  readonly copy: boolean;
  /** Time of the request. */
  readonly sentAt: Date;
  /** HTTP status of the response. */
  readonly code?: number;
  /** Reason why there was no response. */
  readonly error?: string;
}

/** Details of a reported status. */
export interface StatusDetails {
  /** Number of parts. @default counted from the text */
  readonly parts?: number;
  /** The error code; like the provider, the simulator keeps and sends it only with `rejected`. */
  readonly err?: string;
  /** Loses the callback: the status changes, but no callback is sent. @default false */
  readonly lost?: boolean;
}
