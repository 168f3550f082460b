// Field names of the provider, and the parsing of its answers. No other file contains them.
import {
  RT_SMS_REASONS,
  RtSmsAuthError,
  RtSmsNotFoundError,
  RtSmsRejectedError,
  RtSmsUnexpectedResponseError,
  type RtSmsError,
  type RtSmsErrorContext,
} from '../rt-sms.errors.js';
import { safeId, safeReason, safeWord } from '../confidential.js';
import { defined } from '../defined.js';
import { isFinal, printable, readParts, readStatus, readUid, type DeliveryReport } from '../message/status.js';

/** Body of a POST (§2.1.1), without the credentials. */
export const sendBody = (message: { msisdn: string; shortcode: string; text: string }): Record<string, string> => ({
  msisdn: message.msisdn,
  shortcode: message.shortcode,
  text: message.text,
});

/** Credentials in the body of a POST (§2.1.1). */
export const bodyCredentials = (login: string, password: string) => ({ login, pass: password });

/** Answer to a status request (§2.2.2). Only uid and status are required; other missing or invalid fields are absent. */
export interface SmsStatusReport extends DeliveryReport {
  /** True if no other status is expected. */
  final: boolean;
  /** Recipient, digits only. */
  msisdn?: string;
  /** Text as the gateway stores it. */
  text?: string;
  /** Time when the gateway accepted the message. */
  createdAt?: Date;
  /** Time of the last change of the status. */
  updatedAt?: Date;
  /** The gateway's `x-request-id`. */
  requestId?: string;
}

/** One complete answer of the gateway. */
export interface GatewayAnswer {
  /** HTTP status. */
  status: number;
  /** Body as text, or already parsed by an interceptor or a replacement in a test. */
  data: unknown;
  headers?: Record<string, unknown>;
}

/** Reads the request id, which the provider's support needs; `undefined` if it may repeat one of the `confidential` values. */
export function readRequestId({ headers }: GatewayAnswer, confidential: readonly string[] = []): string | undefined {
  const id = headers?.['x-request-id'];
  return typeof id === 'string' ? safeId(id, confidential) : undefined;
}

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;

/** Returns the object in a JSON text, or an already parsed object; `undefined` for anything else. */
export function readObject(data: unknown): Fields | undefined {
  if (typeof data !== 'string') return fields(data);
  try {
    return fields(JSON.parse(data.charCodeAt(0) === 0xfeff ? data.slice(1) : data));
  } catch {
    return undefined;
  }
}

const KNOWN_REASONS: ReadonlySet<string> = new Set(RT_SMS_REASONS);
const AUTH_REASONS: ReadonlySet<unknown> = new Set(['auth_required', 'wrong_ip', 'wrong_credentials']);

/**
 * Reads the `result` of an answer with `status: ok`, or the error (§1.5, §1.6). The HTTP code alone decides only for 401 and 403
 * ("not processed"). An acceptance is valid with any 2xx, a rejection only with 200, because another answer may not come from
 * the gateway, and the message may be on its way.
 */
function readResult(
  { status, data }: GatewayAnswer,
  context: RtSmsErrorContext,
  confidential: readonly string[],
): Fields | RtSmsError {
  const envelope = readObject(data);
  const result = fields(envelope?.['result']);
  if (status >= 200 && status <= 299 && envelope?.['status'] === 'ok' && result) return result;
  const at = { ...context, httpStatus: status };
  const word = envelope?.['status'] === 'error' ? printable(envelope['reason']) : undefined;
  // A reason of the table passes even if it is a part of the message's text.
  const reason = word === undefined || KNOWN_REASONS.has(word) ? word : safeReason(word, confidential);
  if (status === 401 || status === 403) return new RtSmsAuthError(reason, at);
  if (status !== 200) return new RtSmsUnexpectedResponseError(`HTTP ${status}`, at);
  if (reason !== undefined) {
    if (AUTH_REASONS.has(reason)) return new RtSmsAuthError(reason, at);
    return reason === 'transaction_not_found' ? new RtSmsNotFoundError(reason, at) : new RtSmsRejectedError(reason, at);
  }
  const what = envelope ? 'JSON without a result or an error' : 'a body that is not a JSON object';
  return new RtSmsUnexpectedResponseError(`HTTP ${status} with ${what}`, at);
}

const isError = (value: Fields | RtSmsError): value is RtSmsError => value instanceof Error;

/** Reads the answer to a POST (§2.1.2). Returns the uid or an error. */
export function readSent(
  answer: GatewayAnswer,
  context: RtSmsErrorContext,
  confidential: readonly string[] = [],
): string | RtSmsError {
  const result = readResult(answer, context, confidential);
  if (isError(result)) return result;
  const uid = readUid(result['uid']);
  if (uid !== undefined) return uid;
  const at = { ...context, httpStatus: answer.status };
  return new RtSmsUnexpectedResponseError(`HTTP ${answer.status} without a uid`, at);
}

/** Reads the answer to a GET (§2.2.2) about `uid`. Returns the report or an error. */
export function readReport(
  answer: GatewayAnswer,
  uid: string,
  context: RtSmsErrorContext,
  confidential: readonly string[] = [],
): SmsStatusReport | RtSmsError {
  const result = readResult(answer, context, confidential);
  if (isError(result)) return result;
  const at = { ...context, httpStatus: answer.status };
  // The answer must contain the requested uid, so that a mix-up on the way cannot settle another message.
  if (readUid(result['uid']) !== uid) return new RtSmsUnexpectedResponseError('it contains another uid', at);
  const msisdn = readMsisdn(result['msisdn']);
  const text = typeof result['text'] === 'string' ? result['text'] : undefined;
  // The answer contains number and text of the message, and its other fields must not repeat them.
  const confidentialValues = [...confidential, ...[msisdn, text].filter((value) => value !== undefined)];
  const read = readStatus(result['status'], confidentialValues);
  if (!read) return new RtSmsUnexpectedResponseError('it has no readable status', at);
  return defined({
    uid,
    ...read,
    final: isFinal(read.status),
    msisdn,
    text,
    parts: readParts(result['pdu_count']),
    errorCode: read.status === 'rejected' ? readErrorCode(result, answer, confidentialValues) : undefined,
    createdAt: readUnixTime(result['created_at']),
    updatedAt: readUnixTime(result['updated_at']),
    requestId: context.requestId === undefined ? undefined : safeId(context.requestId, confidentialValues),
  });
}

const asText = (value: unknown) => (typeof value === 'number' ? String(value) : value);

function readMsisdn(value: unknown): string | undefined {
  const text = asText(value);
  return typeof text === 'string' && /^\d{5,15}$/.test(text) ? text : undefined;
}

/** Reads the error code from the result or next to the outer status, because the document lists it after that status. */
const readErrorCode = (result: Fields, { data }: GatewayAnswer, confidential: readonly string[]) => {
  const code = printable(asText(result['error_code'])) ?? printable(asText(readObject(data)?.['error_code']));
  return code === undefined ? undefined : safeWord(code, confidential);
};

/** Maximum Unix time (the year 5138). A greater value is not in seconds. */
const MAX_SECONDS = 1e11;

/** Reads a Unix time in seconds, as a number or a numeric string. */
function readUnixTime(value: unknown): Date | undefined {
  const seconds = typeof value === 'string' && /^\d{1,12}(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof seconds !== 'number' || !(seconds >= 1) || seconds > MAX_SECONDS) return undefined;
  return new Date(seconds * 1000);
}

/** Content of a callback (§3.1.1). Without a readable status it is only a hint that the status of `uid` may have changed. */
export type CallbackPayload = { uid: string; report?: DeliveryReport };

/**
 * Reads the query of a callback; `undefined` without a readable uid. Repeated parameters are ignored, and words that repeat one
 * of the `confidential` values are replaced.
 */
export function readCallback(query: unknown, confidential: readonly string[] = []): CallbackPayload | undefined {
  const params = fields(query) ?? {};
  const own = (name: string) => {
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    // Platforms leave escapes unchanged if their bytes are not UTF-8.
    return typeof value === 'string' && value.includes('%') ? undefined : value;
  };
  const uid = readUid(own('id'));
  if (uid === undefined) return undefined;
  const read = readStatus(own('status'), confidential);
  if (!read) return { uid };
  const code = read.status === 'rejected' ? printable(own('err')) : undefined;
  const errorCode = code === undefined ? undefined : safeWord(code, confidential);
  return { uid, report: defined({ uid, ...read, parts: readParts(own('parts')), errorCode }) };
}
