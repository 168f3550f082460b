import { isUtf8 } from 'node:buffer';
import { httpStatusOf, type JsonObject } from '../protocol.js';
import type { VerifyAnswer, VerifyRequest } from './request.js';
import type { Row, Values } from './rows.js';
import { isKnownWord, maskNumber, type Secrets } from './secrets.js';

const CREDENTIALS = {
  right: 'Basic with login and password',
  'wrong password': 'Basic with a wrong password',
  'wrong login': 'Basic with a wrong login',
  none: 'no Authorization',
};
/** Numbers from here on are not shown: they could be a phone number. */
const MAX_SHOWN_NUMBER = 999;
const MAX_KEYS = 12;

/** What was sent, without credentials, text and full number. */
export function describeRequest(row: Row, { method, url }: VerifyRequest, values: Values): string {
  const { body } = row;
  // The uid is a string of the gateway.
  const path = row.uid === 'sent' ? url.pathname.replace(/[^/]*$/, 'message-id-…') : url.pathname;
  const parts = [`${method} ${path}`, CREDENTIALS[row.credentials]];
  if (Buffer.isBuffer(body)) parts.push(`a body of ${body.length} bytes`);
  else if (body) parts.push(JSON.stringify(body(values), (key, value) => masked(key, value as unknown, values)));
  return parts.join(', ');
}

function masked(key: string, value: unknown, { number }: Values): unknown {
  if (key === 'msisdn' && number !== '' && String(value).endsWith(number.slice(1))) return maskNumber(String(value));
  return ['login', 'pass', 'text'].includes(key) && value ? '…' : value;
}

/** What the document says about the answer. */
export function describeExpected({ expected }: Row): string {
  if (expected === 'refused') return 'the request is refused';
  if (expected === 'accepted') return '200, {"result":{"uid":"message-id-{ID}"},"status":"ok"}';
  if (expected === 'described') return '200, {"result":{…},"status":"ok"} with the fields of §2.2.2';
  return `${httpStatusOf(expected[0]!)}, {"reason":"${expected.join('" or "')}","status":"error"}`;
}

/** What came, in words and shapes: values only if they are words of the document or harmless. */
export function describeAnswer({ status, headers, body }: VerifyAnswer, secrets: Secrets): string {
  const type = (headers['content-type'] ?? 'no Content-Type').toLowerCase();
  const isPlain = /^[a-z]+\/[a-z0-9.+-]+(?:; ?charset=[a-z0-9-]+)?$|^no /.test(type);
  const words = type.split(/[/;= ]+/).every((word) => word === 'utf-8' || secrets.shown(word) !== undefined);
  return [status, isPlain && words ? type : 'another Content-Type', describeBody(body, secrets)].join(', ');
}

function describeBody(body: Buffer, secrets: Secrets): string {
  if (body.length === 0) return 'an empty body';
  if (isUtf8(body)) {
    try {
      return shape(JSON.parse(body.toString()), secrets);
    } catch {
      // Not JSON.
    }
  }
  return `a body of ${body.length} bytes that is not JSON`;
}

function shape(value: unknown, secrets: Secrets, depth = 0): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Math.abs(value) <= MAX_SHOWN_NUMBER ? String(value) : 'number';
  if (typeof value === 'string')
    return (isKnownWord(value) ? JSON.stringify(value) : undefined) ?? shownString(value, secrets);
  if (Array.isArray(value)) return value.length === 0 ? '[]' : '[…]';
  if (depth > 1) return '{…}';
  const entries = Object.entries(value as JsonObject).map(
    ([key, entry]) => `${JSON.stringify(secrets.shown(key) ?? '…')}:${shape(entry, secrets, depth + 1)}`,
  );
  return `{${[...entries.slice(0, MAX_KEYS), ...(entries.length > MAX_KEYS ? ['…'] : [])].join(',')}}`;
}

function shownString(value: string, secrets: Secrets): string {
  return JSON.stringify(value === '' ? '' : (secrets.shown(value) ?? '…'));
}
