import type { QueuedSmsState } from 'nestjs-rt-sms';
import type { StoredError } from 'nestjs-rt-sms/engine';

/** One message in the store. */
export interface SendData {
  /** `[msisdn, shortcode, text]` as JSON, in which any text can be kept; gone with the settlement. */
  message?: string;
  digest: string;
  /** As JSON. */
  ref?: string | undefined;
  expiresAt?: number | undefined;
  attempts?: number;
  /** Counts the writes of its worker. */
  edition?: number | undefined;
  /** Since when a POST may be on its way. Where it is set, nothing may be sent. */
  intent?: number | undefined;
  state?: Exclude<QueuedSmsState['state'], 'queued'>;
  sentAt?: number;
  uid?: string;
  error?: StoredError | undefined;
  /** How often its handlers failed. */
  failures?: number;
}
