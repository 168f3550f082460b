import type { DeliveryReport, SmsStatus } from 'nestjs-rt-sms';
import { SMS_STATUSES } from 'nestjs-rt-sms';
import { finalOf, type DeliveryState } from 'nestjs-rt-sms/engine';

/** A status and how it was received. */
export interface StatusNote {
  /** Unix time in milliseconds at which it was received. */
  at: number;
  report: Omit<DeliveryReport, 'uid'>;
  source: 'callback' | 'poll';
  confirmed: boolean;
}

/** Facts about a sent message. */
export interface Sent {
  /** Unix time of the send in milliseconds. */
  at: number;
  ref: string | undefined;
  /** Send job of a queued message. */
  sendJobId?: string;
}

/** An overdue message. */
export interface OverdueNote {
  /** `overdueAfterMs` of the message. */
  afterMs: number;
  /** Send job of a queued message. */
  sendJobId?: string | undefined;
}

/**
 * One entry in the inbox of a check job, which is the log of the job. Any replica appends entries, and the worker that holds
 * the job reads them.
 */
export type InboxEntry = StatusNote | { at: number; sent: Sent } | { at: number; overdue: OverdueNote };

/** An overdue message whose event is to be announced. */
export interface Overdue extends OverdueNote {
  /** Unix time in milliseconds at which it was noted. */
  at: number;
  /** Present once a handler has failed, because the event must stay the same. */
  event?: { lastStatus?: SmsStatus | undefined };
}

/** Record of one uid: the data of its check job. Only the worker that holds the job writes it. */
export interface CheckData {
  /** The reference of the message as JSON, in which any string can be stored. */
  ref?: string | undefined;
  sentAt: number;
  /** Time of the next scheduled poll. A callback runs the job earlier. */
  dueAt: number;
  /** Number of scheduled polls so far. */
  step?: number;
  polledAt?: number;
  missingSince?: number | undefined;
  /** Number of inbox entries that have been applied. */
  inboxRead?: number;
  delivery?: DeliveryState;
  /** True once polling has ended without a final status. */
  closed?: boolean;
  /** Number of failed calls of the event handlers. */
  failures?: number;
  /** True until `accepted` has been announced. Statuses wait for it. */
  awaitingAccept?: boolean;
  /** Send job of the message while `awaitingAccept` is true. */
  sendJobId?: string;
  /** Present while `rt-sms.overdue` is to be announced. */
  overdue?: Overdue;
  /** True once `rt-sms.overdue` has been announced. */
  overdueAnnounced?: boolean;
}

/** Data of a job for a callback with an unknown uid. Without `note` the gateway is to be polled. */
export interface UnknownData {
  uid: string;
  /** Unix time in milliseconds at which the callback was received. */
  at: number;
  note?: StatusNote;
  /** Number of failed calls of the event handlers. */
  failures?: number;
}

export const isSettled = ({ delivery }: CheckData): boolean =>
  delivery !== undefined && finalOf(delivery) !== undefined;

/** Reads a stored reference. `undefined` if there is none, or another one than the engine writes. */
export function readRef({ ref }: { ref?: unknown }): string | undefined {
  try {
    const value: unknown = typeof ref === 'string' ? JSON.parse(ref) : undefined;
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The storable part of a report. The answer to a status request also holds number and text, which must not be stored. */
export const pickReport = ({
  status,
  gatewayStatus,
  parts,
  errorCode,
}: Omit<DeliveryReport, 'uid'>): StatusNote['report'] => ({
  status,
  gatewayStatus,
  ...(parts === undefined ? {} : { parts }),
  ...(errorCode === undefined ? {} : { errorCode }),
});

/** Reads an entry of an inbox. `undefined` if the engine cannot have written it, because the store is not trusted. */
export function readEntry(row: string): InboxEntry | undefined {
  try {
    const entry = JSON.parse(row) as Partial<StatusNote> & { sent?: Partial<Sent>; overdue?: Partial<OverdueNote> };
    const { report, sent, overdue } = entry;
    if (overdue) return isOverdue({ ...overdue, at: entry.at }) ? (entry as InboxEntry) : undefined;
    const isEntry = sent
      ? isTime(sent.at) && isOptionalString(sent.ref) && isOptionalString(sent.sendJobId)
      : isTime(entry.at) && SMS_STATUSES.includes(report!.status) && typeof report!.gatewayStatus === 'string';
    return isEntry ? (entry as InboxEntry) : undefined;
  } catch {
    return undefined;
  }
}

/** True if the engine can have written these data. */
export const isCheckData = ({ sentAt, dueAt, ref, overdue }: CheckData): boolean =>
  isTime(sentAt) && isTime(dueAt) && isOptionalString(ref) && (overdue === undefined || isOverdue(overdue));

const isOverdue = ({ at, afterMs, sendJobId, event }: { [K in keyof Overdue]?: Overdue[K] | undefined }): boolean =>
  isTime(at) && isTime(afterMs) && isOptionalString(sendJobId) && isOptionalStatus(event?.lastStatus);

const isTime = (value: unknown): boolean => Number.isFinite(value);
export const isOptionalString = (value: unknown): boolean => value === undefined || typeof value === 'string';
export const isOptionalStatus = (value: SmsStatus | undefined): boolean =>
  value === undefined || SMS_STATUSES.includes(value);
