/**
 * What the provider's document says, and nothing of how it is served: paths, words, shapes, checks. Pure functions.
 */
import { STATUS_CODES } from 'node:http';

/** The one path of the API (§1.3); a status is asked for under it, at `/{uid}` (§2.2.1). */
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
/** A reason for which the gateway refuses (§1.6.1). */
export type Reason = (typeof REASONS)[number];

/** The statuses of a message (§2.2.2, §3.1.1). */
export const STATUSES = ['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected'] as const;
/** A status of the provider's document. */
export type SmsStatus = (typeof STATUSES)[number];

/** Where valid credentials were found in a request (§1.2, §2.1.1). */
export type CredentialsPlace = 'header' | 'body' | 'both';

/** A finished answer; `type` is its Content-Type. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface Credentials {
  readonly login: string;
  readonly password: string;
}

/** The three fields of a send, checked. */
export interface Sms {
  /** Digits only. */
  readonly msisdn: string;
  readonly shortcode: string;
  readonly text: string;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const HTTP_STATUS: { readonly [R in Reason]?: number } = { auth_required: 401, wrong_ip: 403, wrong_credentials: 403 };

/** Keys stand in alphabetical order with no blanks: only so do the document's own Content-Lengths (58, 47) come out. */
export function accepted(uid: string): Answer {
  return { status: 200, type: JSON_TYPE, body: `{"result":{"uid":"${uid}"},"status":"ok"}` };
}

/** §1.6: a refusal with the HTTP status that §1.6.1 gives to its reason. */
export function refused(reason: Reason): Answer {
  return { status: HTTP_STATUS[reason] ?? 200, type: JSON_TYPE, body: `{"reason":"${reason}","status":"error"}` };
}

/** §2.2.2, with the types of its example: times in unix seconds, the msisdn a number, `pdu_count` null while unknown. */
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
      // The table has no word for "taken, but not yet at the operator"; this is its only status that is not final.
      status: message.status === 'accepted' ? 'awaiting_report' : message.status,
      text: message.text,
      uid: message.uid,
      updated_at: unixSeconds(message.updatedAt),
    },
    status: 'ok',
  };
  return { status: 200, type: JSON_TYPE, body: JSON.stringify(body) };
}

/** The page that nginx itself gives for a status, as in the "abnormal situations" of §1.5. */
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

/** The JSON object in a request's body, `undefined` where there is none. */
export function readBody(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks credentials in the header (§1.2) and, for a POST, in the body (§2.1.1). One valid pair is enough, a wrong one
 * beside it does no harm; half a pair, or a header that is no Basic auth, counts as none.
 */
export function judgeCredentials(
  expected: Credentials & { readonly basic: string },
  header: string | undefined,
  body: JsonObject | undefined,
): { readonly place: CredentialsPlace } | { readonly reason: 'auth_required' | 'wrong_credentials' } {
  const inHeader = header === expected.basic ? expected : fromHeader(header);
  const inBody = fromBody(body);
  const headerFits = inHeader !== undefined && fits(inHeader, expected);
  const bodyFits = inBody !== undefined && fits(inBody, expected);
  if (headerFits) return { place: bodyFits ? 'both' : 'header' };
  if (bodyFits) return { place: 'body' };
  return { reason: inHeader || inBody ? 'wrong_credentials' : 'auth_required' };
}

/**
 * Reads the fields of §2.1.1 in the order of its table. The msisdn may be a number (§1.4) or a string (§2.1.1) of
 * digits; `shortcodes` are the agreed sender names, any name without it.
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

/** §2.1.2: the mask of a uid. The document shows IDs of 7 to 12 characters. */
export function isUid(value: string): boolean {
  return /^message-id-[A-Za-z0-9]{1,64}$/.test(value);
}

/**
 * §2.1.1: digits only, Russian numbers with 7. So 7 and ten digits, never the 8 of the domestic form (no country has
 * the code 89); abroad any possible international number.
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

function fits(given: Credentials, expected: Credentials): boolean {
  return given.login === expected.login && given.password === expected.password;
}

function unixSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
