import { safeWord } from '../confidential.js';

/** The statuses of the provider's table (§2.2.2, §3.1.1), and `unknown` for any word that is not in it. */
export const SMS_STATUSES = [
  'delivered',
  'awaiting_report',
  'failed',
  'insufficient_balance',
  'rejected',
  'unknown',
] as const;
/** What became of a message (§2.2.2); `unknown` for a word that the document does not have. */
export type SmsStatus = (typeof SMS_STATUSES)[number];

const FINAL: ReadonlySet<string> = new Set<SmsStatus>(['delivered', 'failed', 'rejected', 'insufficient_balance']);
const KNOWN: ReadonlySet<unknown> = new Set(SMS_STATUSES);

/** True for a status after which nothing more is expected. */
export const isFinal = (status: SmsStatus): boolean => FINAL.has(status);

/** What the gateway or a callback says of a message: nothing in it is unchecked text. */
export interface DeliveryReport {
  /** The gateway's, `message-id-…`. */
  uid: string;
  /** In this module's words. */
  status: SmsStatus;
  /** The gateway's own word, at most 64 printable characters; `unrecognised` where it may repeat parts of the request. */
  gatewayStatus: string;
  /** Number of segments the message was split into, greater than 0. */
  parts?: number;
  /** Only with `rejected`: at most 64 printable characters, whose meaning is not public; or `unrecognised`, as above. */
  errorCode?: string;
}

// U+FFFD is what a decoder leaves of bytes that are no UTF-8.
const MAX_PRINTABLE = 128;
const PRINTABLE = /^(?! *$)(?!.*\uFFFD)[\p{L}\p{N}\p{P}\p{S} ]{1,64}$/u;

/** A printable text of 1 to 64 characters, not all of them blank; nothing otherwise. */
export const printable = (value: unknown): string | undefined =>
  typeof value === 'string' && value.length <= MAX_PRINTABLE && PRINTABLE.test(value) ? value : undefined;

/**
 * Reads a status word; nothing if it is missing, empty, unprintable or longer than 64 characters. One that is not in the
 * table and may repeat a value that is `confidential` is `unrecognised`.
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
 * A whole number greater than 0, of digits only and fewer of them than a phone number has; nothing otherwise (§3.1.1 `parts`,
 * §2.2.2 `pdu_count`).
 */
export function readParts(value: unknown): number | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^\d{1,8}$/.test(text)) return undefined;
  return Number(text) || undefined;
}

const PREFIX = 'message-id-';
// What may stand in a path segment, a log line and a key without being encoded; an id of dots would still be prefixed.
const ID = /^[A-Za-z0-9._~:=@+-]{1,128}$/;

/** The one form of a uid, `message-id-…` (§2.1.2), from either form; nothing if it cannot be one. Case is kept. */
export function readUid(value: unknown): string | undefined {
  // Beyond the safe integers it may be another number than the one that was sent.
  const text = Number.isSafeInteger(value) && (value as number) >= 0 ? String(value) : value;
  if (typeof text !== 'string') return undefined;
  const id = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text;
  return ID.test(id) ? PREFIX + id : undefined;
}
