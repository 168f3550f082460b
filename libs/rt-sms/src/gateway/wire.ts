// The provider's field names, and how its answers are read. No other file knows them.
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

/** What a POST carries (§2.1.1), credentials aside. */
export const sendBody = (message: { msisdn: string; shortcode: string; text: string }): Record<string, string> => ({
  msisdn: message.msisdn,
  shortcode: message.shortcode,
  text: message.text,
});

/** The credentials as a POST's body carries them (§2.1.1). */
export const bodyCredentials = (login: string, password: string) => ({ login, pass: password });

/** The answer to a status request (§2.2.2). Whatever is missing or odd beyond uid and status is left out. */
export interface SmsStatusReport extends DeliveryReport {
  /** Nothing more is expected. */
  final: boolean;
  /** The recipient, digits only. */
  msisdn?: string;
  /** As the gateway has it. */
  text?: string;
  /** When the gateway took it. */
  createdAt?: Date;
  /** When its status last changed. */
  updatedAt?: Date;
  /** The gateway's `x-request-id`. */
  requestId?: string;
}

/** One answer of the gateway, whole. */
export interface GatewayAnswer {
  status: number;
  /** Text, or what an interceptor or a stand-in of a test has parsed already. */
  data: unknown;
  headers?: Record<string, unknown>;
}

/** What its support asks for; nothing where it may repeat one of the values that are `confidential`. */
export function readRequestId({ headers }: GatewayAnswer, confidential: readonly string[] = []): string | undefined {
  const id = headers?.['x-request-id'];
  return typeof id === 'string' ? safeId(id, confidential) : undefined;
}

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;

/** The object that a JSON text holds, or that has been parsed already; nothing if it is none. */
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
 * The `result` of an answer that says `status: ok`, or the error that it stands for (§1.5, §1.6). The HTTP code alone
 * decides only for 401 and 403 ("not processed"). An acceptance is believed with any 2xx, a refusal only with 200: what
 * else answers so may not have been the gateway, and the message may be on its way.
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
  // A word of the table is what it is, even where it is part of the text.
  const reason = word === undefined || KNOWN_REASONS.has(word) ? word : safeReason(word, confidential);
  if (status === 401 || status === 403) return new RtSmsAuthError(reason, at);
  if (status !== 200) return new RtSmsUnexpectedResponseError(`HTTP ${status}`, at);
  if (reason !== undefined) {
    if (AUTH_REASONS.has(reason)) return new RtSmsAuthError(reason, at);
    return reason === 'transaction_not_found' ? new RtSmsNotFoundError(reason, at) : new RtSmsRejectedError(reason, at);
  }
  const what = envelope ? 'JSON that is neither a result nor an error' : 'a body that is no JSON object';
  return new RtSmsUnexpectedResponseError(`HTTP ${status} with ${what}`, at);
}

const isError = (value: Fields | RtSmsError): value is RtSmsError => value instanceof Error;

/** Reads the answer to a POST (§2.1.2): the uid, or the error. */
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

/** Reads the answer to a GET (§2.2.2) about `uid`: the report, or the error. */
export function readReport(
  answer: GatewayAnswer,
  uid: string,
  context: RtSmsErrorContext,
  confidential: readonly string[] = [],
): SmsStatusReport | RtSmsError {
  const result = readResult(answer, context, confidential);
  if (isError(result)) return result;
  const at = { ...context, httpStatus: answer.status };
  // The answer is bound to the question: a mix-up anywhere on the way must not settle another message.
  if (readUid(result['uid']) !== uid) return new RtSmsUnexpectedResponseError('it is about another uid', at);
  const msisdn = readMsisdn(result['msisdn']);
  const text = typeof result['text'] === 'string' ? result['text'] : undefined;
  // The answer says which message it is about: the rest of it must not repeat that.
  const known = [...confidential, ...[msisdn, text].filter((value) => value !== undefined)];
  const read = readStatus(result['status'], known);
  if (!read) return new RtSmsUnexpectedResponseError('it has no readable status', at);
  return defined({
    uid,
    ...read,
    final: isFinal(read.status),
    msisdn,
    text,
    parts: readParts(result['pdu_count']),
    errorCode: read.status === 'rejected' ? readErrorCode(result, answer, known) : undefined,
    createdAt: readUnixTime(result['created_at']),
    updatedAt: readUnixTime(result['updated_at']),
    requestId: context.requestId === undefined ? undefined : safeId(context.requestId, known),
  });
}

const asText = (value: unknown) => (typeof value === 'number' ? String(value) : value);

function readMsisdn(value: unknown): string | undefined {
  const text = asText(value);
  return typeof text === 'string' && /^\d{5,15}$/.test(text) ? text : undefined;
}

/** The document lists it after the outer status, as if it stood beside that. */
const readErrorCode = (result: Fields, { data }: GatewayAnswer, confidential: readonly string[]) => {
  const code = printable(asText(result['error_code'])) ?? printable(asText(readObject(data)?.['error_code']));
  return code === undefined ? undefined : safeWord(code, confidential);
};

/** The year 5138: what is beyond is not in seconds. */
const MAX_SECONDS = 1e11;

/** Unix time in seconds, as a number or a numeric string. */
function readUnixTime(value: unknown): Date | undefined {
  const seconds = typeof value === 'string' && /^\d{1,12}(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof seconds !== 'number' || !(seconds >= 1) || seconds > MAX_SECONDS) return undefined;
  return new Date(seconds * 1000);
}

/** What a callback says (§3.1.1). Without a readable status it is only a hint that something happened to `uid`. */
export type CallbackPayload = { uid: string; report?: DeliveryReport };

/**
 * Reads the query of a callback; nothing if not even the uid is readable. Repeated parameters are not believed, and words
 * that repeat one of the values that are `confidential` are not passed on.
 */
export function readCallback(query: unknown, confidential: readonly string[] = []): CallbackPayload | undefined {
  const given = fields(query) ?? {};
  const own = (name: string) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    // Where the bytes are no UTF-8 the platforms leave the escapes as they came.
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
