import type { Fault } from './faults.js';

/** A magic number and its effect; without `fault` the message is accepted. */
export interface MagicNumber {
  /** The number, digits only. */
  readonly msisdn: string;
  /** Description of the effect, in one line. */
  readonly does: string;
  /** The status it ends in. @default 'delivered' */
  readonly status?: string;
  /** The error code that goes with `rejected`. */
  readonly err?: string;
  /** Fault of the POST. */
  readonly fault?: Fault;
  /** Plays `fault` on every other POST only: the first fails, its retry succeeds. */
  readonly everyOther?: true;
  /** Deletes the message after it was accepted: no status, no callback, `transaction_not_found`. */
  readonly forgotten?: true;
  /** Fault of each of its callbacks. */
  readonly callbacks?: 'lost' | 'doubled' | 'reordered';
}

/**
 * Numbers that produce an outcome without code, in every simulator; messages to other numbers are delivered. They take
 * effect if the POST is otherwise valid (credentials, address, fields). Statuses come from the automatic lifecycle.
 *
 * - `7999000000x` the final status of the message
 * - `7999000001x` the reasons of §1.6.1
 * - `7999000002x` the connection and the answer
 * - `7999000003x` the callbacks
 */
export const MAGIC_NUMBERS: readonly MagicNumber[] = [
  { msisdn: '79990000001', does: 'delivered' },
  { msisdn: '79990000002', does: 'failed', status: 'failed' },
  { msisdn: '79990000003', does: 'rejected, with err 11', status: 'rejected', err: '11' },
  { msisdn: '79990000004', does: 'insufficient_balance', status: 'insufficient_balance' },
  { msisdn: '79990000005', does: 'awaiting_report for ever', status: 'awaiting_report' },
  { msisdn: '79990000006', does: 'expired: a status that the document does not have', status: 'expired' },
  { msisdn: '79990000007', does: 'accepted, but its status is transaction_not_found', forgotten: true },

  { msisdn: '79990000010', does: 'invalid_request_body', fault: 'invalid_request_body' },
  { msisdn: '79990000011', does: 'invalid_field_msisdn', fault: 'invalid_field_msisdn' },
  { msisdn: '79990000012', does: 'invalid_field_shortcode', fault: 'invalid_field_shortcode' },
  { msisdn: '79990000013', does: 'invalid_source_address', fault: 'invalid_source_address' },
  { msisdn: '79990000014', does: 'invalid_field_text', fault: 'invalid_field_text' },
  { msisdn: '79990000015', does: 'system_error', fault: 'system_error' },
  { msisdn: '79990000016', does: 'system_error once, then fine', fault: 'system_error', everyOther: true },
  { msisdn: '79990000017', does: '401 auth_required', fault: 'auth_required' },
  { msisdn: '79990000018', does: '403 wrong_ip', fault: 'wrong_ip' },
  { msisdn: '79990000019', does: '403 wrong_credentials', fault: 'wrong_credentials' },

  { msisdn: '79990000020', does: 'no answer, not saved', fault: 'timeout' },
  { msisdn: '79990000021', does: 'no answer, yet accepted', fault: { fault: 'timeout', accepted: true } },
  { msisdn: '79990000022', does: 'connection reset, not saved', fault: 'reset' },
  { msisdn: '79990000023', does: 'connection reset, yet accepted', fault: { fault: 'reset', accepted: true } },
  { msisdn: '79990000024', does: '503 with a page of HTML', fault: { status: 503 } },
  { msisdn: '79990000025', does: '200 with a page of HTML', fault: 'html' },
  { msisdn: '79990000026', does: '200 with no body', fault: 'empty' },
  { msisdn: '79990000027', does: 'accepted, the answer cut off in the middle', fault: 'truncate' },
  { msisdn: '79990000028', does: 'accepted, the answer drips for 6 s', fault: 'drip' },
  { msisdn: '79990000029', does: 'accepted, the answer comes after 3 s', fault: { delayMs: 3_000 } },

  { msisdn: '79990000030', does: 'delivered, every callback lost', callbacks: 'lost' },
  { msisdn: '79990000031', does: 'delivered, every callback sent twice', callbacks: 'doubled' },
  { msisdn: '79990000032', does: 'delivered, the callbacks in the wrong order', callbacks: 'reordered' },
];

const BY_MSISDN = new Map(MAGIC_NUMBERS.map((magic) => [magic.msisdn, magic]));

export function magicOf(msisdn: string): MagicNumber | undefined {
  return BY_MSISDN.get(msisdn);
}
