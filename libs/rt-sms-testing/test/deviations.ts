import { gzipSync } from 'node:zlib';
import type { Changed, Exchange } from './deviating-gateway.js';

export interface Deviation {
  readonly name: string;
  /** The rows that must find it, and no others. */
  readonly rows: readonly string[];
  /** The difference that each of them must report, where another one would find it too. */
  readonly finds?: string;
  readonly change: (exchange: Exchange) => Changed | undefined;
}

const OK = '{"result":{"uid":"message-id-VvkmLHkfhCX9"},"status":"ok"}';
const PAGE = { type: 'text/html', text: '<html><body>nginx</body></html>' };
const error = (reason: string, status: number): Changed => ({
  status,
  type: 'application/json; charset=utf-8',
  text: `{"reason":"${reason}","status":"error"}`,
});
const isSend = ({ method, path }: Exchange) => method === 'POST' && path.endsWith('send_message');
/** Replaces a part of the answer. */
const edit =
  (from: string | RegExp, to: string) =>
  ({ reply }: Exchange): Changed => ({ text: reply.text.replace(from, to) });
const where =
  (applies: (exchange: Exchange) => boolean, change: Changed | ((exchange: Exchange) => Changed)) =>
  (exchange: Exchange): Changed | undefined =>
    applies(exchange) ? (typeof change === 'function' ? change(exchange) : change) : undefined;
const reason = (name: string) => (exchange: Exchange) => exchange.reason === name;
const accepted = (exchange: Exchange) => exchange.accepted;
const described = (exchange: Exchange) => exchange.described;

const NOT_FOUND = ['status of an unknown uid', 'status of an unknown uid of digits'];
const NO_CREDENTIALS = ['status without credentials', 'send without credentials'];
const WRONG_STATUS = ['status with a wrong password', 'status with a wrong login'];
const WRONG_SEND = ['send with a wrong password', 'send with a wrong password in the body'];
const WRONG = [...WRONG_STATUS, ...WRONG_SEND];
const BODY = ['send of an empty body', 'send of a body that is not JSON'];
const NUMBER = ['send to letters', 'send to an empty number', 'send without a number'];
const FORMAT = ['send to a number with +', 'send to a number with 8 instead of 7'];
const NO_FIELD = ['send without any field', 'send of credentials in the body only'];
const SENDER = ['send with an empty sender name', 'send without a sender name'];
const TEXT = ['send of a text that is null', 'send of an empty text', 'send without a text'];
const ACCEPTED = ['send', 'send to a number that is a JSON number', 'send with the credentials in the body'];
const DESCRIBED = ['status of the message'];
const METHODS = ['GET at the address of a send', 'PUT at the address of a send', 'POST at the address of a status'];

/** Ways in which a gateway may differ from the document. */
export const DEVIATIONS: readonly Deviation[] = [
  // Codes and reasons of errors
  { name: '404 for an unknown uid', rows: NOT_FOUND, change: where(reason('transaction_not_found'), { status: 404 }) },
  {
    name: 'another reason for an unknown uid',
    rows: NOT_FOUND,
    change: where(reason('transaction_not_found'), error('message_not_found', 200)),
  },
  {
    name: 'an unknown uid is delivered',
    rows: NOT_FOUND,
    change: where(reason('transaction_not_found'), { text: '{"result":{"status":"delivered"},"status":"ok"}' }),
  },
  { name: '403 without credentials', rows: NO_CREDENTIALS, change: where(reason('auth_required'), { status: 403 }) },
  {
    name: 'a page of the proxy without credentials',
    finds: 'the body is not a JSON object',
    rows: NO_CREDENTIALS,
    change: where(reason('auth_required'), PAGE),
  },
  { name: '401 for wrong credentials', rows: WRONG, change: where(reason('wrong_credentials'), { status: 401 }) },
  { name: '200 for wrong credentials', rows: WRONG, change: where(reason('wrong_credentials'), { status: 200 }) },
  {
    name: 'wrong_ip for wrong credentials',
    rows: WRONG,
    change: where(reason('wrong_credentials'), error('wrong_ip', 403)),
  },
  {
    name: 'a status request needs no right password',
    rows: WRONG_STATUS,
    change: where(
      (one) => one.method === 'GET' && one.reason === 'wrong_credentials',
      error('transaction_not_found', 200),
    ),
  },
  {
    name: 'the body is checked before the credentials',
    rows: ['send without credentials', ...WRONG_SEND],
    change: where((one) => isSend(one) && one.reply.status > 400, error('invalid_request_body', 200)),
  },
  {
    name: '400 for a body that is not JSON',
    rows: [...BODY, 'send of a body that is not UTF-8', 'status of a malformed uid'],
    change: where(reason('invalid_request_body'), { status: 400 }),
  },
  {
    name: 'an empty body is a crash',
    rows: ['send of an empty body'],
    change: where((one) => isSend(one) && one.body === '', { ...PAGE, status: 500 }),
  },
  {
    name: 'bytes that are not UTF-8 are taken',
    rows: ['send of a body that is not UTF-8'],
    change: where((one) => one.body.includes('\ufffd'), { text: OK }),
  },
  {
    name: 'invalid_msisdn in place of invalid_field_msisdn',
    rows: [...NO_FIELD, ...NUMBER, ...FORMAT],
    change: where(reason('invalid_field_msisdn'), edit('_field', '')),
  },
  {
    name: 'a number with a plus is accepted',
    rows: ['send to a number with +'],
    change: where((one) => one.body.includes('"msisdn":"+'), { text: OK }),
  },
  {
    name: '8 in place of 7 is accepted',
    rows: ['send to a number with 8 instead of 7'],
    change: where((one) => one.body.includes('"msisdn":"8'), { text: OK }),
  },
  {
    name: '422 for a wrong sender name',
    rows: SENDER,
    change: where(reason('invalid_field_shortcode'), { status: 422 }),
  },
  { name: 'an empty text is accepted', rows: TEXT, change: where(reason('invalid_field_text'), { text: OK }) },
  {
    name: 'a text of null is another error',
    rows: ['send of a text that is null'],
    change: where((one) => one.body.includes('"text":null'), error('system_error', 200)),
  },
  // The form of errors
  {
    name: 'error in place of the key reason',
    rows: TEXT,
    change: where(reason('invalid_field_text'), edit('"reason"', '"error"')),
  },
  {
    name: 'no status in an error',
    rows: TEXT,
    change: where(reason('invalid_field_text'), edit(',"status":"error"', '')),
  },
  {
    name: 'status fail',
    finds: 'status fail, not error',
    rows: SENDER,
    change: where(reason('invalid_field_shortcode'), edit('"error"', '"fail"')),
  },
  { name: 'a number as reason', rows: TEXT, change: where(reason('invalid_field_text'), edit(/:"inv\w+"/, ':7')) },
  { name: 'an array around an error', rows: TEXT, change: where(reason('invalid_field_text'), edit(/.+/, '[$&]')) },
  // The form of all answers
  {
    name: 'JSON as text/html',
    finds: 'Content-Type is not application/json',
    rows: ACCEPTED,
    change: where(accepted, { type: 'text/html; charset=utf-8' }),
  },
  {
    name: 'another charset',
    rows: ACCEPTED,
    change: where(accepted, { type: 'application/json; charset=windows-1251' }),
  },
  { name: 'no x-request-id', rows: DESCRIBED, change: where(described, { headers: { 'x-request-id': '' } }) },
  {
    name: 'a redirect',
    finds: 'HTTP status 307, not 200',
    rows: ACCEPTED,
    change: where(accepted, { status: 307, headers: { location: '/api/v3/send_message' } }),
  },
  {
    name: 'a byte order mark',
    finds: 'the body is not a JSON object',
    rows: ACCEPTED,
    change: where(accepted, edit(/^/, '\ufeff')),
  },
  { name: 'text after the JSON', rows: DESCRIBED, change: where(described, edit(/$/, '<br>')) },
  {
    name: 'gzip that was not requested',
    finds: 'Content-Encoding gzip, which was not requested',
    rows: DESCRIBED,
    change: where(described, ({ reply }) => ({ headers: { 'content-encoding': 'gzip' }, text: gzipSync(reply.text) })),
  },
  {
    name: 'a text in another encoding',
    finds: 'the body is not UTF-8',
    rows: DESCRIBED,
    change: where(described, ({ reply }) => ({
      text: Buffer.from(reply.text.replace(/"text":"[^\\]+/, '"text":"\xcf'), 'latin1'),
    })),
  },
  {
    name: 'an answer that is cut off',
    finds: 'there is no complete answer',
    rows: DESCRIBED,
    change: where(described, { ends: 'half' }),
  },
  { name: 'a reset after a message', rows: ACCEPTED, change: where(accepted, { ends: 'reset' }) },
  // Accepted messages
  { name: '201 for a message', rows: ACCEPTED, change: where(accepted, { status: 201 }) },
  { name: 'a uid without its mask', rows: ACCEPTED, change: where(accepted, edit('message-id-', '')) },
  { name: 'a number as uid', rows: ACCEPTED, change: where(accepted, edit(/"message-id-\w+"/, '7461983')) },
  { name: 'a uid outside of result', rows: ACCEPTED, change: where(accepted, edit(/"result":\{(.*?)\}/, '$1')) },
  { name: 'status OK', rows: ACCEPTED, change: where(accepted, edit('"ok"', '"OK"')) },
  {
    name: 'the same uid for every message',
    rows: [...ACCEPTED.slice(1), ...DESCRIBED],
    change: where(accepted, { text: OK }),
  },
  {
    name: 'a JSON number is no number',
    rows: ACCEPTED.slice(1, 2),
    change: where((one) => /"msisdn":7/.test(one.body), error('invalid_field_msisdn', 200)),
  },
  {
    name: 'credentials in the body are not read',
    rows: ['send with a wrong password in the body', 'send of credentials in the body only', ...ACCEPTED.slice(2)],
    change: where((one) => isSend(one) && !one.headers.authorization && one.body !== '{}', error('auth_required', 401)),
  },
  // Descriptions of messages
  { name: 'a status of its own', rows: DESCRIBED, change: where(described, edit('awaiting_report', 'sent')) },
  { name: 'HTTP status in the envelope', rows: DESCRIBED, change: where(described, edit('"ok"', '200')) },
  { name: 'milliseconds', rows: DESCRIBED, change: where(described, edit(/("created_at":\d+)/, '$1000')) },
  {
    name: 'a date as text',
    rows: DESCRIBED,
    change: where(described, edit(/"updated_at":\d+/, '"updated_at":"2026-11-28"')),
  },
  {
    name: 'local time as Unix time',
    finds: 'result.updated_at is not Unix time in seconds, within 10 minutes of the clock of this machine',
    rows: DESCRIBED,
    change: where(described, ({ reply }) => ({
      text: reply.text.replace(/_at":(\d+)/g, (_, at) => `_at":${Number(at) + 10_800}`),
    })),
  },
  { name: 'no updated_at', rows: DESCRIBED, change: where(described, edit(/,"updated_at":\d+/, '')) },
  { name: 'no text', rows: DESCRIBED, change: where(described, edit(/"text":"(?:[^"\\]|\\.)*",/, '')) },
  { name: 'a text with HTML entities', rows: DESCRIBED, change: where(described, edit('&', '&amp;')) },
  { name: 'a text without ё', rows: DESCRIBED, change: where(described, edit('ё', 'е')) },
  { name: 'the domestic number', rows: DESCRIBED, change: where(described, edit('"msisdn":7', '"msisdn":8')) },
  {
    name: 'the uid of another message',
    rows: DESCRIBED,
    change: where(described, edit('message-id-', 'message-id-x')),
  },
  { name: 'no part', rows: DESCRIBED, change: where(described, edit('"pdu_count":null', '"pdu_count":0')) },
  {
    name: 'an error code without rejected',
    rows: DESCRIBED,
    change: where(described, edit('"msisdn"', '"error_code":"0","msisdn"')),
  },
  // Methods
  {
    name: 'a send by GET',
    rows: METHODS.slice(0, 1),
    change: where((one) => one.method === 'GET' && one.path.endsWith('send_message'), { status: 200, text: OK }),
  },
  {
    name: 'PUT is a POST',
    rows: METHODS.slice(1, 2),
    change: where((one) => one.method === 'PUT', { status: 204, text: '' }),
  },
  {
    name: 'POST is a GET',
    rows: METHODS.slice(2),
    change: where((one) => one.method === 'POST' && !isSend(one), { status: 302, text: '' }),
  },
];
