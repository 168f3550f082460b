import { RtSmsStatusEvent } from '../events/events.js';
import { redact } from '../redact.js';
import { isFinal, type DeliveryReport, type SmsStatus } from '../message/status.js';

/** Statuses that are not final, remembered of one message: the provider's table has one of them, the rest are unknown. */
const MAX_SEEN = 16;

/** One status of a message and how it became known. Plain data, so that a store can hold it as JSON. */
export interface StatusRecord extends Omit<DeliveryReport, 'uid'> {
  /** What led to it: a callback, or a poll. */
  source: 'callback' | 'poll';
  /** The gateway said it in answer to a request. */
  confirmed: boolean;
  /** The final status that this one takes back. */
  corrects?: SmsStatus;
  /** Unix time in milliseconds at which it became known. */
  at: number;
}

/** What is known of the delivery of one message. Plain data, so that a store can hold it as JSON. */
export interface DeliveryState {
  /** The status that was emitted last. */
  last?: StatusRecord | undefined;
  /** Statuses that were emitted and were not final. */
  seenStatuses?: readonly string[] | undefined;
  /** A final status was taken back already; that happens once. */
  corrected?: boolean | undefined;
}

/** What follows from a report. */
export type Transition =
  /** It is news: `state` is the new state, and `state.last` is to be emitted. */
  | { kind: 'news'; state: DeliveryState & { last: StatusRecord } }
  /** It contradicts the final status that is known; only the gateway can say which of them holds. */
  | { kind: 'needsConfirmation' }
  /** It is a repetition, or a step back. */
  | { kind: 'duplicate' };

const NEEDS_CONFIRMATION: Transition = { kind: 'needsConfirmation' };
const DUPLICATE: Transition = { kind: 'duplicate' };

/** The final status of a message, once it has one. */
export const finalOf = ({ last }: DeliveryState): StatusRecord | undefined =>
  last && isFinal(last.status) ? last : undefined;

/**
 * The status model: a message only moves forward, each status is emitted once, there is one final status and at most one
 * correction of it, which the gateway has confirmed.
 */
export function applyReport(
  state: DeliveryState,
  { status, gatewayStatus, parts, errorCode }: Omit<DeliveryReport, 'uid'>,
  source: 'callback' | 'poll',
  confirmed: boolean,
  at = Date.now(),
): Transition {
  const final = finalOf(state);
  const ends = isFinal(status);
  // Field by field: a status answer holds the number and the text as well, and they stay out of what is kept.
  const last: StatusRecord = { status, gatewayStatus, source, confirmed, at };
  if (parts !== undefined) last.parts = parts;
  if (errorCode !== undefined) last.errorCode = errorCode;
  if (final && ends && status !== final.status && !state.corrected) {
    if (!confirmed) return NEEDS_CONFIRMATION;
    last.corrects = final.status;
    return { kind: 'news', state: { last, corrected: true } };
  }
  if (final) return DUPLICATE;
  if (ends) return { kind: 'news', state: { last } };
  const { seenStatuses = [] } = state;
  const name = nameOf({ status, gatewayStatus });
  if (seenStatuses.includes(name) || seenStatuses.length >= MAX_SEEN) return DUPLICATE;
  return { kind: 'news', state: { last, seenStatuses: [...seenStatuses, name] } };
}

/** The log line for a report that changes nothing. */
export const ignoredDuplicate = (
  uid: string,
  report: Omit<DeliveryReport, 'uid'>,
  source: StatusRecord['source'],
): string => redact(`Ignored duplicate status '${nameOf(report)}' (${source}) for ${uid}`);

/** Unknown statuses differ by the gateway's word. */
const nameOf = ({ status, gatewayStatus }: Pick<DeliveryReport, 'status' | 'gatewayStatus'>): string =>
  status === 'unknown' ? `unknown:${gatewayStatus}` : status;

/** The event of a status. */
export function statusEvent(
  account: string,
  uid: string,
  ref: string | undefined,
  { at, ...record }: StatusRecord,
): RtSmsStatusEvent {
  return new RtSmsStatusEvent({
    account,
    uid,
    ref,
    ...record,
    final: isFinal(record.status),
    receivedAt: new Date(at),
  });
}
