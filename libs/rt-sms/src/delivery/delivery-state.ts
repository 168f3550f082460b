import { RtSmsStatusEvent } from '../events/events.js';
import { redact } from '../redact.js';
import { isFinal, type DeliveryReport, type SmsStatus } from '../message/status.js';

/** Number of statuses without finality that are stored of one message. The provider's table has one; the rest are unknown words. */
const MAX_SEEN_STATUSES = 16;

/** One status of a message and how it was received. Plain data, so that a store can hold it as JSON. */
export interface StatusRecord extends Omit<DeliveryReport, 'uid'> {
  /** Trigger of the report: a callback, or a scheduled poll. */
  source: 'callback' | 'poll';
  /** True if the gateway returned it in answer to a request. */
  confirmed: boolean;
  /** The earlier final status that this one replaces. */
  corrects?: SmsStatus;
  /** Unix time in milliseconds at which it was received. */
  at: number;
}

/** Delivery state of one message. Plain data, so that a store can hold it as JSON. */
export interface DeliveryState {
  /** The status that was emitted last. */
  last?: StatusRecord | undefined;
  /** Emitted statuses that were not final. */
  seenStatuses?: readonly string[] | undefined;
  /** True once a final status has been replaced. That happens once. */
  corrected?: boolean | undefined;
}

/** Effect of a report on the state. */
export type Transition =
  /** `state` is the new state, and `state.last` has to be emitted. */
  | { kind: 'changed'; state: DeliveryState & { last: StatusRecord } }
  /** The report contradicts the final status. Only the gateway can decide, by the answer to a request. */
  | { kind: 'needsConfirmation' }
  /** The report is a repetition or a step back. */
  | { kind: 'duplicate' };

const NEEDS_CONFIRMATION: Transition = { kind: 'needsConfirmation' };
const DUPLICATE: Transition = { kind: 'duplicate' };

/** The final status of a message, if it has one. */
export const finalOf = ({ last }: DeliveryState): StatusRecord | undefined =>
  last && isFinal(last.status) ? last : undefined;

/**
 * The status model: a message only moves forward, each status is emitted once, and there is one final status with at most
 * one correction, which the gateway has confirmed.
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
  // Copied field by field: the answer to a status request also holds number and text, which must not be stored.
  const last: StatusRecord = { status, gatewayStatus, source, confirmed, at };
  if (parts !== undefined) last.parts = parts;
  if (errorCode !== undefined) last.errorCode = errorCode;
  if (final && ends && status !== final.status && !state.corrected) {
    if (!confirmed) return NEEDS_CONFIRMATION;
    last.corrects = final.status;
    return { kind: 'changed', state: { last, corrected: true } };
  }
  if (final) return DUPLICATE;
  if (ends) return { kind: 'changed', state: { last } };
  const { seenStatuses = [] } = state;
  const name = nameOf({ status, gatewayStatus });
  if (seenStatuses.includes(name) || seenStatuses.length >= MAX_SEEN_STATUSES) return DUPLICATE;
  return { kind: 'changed', state: { last, seenStatuses: [...seenStatuses, name] } };
}

/** Log line for a report that changes nothing. */
export const ignoredDuplicate = (
  uid: string,
  report: Omit<DeliveryReport, 'uid'>,
  source: StatusRecord['source'],
): string => redact(`Ignored duplicate status '${nameOf(report)}' (${source}) for ${uid}`);

/** Log line for a message that is no longer polled: the gateway does not find it, or it is older than `maxAgeMs`. */
export const gaveUp = (uid: string, why: 'not-found' | number): string =>
  redact(
    why === 'not-found'
      ? `Giving up on ${uid}: the gateway does not find it (transaction_not_found)`
      : `Giving up on ${uid}: no final status within ${why} ms (tracking.maxAgeMs)`,
  );

/** Unknown statuses are told apart by the gateway's word. */
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
