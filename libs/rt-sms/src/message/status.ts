import { safeWord } from '../confidential.js';

/** Statuses of the provider's table (§2.2.2, §3.1.1), and `unknown` for any other status of the gateway. */
export const SMS_STATUSES = [
  'delivered',
  'awaiting_report',
  'failed',
  'insufficient_balance',
  'rejected',
  'unknown',
] as const;
/** Delivery status of a message (§2.2.2); `unknown` for a status that is not in the provider's document. */
export type SmsStatus = (typeof SMS_STATUSES)[number];

const FINAL: ReadonlySet<string> = new Set<SmsStatus>(['delivered', 'failed', 'rejected', 'insufficient_balance']);
const KNOWN: ReadonlySet<unknown> = new Set(SMS_STATUSES);

/** True for a status after which nothing more is expected. */
export const isFinal = (status: SmsStatus): boolean => FINAL.has(status);

/** Delivery status that the gateway or a callback reported. Every field has been validated. */
export interface DeliveryReport {
  /** The gateway's name for the message, `message-id-…`. */
  uid: string;
  /** Status as the module classifies it. */
  status: SmsStatus;
  /** The gateway's own word, of at most 64 printable characters; `unrecognised` if it may repeat parts of the request. */
  gatewayStatus: string;
  /** Number of segments the message was split into, greater than 0. */
  parts?: number;
  /**
   * Error code, only with `rejected`: at most 64 printable characters, whose meaning is not public; `unrecognised` if it may
   * repeat parts of the request.
   */
  errorCode?: string;
}

// U+FFFD replaces bytes that a decoder could not read as UTF-8.
const MAX_PRINTABLE = 128;
const PRINTABLE = /^(?! *$)(?!.*\uFFFD)[\p{L}\p{N}\p{P}\p{S} ]{1,64}$/u;

/** Returns a printable text of 1 to 64 characters that are not all blank; otherwise `undefined`. */
export const printable = (value: unknown): string | undefined =>
  typeof value === 'string' && value.length <= MAX_PRINTABLE && PRINTABLE.test(value) ? value : undefined;

/**
 * Reads a status; `undefined` if it is missing, empty, unprintable or longer than 64 characters. A status that is not in the
 * table and may repeat one of the `confidential` values is `unrecognised`.
 */
export function readStatus(
  value: unknown,
  confidential: readonly string[] = [],
): { status: SmsStatus; gatewayStatus: string } | undefined {
  if (KNOWN.has(value)) return { status: value as SmsStatus, gatewayStatus: value as SmsStatus };
  const word = printable(value);
  return word === undefined ? undefined : { status: 'unknown', gatewayStatus: safeWord(word, confidential) };
}

/**
 * Reads a number of segments (§3.1.1 `parts`, §2.2.2 `pdu_count`): a whole number greater than 0, of digits only and with
 * fewer of them than a phone number; otherwise `undefined`.
 */
export function readParts(value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^\d{1,8}$/.test(text)) return undefined;
  return Number(text) || undefined;
}

const PREFIX = 'message-id-';
// Characters that need no encoding in a path segment, a log line or a key. The prefix makes an id of dots harmless.
const ID = /^[A-Za-z0-9._~:=@+-]{1,128}$/;

/**
 * Reads a uid with or without its prefix and returns `message-id-…` (§2.1.2); `undefined` if it is not valid. Case is kept.
 */
export function readUid(value: unknown): string | undefined {
  // An unsafe integer may differ from the number that was sent.
  const text = Number.isSafeInteger(value) && (value as number) >= 0 ? String(value) : value;
  if (typeof text !== 'string') return undefined;
  const id = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text;
  return ID.test(id) ? PREFIX + id : undefined;
}
