import type { QueuedSmsState } from 'nestjs-rt-sms';
import type { StoredError } from 'nestjs-rt-sms/engine';

/** Data of a send job: one queued message. Times are Unix times in milliseconds by the clock of the store. */
export interface SendData {
  /** Number, sender name and text, as `MessageSeal` stores them. Removed at settlement. */
  message?: string;
  /** Digest of the message by `MessageSeal`. */
  digest: string;
  /** The reference of the message as JSON. */
  ref?: string | undefined;
  expiresAt?: number | undefined;
  /** Present while the message may have a timer. */
  overdueAfterMs?: number | undefined;
  /** Time before which a delayed message is not sent. */
  notBefore?: number;
  attempts?: number;
  /** Number of writes by workers, so that a late write cannot undo a newer one. */
  version?: number | undefined;
  /** Unix time in milliseconds at which a POST may have started. While it is set, nothing may be sent. */
  sendStartedAt?: number | undefined;
  state?: Exclude<QueuedSmsState['state'], 'queued'>;
  sentAt?: number;
  uid?: string;
  error?: StoredError | undefined;
  /** Number of failed calls of the event handlers. */
  failures?: number;
}
