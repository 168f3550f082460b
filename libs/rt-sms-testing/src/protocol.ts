/**
 * The rules of the provider's document, independent of HTTP serving: paths, values, formats, checks. Pure functions.
 */
import { STATUS_CODES } from 'node:http';

/** The only path of the API (§1.3); status requests go to `/{uid}` below it (§2.2.1). */
export const SEND_PATH = '/api/v2/send_message';

/** The values of `reason`, in the order of §1.6.1. */
export const REASONS = [
  'invalid_request_body',
  'invalid_field_msisdn',
  'invalid_field_shortcode',
  'invalid_source_address',
  'invalid_field_text',
  'system_error',
  'transaction_not_found',
  'auth_required',
  'wrong_ip',
  'wrong_credentials',
] as const;
/** Reason for which the gateway rejects a request (§1.6.1). */
export type Reason = (typeof REASONS)[number];

/** The statuses of a message (§2.2.2, §3.1.1). */
export const STATUSES = ['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected'] as const;
/** A status of the provider's document. */
export type SmsStatus = (typeof STATUSES)[number];

/** Place of valid credentials in a request (§1.2, §2.1.1). */
export type CredentialsPlace = 'header' | 'body' | 'both';

/** An answer of the gateway; `type` is its Content-Type. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface Credentials {
  readonly login: string;
  readonly password: string;
}

/** The three checked fields of a send. */
export interface Sms {
  /** Digits only. */
  readonly msisdn: string;
  readonly shortcode: string;
  readonly text: string;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const HTTP_STATUS: { readonly [R in Reason]?: number } = { auth_required: 401, wrong_ip: 403, wrong_credentials: 403 };

/** Keys are in alphabetical order without blanks: only this form has the Content-Lengths that the document shows (58, 47). */
export function accepted(uid: string): Answer {
  return { status: 200, type: JSON_TYPE, body: `{"result":{"uid":"${uid}"},"status":"ok"}` };
}

/** The HTTP status that §1.6.1 gives for a reason. */
export function httpStatusOf(reason: Reason): number {
  return HTTP_STATUS[reason] ?? 200;
}

/** A rejection (§1.6) with the HTTP status of its reason. */
export function refused(reason: Reason): Answer {
  return { status: httpStatusOf(reason), type: JSON_TYPE, body: `{"reason":"${reason}","status":"error"}` };
}

/** A status answer (§2.2.2) with the types of its example: Unix seconds, a numeric msisdn, `pdu_count` null while unknown. */
export function described(
  message: {
    readonly uid: string;
    readonly msisdn: string;
    readonly text: string;
    readonly status: string;
    readonly parts: number | undefined;
    readonly err: string | undefined;
    readonly createdAt: Date;
    readonly updatedAt: Date;
  },
  errorCodeIn: 'result' | 'envelope',
): Answer {
  const code = message.status === 'rejected' && message.err !== undefined ? { error_code: message.err } : {};
  const body = {
    ...(errorCodeIn === 'envelope' && code),
    result: {
      created_at: unixSeconds(message.createdAt),
      ...(errorCodeIn === 'result' && code),
      msisdn: Number(message.msisdn),
      pdu_count: message.parts ?? null,
      // The table lacks a status for "accepted, but not yet at the operator"; this is its only status that is not final.
      status: message.status === 'accepted' ? 'awaiting_report' : message.status,
      text: message.text,
      uid: message.uid,
      updated_at: unixSeconds(message.updatedAt),
    },
    status: 'ok',
  };
  return { status: 200, type: JSON_TYPE, body: JSON.stringify(body) };
}

/** The default page of nginx for a status, as in the "abnormal situations" of §1.5. */
export function nginxPage(status: number): Answer {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim();
  return {
    status,
    type: 'text/html',
    body:
      `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n` +
      '<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n',
  };
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** The JSON object in a request's body, `undefined` if there is none. */
export function readBody(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks credentials in the header (§1.2) and, for a POST, in the body (§2.1.1). One valid pair is enough, even if the
 * other place holds a wrong one; half a pair, or a header that is not Basic auth, counts as missing.
 */
export function checkCredentials(
  expected: Credentials & { readonly basic: string },
  header: string | undefined,
  body: JsonObject | undefined,
): { readonly place: CredentialsPlace } | { readonly reason: 'auth_required' | 'wrong_credentials' } {
  const inHeader = header === expected.basic ? expected : fromHeader(header);
  const inBody = fromBody(body);
  const headerMatches = inHeader !== undefined && matches(inHeader, expected);
  const bodyMatches = inBody !== undefined && matches(inBody, expected);
  if (headerMatches) return { place: bodyMatches ? 'both' : 'header' };
  if (bodyMatches) return { place: 'body' };
  return { reason: inHeader || inBody ? 'wrong_credentials' : 'auth_required' };
}

/**
 * Reads the fields of §2.1.1 in the order of its table. The msisdn may be a number (§1.4) or a string (§2.1.1) of
 * digits; `shortcodes` are the agreed sender names, `undefined` allows any name.
 */
export function readSms(body: JsonObject, shortcodes: ReadonlySet<string> | undefined): Sms | Reason {
  const { shortcode, text } = body;
  const msisdn = Number.isSafeInteger(body['msisdn']) ? String(body['msisdn']) : body['msisdn'];
  if (typeof msisdn !== 'string' || !isMsisdn(msisdn)) return 'invalid_field_msisdn';
  if (typeof shortcode !== 'string' || shortcode.trim() === '') return 'invalid_field_shortcode';
  if (shortcodes && !shortcodes.has(shortcode)) return 'invalid_field_shortcode';
  if (typeof text !== 'string' || text === '') return 'invalid_field_text';
  return { msisdn, shortcode, text };
}

/** Checks the format of a uid (§2.1.2). The document shows ids of 7 to 12 characters. */
export function isUid(value: string): boolean {
  return /^message-id-[A-Za-z0-9]{1,64}$/.test(value);
}

/**
 * Digits only, Russian numbers with 7 (§2.1.1): 7 and ten digits, never the 8 of the domestic form (the country code 89
 * does not exist); for other countries any possible international number.
 */
function isMsisdn(digits: string): boolean {
  return /^(?:7\d{10}|(?!7|89\d{9}$)[1-9]\d{7,14})$/.test(digits);
}

function fromHeader(header: string | undefined): Credentials | undefined {
  const encoded = header === undefined ? undefined : /^basic +(\S+) *$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const pair = Buffer.from(encoded, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : { login: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

function fromBody(body: JsonObject | undefined): Credentials | undefined {
  const { login, pass } = body ?? {};
  return typeof login === 'string' && typeof pass === 'string' ? { login, password: pass } : undefined;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function matches(input: Credentials, expected: Credentials): boolean {
  return input.login === expected.login && input.password === expected.password;
}

function unixSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
