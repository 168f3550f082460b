import { isUtf8 } from 'node:buffer';
import { httpStatusOf, type JsonObject, readBody, STATUSES } from '../protocol.js';
import type { VerifyAnswer } from './request.js';
import type { Row } from './rows.js';
import { isKnownWord, type Secrets } from './secrets.js';

/** The parts of a run that the check of one answer needs. */
export interface CheckContext {
  readonly secrets: Secrets;
  /** `--shortcode` was given. */
  readonly hasShortcode: boolean;
  readonly number: string;
  readonly text: string;
  /** Uid in the path of a status request. */
  readonly uid: string | undefined;
  /** Uids of earlier answers. */
  readonly uids: ReadonlySet<string>;
  /** Time of the answer. */
  readonly now: Date;
}

const MAX_CLOCK_DIFFERENCE_S = 600;

/** The differences between an answer and the document, an empty list if there are none. */
export function checkAnswer(row: Row, answer: VerifyAnswer, context: CheckContext): string[] {
  if (row.expected === 'refused') return isRefusal(answer) ? [] : ['the request was not refused'];
  const status = typeof row.expected === 'string' ? 200 : httpStatusOf(row.expected[0]!);
  const head = [
    ...(answer.status === status ? [] : [`HTTP status ${answer.status}, not ${status}`]),
    ...checkHeaders(answer, context.secrets),
  ];
  if (!isUtf8(answer.body)) return [...head, 'the body is not UTF-8'];
  const body = readBody(answer.body.toString());
  if (!body) return [...head, 'the body is not a JSON object'];
  return [...head, ...checkBody(row, body, context)];
}

/** The uid in the answer to a send, if it can be read. */
export function uidIn(answer: VerifyAnswer): string | undefined {
  const result = readBody(answer.body.toString())?.['result'];
  const uid = isObject(result) ? result['uid'] : undefined;
  return isUid(uid) ? uid : undefined;
}

/** The document has no answer to a wrong method, so an HTTP error is as good as an error of §1.6. */
function isRefusal({ status, body }: VerifyAnswer): boolean {
  return status >= 400 || (status === 200 && readBody(body.toString())?.['status'] === 'error');
}

function checkHeaders({ headers }: VerifyAnswer, secrets: Secrets): string[] {
  const [type = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';');
  const charset = /charset=["']?([^"';\s]*)/.exec(parameters.join(';'))?.[1];
  const encoding = headers['content-encoding'] ?? 'identity';
  return [
    type.trim() === 'application/json' ? [] : `Content-Type is not application/json`,
    charset === undefined || charset === 'utf-8' ? [] : `charset ${secrets.shown(charset) ?? '…'}, not utf-8`,
    encoding === 'identity' ? [] : `Content-Encoding ${secrets.shown(encoding) ?? '…'}, which was not requested`,
    headers['x-request-id'] ? [] : 'x-request-id is missing',
  ].flat();
}

function checkBody({ expected, withoutShortcode = [] }: Row, body: JsonObject, context: CheckContext): string[] {
  if (expected === 'accepted') return [...checkStatus(body, 'ok', context), ...checkAccepted(body, context)];
  if (expected === 'described') return [...checkStatus(body, 'ok', context), ...checkDescription(body, context)];
  const right: readonly string[] = [...expected, ...(context.hasShortcode ? [] : withoutShortcode)];
  const { reason } = body;
  const isRight = typeof reason === 'string' && right.includes(reason);
  return [
    ...checkStatus(body, 'error', context),
    ...(isRight ? [] : [`reason ${shown(reason, context)}, not ${right.join(' or ')}`]),
  ];
}

function checkStatus({ status }: JsonObject, right: string, context: CheckContext): string[] {
  return status === right ? [] : [`status ${shown(status, context)}, not ${right}`];
}

function checkAccepted({ result }: JsonObject, { uids }: CheckContext): string[] {
  if (!isObject(result)) return ['result is not an object'];
  const { uid } = result;
  if (!isUid(uid)) return ['result.uid is not message-id-{ID}'];
  return uids.has(uid) ? ['result.uid is that of another message'] : [];
}

function checkDescription({ result, error_code: outerCode }: JsonObject, context: CheckContext): string[] {
  if (!isObject(result)) return ['result is not an object'];
  const { uid, msisdn, text, status, pdu_count: parts, error_code: code } = result;
  const [createdAt, updatedAt] = [result['created_at'], result['updated_at']];
  const seconds = context.now.getTime() / 1000;
  const isTime = (value: unknown) =>
    Number.isInteger(value) && Math.abs(Number(value) - seconds) < MAX_CLOCK_DIFFERENCE_S;
  const time = `Unix time in seconds, within ${MAX_CLOCK_DIFFERENCE_S / 60} minutes of the clock of this machine`;
  const isParts = parts === undefined || parts === null || (Number.isInteger(parts) && Number(parts) > 0);
  const hasCode = code !== undefined || outerCode !== undefined;
  return [
    uid === context.uid ? [] : 'result.uid is not the uid of the request',
    (typeof msisdn === 'number' || typeof msisdn === 'string') && String(msisdn) === context.number
      ? []
      : 'result.msisdn is not the number of the message',
    text === context.text ? [] : 'result.text is not the text of the message',
    isTime(createdAt) ? [] : `result.created_at is not ${time}`,
    isTime(updatedAt) ? [] : `result.updated_at is not ${time}`,
    isTime(createdAt) && Number(updatedAt) < Number(createdAt) ? 'result.updated_at is before result.created_at' : [],
    isParts ? [] : 'result.pdu_count is not a number of parts, null or missing',
    (STATUSES as readonly unknown[]).includes(status)
      ? []
      : `result.status ${shown(status, context)}, not ${STATUSES.join(' or ')}`,
    hasCode && status !== 'rejected' ? 'error_code is there, although the status is not rejected' : [],
  ].flat();
}

/** A value of the gateway as a report may show it. */
function shown(value: unknown, { secrets }: CheckContext): string {
  if (value === undefined) return 'is missing';
  return (isKnownWord(value) ? value : secrets.shown(value)) ?? 'unrecognised';
}

function isUid(value: unknown): value is string {
  return typeof value === 'string' && /^message-id-[^/\s]+$/.test(value);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
