import * as fc from 'fast-check';
import {
  RT_SMS_REASONS,
  RtSmsAuthError,
  RtSmsError,
  RtSmsNotFoundError,
  RtSmsRejectedError,
  RtSmsUnexpectedResponseError,
  type RtSmsErrorContext,
} from '../rt-sms.errors.js';
import { SMS_STATUSES } from '../message/status.js';
import { bodyCredentials, readCallback, readReport, readSent, sendBody, type SmsStatusReport } from './wire.js';

const UID = 'message-id-VvkmLHkfhCX9';
const ABOUT: RtSmsErrorContext = { account: 'otp', attempts: 2, durationMs: 12.4, requestId: 'b698337d' };

/** Results of a POST and of a GET about UID for an answer. A body that is not a string is converted to JSON. */
const body = (data: unknown) => (typeof data === 'string' ? data : JSON.stringify(data));
const post = (status: number, data: unknown) => readSent({ status, data: body(data) }, { ...ABOUT, operation: 'send' });
const get = (status: number, data: unknown) =>
  readReport({ status, data: body(data) }, UID, { ...ABOUT, operation: 'status' });

function errorOf(value: unknown): RtSmsRejectedError {
  expect(value).toBeInstanceOf(RtSmsError);
  return value as RtSmsRejectedError;
}
function reportOf(value: unknown): SmsStatusReport {
  expect(value).not.toBeInstanceOf(Error);
  return value as SmsStatusReport;
}

/** The example of §2.2.2. */
const EXAMPLE = {
  created_at: 1574087003,
  msisdn: 79377778686,
  pdu_count: null,
  status: 'delivered',
  text: 'текст сообщения',
  uid: UID,
  updated_at: 1574087003,
};
const answer = (fields: Record<string, unknown>, envelope: Record<string, unknown> = {}) =>
  reportOf(get(200, { result: { ...EXAMPLE, ...fields }, status: 'ok', ...envelope }));
const without = (key: keyof typeof EXAMPLE) => {
  const { [key]: _, ...rest } = EXAMPLE;
  return reportOf(get(200, { result: rest, status: 'ok' }));
};

const HTML = '<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body></body>\r\n</html>\r\n';
/** Control, format and separator characters that could confuse a log or a shell, and characters of no alphabet. */
const UNCHECKED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\uFFFD]/u;

describe('a request to send (§2.1.1)', () => {
  it('has the three fields in lower case, the number as a string, and nothing else', () => {
    const message = { msisdn: '79111432118', shortcode: 'AVARIA', text: 'Добрый день', segments: 1, ref: 'order 1' };
    expect(sendBody(message)).toEqual({ msisdn: '79111432118', shortcode: 'AVARIA', text: 'Добрый день' });
  });

  it('names the credentials login and pass', () => {
    expect(bodyCredentials('1sda12e', '1dsnkj1n23')).toEqual({ login: '1sda12e', pass: '1dsnkj1n23' });
  });
});

// HTTP code, reason, class, retryable, and the fix in the message.
const REASONS: [number, string, new (...args: never[]) => RtSmsError, boolean, RegExp][] = [
  [200, 'invalid_request_body', RtSmsRejectedError, false, /Fix: report it with the request id/],
  [200, 'invalid_field_msisdn', RtSmsRejectedError, false, /Fix: check the number; the gateway does not accept it/],
  [
    200,
    'invalid_field_shortcode',
    RtSmsRejectedError,
    false,
    /Fix: use a sender name that is registered in the cabinet/,
  ],
  [
    200,
    'invalid_source_address',
    RtSmsRejectedError,
    false,
    /Fix: register this sender name for the recipient's operator in the cabinet/,
  ],
  [200, 'invalid_field_text', RtSmsRejectedError, false, /Fix: send a text that is not empty/],
  [
    200,
    'system_error',
    RtSmsRejectedError,
    true,
    /Fix: retry it; the gateway has a fault and did not save the message/,
  ],
  [
    200,
    'transaction_not_found',
    RtSmsNotFoundError,
    false,
    /Fix: check the uid; the gateway has no such message yet, or it belongs to another login/,
  ],
  [401, 'auth_required', RtSmsAuthError, false, /proxy that removes the Authorization header/],
  [
    403,
    'wrong_ip',
    RtSmsAuthError,
    false,
    /Fix: add the public address of this server to "IP-адреса клиента".*cabinet \(at most 15\)/,
  ],
  [
    403,
    'wrong_credentials',
    RtSmsAuthError,
    false,
    /Fix: compare login and password with the HTTP connection in the cabinet/,
  ],
];

describe('errors (§1.6)', () => {
  it('has exactly the ten reasons of the table', () => {
    expect(REASONS.map(([, reason]) => reason)).toEqual([...RT_SMS_REASONS]);
  });

  it.each(REASONS)('%i %s', (httpStatus, reason, type, retryable, advice) => {
    const refusal = { reason, status: 'error' };
    const sent = errorOf(post(httpStatus, refusal));
    expect(sent.constructor).toBe(type);
    expect(sent).toBeInstanceOf(RtSmsRejectedError);
    expect(sent).toMatchObject({ reason, retryable, httpStatus, operation: 'send', outcome: 'rejected' });
    expect(sent).toMatchObject({ account: 'otp', attempts: 2, durationMs: 12, requestId: 'b698337d' });
    expect(sent.message).toContain(reason);
    expect(sent.message).toMatch(advice);

    const statusError = errorOf(get(httpStatus, refusal));
    expect(statusError.constructor).toBe(type);
    expect(statusError).toMatchObject({ reason, retryable, httpStatus, operation: 'status' });
    expect(statusError).not.toHaveProperty('outcome');
  });

  it.each([
    'auth_failed',
    'throttled',
    // Properties of every object.
    'constructor',
    'toString',
  ])('a reason that is not in the table: %s', (reason) => {
    const error = errorOf(post(200, { reason, status: 'error' }));
    expect(error.constructor).toBe(RtSmsRejectedError);
    expect(error).toMatchObject({ reason, outcome: 'rejected', retryable: false });
    expect(error.message).toBe(
      `The gateway rejected the request: ${reason}. Fix: see the table of errors in the documentation of the gateway`,
    );
  });

  it.each<[string, unknown]>([
    ['HTML', HTML],
    ['nothing', ''],
    ['truncated JSON', '{"reason":"wrong_'],
    ['JSON without a reason', { status: 'error' }],
    ['a reason of another type', { status: 'error', reason: { text: 'wrong_ip' } }],
    ['a reason over two lines', { status: 'error', reason: 'wrong_ip\r\nInjected: 1' }],
    ['a success', { result: { uid: UID }, status: 'ok' }],
  ])('401 and 403 are "not processed" with any body: %s', (_, data) => {
    for (const httpStatus of [401, 403]) {
      const error = errorOf(post(httpStatus, data));
      expect(error.constructor).toBe(RtSmsAuthError);
      expect(error).toMatchObject({ outcome: 'rejected', retryable: false, httpStatus });
      expect(error).not.toHaveProperty('reason');
      expect(error.message).toMatch(new RegExp(`HTTP ${httpStatus}.*login and password.*IP-адреса клиента`));
      expect(errorOf(get(httpStatus, data)).constructor).toBe(RtSmsAuthError);
    }
  });

  it.each([
    'no route to 79270000001',
    '79270000001',
    'слишком много запросов',
    '__proto__',
    'bad text: Ваш код 4711',
    // Parts of the request that look like words of the gateway.
    'Hello',
    'pass-word',
  ])('a reason that may repeat the request is hidden: %s', (reason) => {
    const error = errorOf(
      readSent({ status: 200, data: { status: 'error', reason } }, ABOUT, ['Hello, world', 'the-pass-word']),
    );
    expect(error.constructor).toBe(RtSmsRejectedError);
    expect(error).toMatchObject({ outcome: 'rejected', reason: 'unrecognised', retryable: false });
    expect(error.message).toBe(
      'The gateway rejected the request: unrecognised. Fix: ask the provider, with the request id; the reason is not documented, and it is hidden because it may repeat parts of the request',
    );
  });

  it('a reason of the table passes even if the text contains its words', () => {
    const data = { status: 'error', reason: 'invalid_field_text' };
    expect(readSent({ status: 200, data }, ABOUT, ['an invalid field, a text'])).toMatchObject({
      reason: 'invalid_field_text',
    });
  });

  it.each<[string, unknown]>([
    ['no reason', { status: 'error' }],
    ['an empty reason', { status: 'error', reason: '' }],
    ['a null reason', { status: 'error', reason: null }],
    ['a number for a reason', { status: 'error', reason: 7 }],
    ['a reason with a success that has no result', { status: 'ok', reason: 'system_error' }],
    ['a reason and no status', { reason: 'system_error' }],
    ['the status in upper case', { status: 'ERROR', reason: 'system_error' }],
    ['a reason in an array', [{ status: 'error', reason: 'system_error' }]],
  ])('an error that cannot be read is an unknown outcome: %s', (_, data) => {
    expectUncertain(post(200, data));
  });

  it.each([300, 301, 302, 307, 308, 400, 402, 404, 405, 408, 413, 429, 451, 500, 501, 502, 503, 504, 520])(
    'HTTP %i is an unknown outcome with any body',
    (httpStatus) => {
      for (const data of [{ status: 'error', reason: 'system_error' }, { result: { uid: UID }, status: 'ok' }, HTML]) {
        expectUncertain(post(httpStatus, data), httpStatus);
        const statusError = errorOf(get(httpStatus, data));
        expect(statusError).toBeInstanceOf(RtSmsUnexpectedResponseError);
        expect(statusError).toMatchObject({ retryable: true, operation: 'status', httpStatus });
      }
    },
  );

  it.each([201, 202, 206, 299])('HTTP %i: an acceptance is valid, a rejection is an unknown outcome', (httpStatus) => {
    expect(post(httpStatus, { result: { uid: UID }, status: 'ok' })).toBe(UID);
    expect(reportOf(get(httpStatus, { result: EXAMPLE, status: 'ok' })).status).toBe('delivered');
    for (const reason of ['system_error', 'wrong_ip']) {
      expectUncertain(post(httpStatus, { status: 'error', reason }), httpStatus);
      expect(errorOf(get(httpStatus, { status: 'error', reason })).constructor).toBe(RtSmsUnexpectedResponseError);
    }
  });
});

function expectUncertain(value: unknown, httpStatus = 200): void {
  const error = errorOf(value);
  expect(error.constructor).toBe(RtSmsUnexpectedResponseError);
  expect(error).toMatchObject({ outcome: 'unknown', retryable: false, operation: 'send', httpStatus, account: 'otp' });
  expect(error.message).toMatch(/may have been sent: do not retry it automatically/);
}

/** Bodies that are not a JSON object. */
const NO_OBJECTS: [string, string][] = [
  ['nothing', ''],
  ['white space', ' \r\n'],
  ['[]', '[]'],
  ['null', 'null'],
  ['a text', '"x"'],
  ['a number', '5'],
  ['true', 'true'],
  ['truncated JSON', `{"result":{"uid":"${UID}"},"sta`],
  ['JSON and more', `{"result":{"uid":"${UID}"},"status":"ok"}}`],
  ['two answers', `{"result":{"uid":"${UID}"},"status":"ok"}{"status":"error"}`],
  ['HTML', HTML],
  ['two BOMs', `\uFEFF\uFEFF{"result":{"uid":"${UID}"},"status":"ok"}`],
];

describe('the answer to a send (§2.1.2)', () => {
  it.each<[string, string, string]>([
    ['the example', '{\n  "result": {\n    "uid": "message-id-VvkmLHkfhCX9"\n  },\n  "status": "ok"\n}', UID],
    ['eleven characters', '{"result":{"uid":"message-id-VvkmLHkfCX9"},"status":"ok"}', 'message-id-VvkmLHkfCX9'],
    ['digits only', '{"result":{"uid":"message-id-7461983"},"status":"ok"}', 'message-id-7461983'],
    ['a bare id', '{"result":{"uid":"VvkmLHkfhCX9"},"status":"ok"}', UID],
    ['a bare number', '{"result":{"uid":7461983},"status":"ok"}', 'message-id-7461983'],
    ['a BOM', `\uFEFF{"result":{"uid":"${UID}"},"status":"ok"}`, UID],
    ['more fields than documented', `{"result":{"uid":"${UID}","x":1},"status":"ok","y":[]}`, UID],
    ['a reason with a success', `{"result":{"uid":"${UID}"},"status":"ok","reason":"system_error"}`, UID],
  ])('%s', (_, data, uid) => {
    expect(post(200, data)).toBe(uid);
  });

  it('keeps the case of the uid', () => {
    expect(post(200, { result: { uid: 'message-id-aBcDeF' }, status: 'ok' })).toBe('message-id-aBcDeF');
    expect(post(200, { result: { uid: 'ABCdef' }, status: 'ok' })).toBe('message-id-ABCdef');
  });

  it('reads a body that an interceptor has already parsed', () => {
    const read = (data: unknown) => readSent({ status: 200, data }, { operation: 'send' });
    expect(read({ result: { uid: UID }, status: 'ok' })).toBe(UID);
    expectUncertainOf(read([{ result: { uid: UID }, status: 'ok' }]));
    expectUncertainOf(read(undefined));
    expectUncertainOf(read(Buffer.from(`{"result":{"uid":"${UID}"},"status":"ok"}`)));
  });
  const expectUncertainOf = (value: unknown) => expect(value).toBeInstanceOf(RtSmsUnexpectedResponseError);

  it.each(NO_OBJECTS)('no JSON object: %s', (_, data) => expectUncertain(post(200, data)));

  it.each<[string, unknown]>([
    ['an empty object', {}],
    ['no status', { result: { uid: UID } }],
    ['the uid outside of the result', { uid: UID, status: 'ok' }],
    ['a status in upper case', { result: { uid: UID }, status: 'OK' }],
    ['no result', { status: 'ok' }],
    ['a null result', { result: null, status: 'ok' }],
    ['a result in an array', { result: [{ uid: UID }], status: 'ok' }],
    ['the uid for a result', { result: UID, status: 'ok' }],
    ['an error with a uid', { result: { uid: UID }, status: 'error' }],
    ...[undefined, null, '', 'message-id-', {}, [UID], true, 'a b', 'a/b', '../x', 'a\nb', 'я', 'x'.repeat(129)].map(
      (uid): [string, unknown] => [`uid ${JSON.stringify(uid)?.slice(0, 20)}`, { result: { uid }, status: 'ok' }],
    ),
    // A rounded number could be the uid of another message.
    ['uid beyond what a number can hold', '{"result":{"uid":74619831234567890123},"status":"ok"}'],
    ['uid with a fraction', { result: { uid: 1.5 }, status: 'ok' }],
    ['uid below zero', { result: { uid: -7 }, status: 'ok' }],
  ])('without a uid: %s', (_, data) => expectUncertain(post(200, data)));
});

describe('the answer to a status request (§2.2.2)', () => {
  it('the example', () => {
    expect(get(200, { result: EXAMPLE, status: 'ok' })).toEqual({
      uid: UID,
      status: 'delivered',
      gatewayStatus: 'delivered',
      final: true,
      msisdn: '79377778686',
      text: 'текст сообщения',
      createdAt: new Date('2019-11-18T14:23:23Z'),
      updatedAt: new Date('2019-11-18T14:23:23Z'),
      requestId: 'b698337d',
    });
  });

  it('needs only uid and status', () => {
    const { requestId: _, ...about } = ABOUT;
    const bare = body({ result: { uid: UID, status: 'awaiting_report' }, status: 'ok' });
    expect(readReport({ status: 200, data: bare }, UID, about)).toEqual({
      uid: UID,
      status: 'awaiting_report',
      gatewayStatus: 'awaiting_report',
      final: false,
    });
  });

  it.each([
    ['delivered', true],
    ['awaiting_report', false],
    ['failed', true],
    ['insufficient_balance', true],
    ['rejected', true],
  ])('status %s, final: %s', (status, final) => {
    expect(answer({ status })).toMatchObject({ status, gatewayStatus: status, final });
  });

  it.each(['sent', 'DELIVERED', 'unknown', 'доставлено', 'constructor', 'x'.repeat(64)])(
    'a status that is not in the table: %s',
    (status) => expect(answer({ status })).toMatchObject({ status: 'unknown', gatewayStatus: status, final: false }),
  );

  it.each([
    undefined,
    null,
    '',
    ' ',
    7,
    true,
    ['delivered'],
    { status: 'delivered' },
    'deliv\nered',
    'delivered\u0000',
    'deliv\u200Bered',
    'deliv\uFFFDred',
    'x'.repeat(65),
  ])('a status that cannot be read: %j', (status) => {
    const error = errorOf(get(200, { result: { ...EXAMPLE, status }, status: 'ok' }));
    expect(error.constructor).toBe(RtSmsUnexpectedResponseError);
    expect(error).toMatchObject({ operation: 'status', retryable: true });
    expect(error.message).toMatch(/no readable status/);
  });

  it.each([
    ['its number', '79377778686'],
    ['part of its number', 'to_8686'],
    ['its text', 'текст'],
    ['the password', 'pass_Summer2026'],
    // Numbers of other messages, which are not in the request.
    ['a value that may be a number', '8 (927) 123-45-67'],
    ['a value that may be a number in other digits', '٧٩٢٧١٢٣٤٥٦٧'],
  ])('a status, an error code and a request id that repeat %s are hidden', (_, word) => {
    const of = (result: object) => {
      const data = { result: { ...EXAMPLE, ...result }, status: 'ok' };
      return readReport({ status: 200, data }, UID, { ...ABOUT, requestId: word.replace(/\W/g, '') }, [
        'Summer2026pass',
      ]);
    };
    expect(of({ status: word })).toMatchObject({ status: 'unknown', gatewayStatus: 'unrecognised' });
    const rejected = of({ status: 'rejected', error_code: word });
    expect(rejected).toMatchObject({ errorCode: 'unrecognised', msisdn: '79377778686', text: 'текст сообщения' });
    expect(rejected).not.toHaveProperty('requestId');
  });

  it.each<[unknown, string | undefined]>([
    [79377778686, '79377778686'],
    ['79377778686', '79377778686'],
    ['+79377778686', undefined],
    ['8 (937) 777-86-86', undefined],
    ['', undefined],
    [null, undefined],
    [-79377778686, undefined],
    [7937777.5, undefined],
    [1e21, undefined],
    ['1'.repeat(16), undefined],
    [['79377778686'], undefined],
  ])('msisdn %j', (msisdn, read) => {
    expect(answer({ msisdn }).msisdn).toBe(read);
    expect(without('msisdn')).not.toHaveProperty('msisdn');
  });

  it.each<[unknown, number | undefined]>([
    [null, undefined],
    ['N', undefined],
    ['3', 3],
    [3, 3],
    ['10', 10],
    [0, undefined],
    ['0', undefined],
    [-1, undefined],
    ['-1', undefined],
    ['+1', undefined],
    [1.5, undefined],
    ['1e3', undefined],
    ['0x3', undefined],
    [' 3', undefined],
    ['', undefined],
    ['9'.repeat(30), undefined],
    // One digit short of a phone number.
    [927123456, undefined],
    [true, undefined],
    [[3], undefined],
    [{}, undefined],
  ])('pdu_count %j', (pdu_count, parts) => {
    const report = answer({ pdu_count });
    expect(report.parts).toBe(parts);
    expect('parts' in report).toBe(parts !== undefined);
    expect(without('pdu_count')).not.toHaveProperty('parts');
  });

  it.each<[unknown, string | undefined]>([
    [1574087003, '2019-11-18T14:23:23.000Z'],
    ['1574087003', '2019-11-18T14:23:23.000Z'],
    [1574087003.5, '2019-11-18T14:23:23.500Z'],
    ['datetime', undefined],
    ['2019-11-18T14:23:23Z', undefined],
    ['', undefined],
    [' ', undefined],
    [null, undefined],
    [0, undefined],
    [-1, undefined],
    ['-1574087003', undefined],
    // Milliseconds and larger values: impossible years.
    [1574087003000, undefined],
    [1e300, undefined],
    ['9'.repeat(12), undefined],
    [true, undefined],
    [[1574087003], undefined],
    [{}, undefined],
  ])('created_at and updated_at %j', (time, iso) => {
    const report = answer({ created_at: time, updated_at: time });
    expect(report.createdAt?.toISOString()).toBe(iso);
    expect(report.updatedAt?.toISOString()).toBe(iso);
    expect('createdAt' in report || 'updatedAt' in report).toBe(iso !== undefined);
  });

  it('reads the two times separately', () => {
    expect(answer({ created_at: 1574087003, updated_at: '1574087063' })).toMatchObject({
      createdAt: new Date('2019-11-18T14:23:23Z'),
      updatedAt: new Date('2019-11-18T14:24:23Z'),
    });
    expect(without('created_at')).toMatchObject({ updatedAt: new Date('2019-11-18T14:23:23Z') });
    expect(without('created_at')).not.toHaveProperty('createdAt');
    expect(without('updated_at')).not.toHaveProperty('updatedAt');
  });

  it.each<[unknown, string | undefined]>([
    ['', ''],
    ['две\nстроки', 'две\nстроки'],
    [null, undefined],
    [7, undefined],
    [['x'], undefined],
  ])('text %j', (text, read) => {
    expect(answer({ text }).text).toBe(read);
    expect(without('text')).not.toHaveProperty('text');
  });

  it('reads error_code in the result and, as in the table, next to the outer status', () => {
    expect(answer({ status: 'rejected', error_code: 'E17' })).toMatchObject({ errorCode: 'E17' });
    expect(answer({ status: 'rejected' }, { error_code: 'E18' })).toMatchObject({ errorCode: 'E18' });
    expect(answer({ status: 'rejected', error_code: 'E17' }, { error_code: 'E18' }).errorCode).toBe('E17');
    expect(answer({ status: 'rejected', error_code: null }, { error_code: 'E18' }).errorCode).toBe('E18');
    expect(answer({ status: 'rejected', error_code: 17 }).errorCode).toBe('17');
  });

  it('has an error code only with rejected', () => {
    expect(answer({ status: 'rejected' })).not.toHaveProperty('errorCode');
    for (const status of ['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'sent']) {
      expect(answer({ status, error_code: 'E17' }, { error_code: 'E18' })).not.toHaveProperty('errorCode');
    }
  });

  it.each([null, '', ' ', 'E\n17', 'x'.repeat(65), ['E17'], {}, true])(
    'an invalid error code is absent: %j',
    (error_code) => {
      expect(answer({ status: 'rejected', error_code }, { error_code })).not.toHaveProperty('errorCode');
    },
  );

  it.each(['message-id-VvkmLHkfhCX8', 'message-id-vvkmlhkfhcx9', 'message-id-', '', null, undefined, 7, [UID]])(
    'an answer about another uid settles nothing: %j',
    (uid) => {
      const error = errorOf(get(200, { result: { ...EXAMPLE, uid }, status: 'ok' }));
      expect(error.constructor).toBe(RtSmsUnexpectedResponseError);
      expect(error).toMatchObject({ operation: 'status', retryable: true });
      expect(error.message).toMatch(/another uid/);
    },
  );

  it('accepts the uid without its prefix', () => {
    expect(answer({ uid: 'VvkmLHkfhCX9' })).toMatchObject({ uid: UID });
  });

  it.each(NO_OBJECTS)('no JSON object: %s', (_, data) => {
    expect(get(200, data)).toBeInstanceOf(RtSmsUnexpectedResponseError);
  });

  it.each([['HTTP status'], ['200'], [200], [undefined], ['error']])('the outer status is %j, not ok', (status) => {
    expect(get(200, { result: EXAMPLE, status })).toBeInstanceOf(RtSmsUnexpectedResponseError);
  });
});

describe('a callback (§3.1.1)', () => {
  it.each([
    '79111432118',
    '7 (911) 143-21-18',
    '8.911.143.21.18',
    'hV3nR8sQ1xZ6bT0w',
    'pass_SUMMER2026',
    'PASS=Summer',
  ])('a status and an error code that may contain a number or a secret are hidden: %s', (word) => {
    const secrets = ['hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA', 'Summer2026pass'];
    const of = (query: object) => readCallback({ id: '7465', ...query }, secrets)?.report;
    expect(of({ status: word })).toMatchObject({ status: 'unknown', gatewayStatus: 'unrecognised' });
    expect(of({ status: 'rejected', err: word })).toMatchObject({ status: 'rejected', errorCode: 'unrecognised' });
  });

  it.each([
    ['prefixed', 'message-id-mw4ZQfV2JTFc', 'message-id-mw4ZQfV2JTFc'],
    ['bare', 'mw4ZQfV2JTFc', 'message-id-mw4ZQfV2JTFc'],
    ['bare digits', '7465', 'message-id-7465'],
  ])('id %s', (_, id, uid) => {
    expect(readCallback({ id, parts: '2', status: 'delivered' })).toEqual({
      uid,
      report: { uid, status: 'delivered', gatewayStatus: 'delivered', parts: 2 },
    });
  });

  it.each([
    undefined,
    '',
    'message-id-',
    ['a', 'b'],
    { x: 'a' },
    'a b',
    'a\r\nb',
    'a\u0000',
    'a\uFFFD',
    '%FF',
    '../x',
    'x'.repeat(129),
  ])('an id that cannot be read: %j', (id) => expect(readCallback({ id, status: 'delivered' })).toBeUndefined());

  it.each(SMS_STATUSES)('status %s', (status) => {
    expect(readCallback({ id: '7465', status })?.report).toMatchObject({ status, gatewayStatus: status });
  });

  it('an unknown status keeps its word', () => {
    for (const status of ['sent', 'DELIVERED', 'Доставлено!', 'x'.repeat(64), '😀'.repeat(64)]) {
      expect(readCallback({ id: '7465', status })?.report).toMatchObject({ status: 'unknown', gatewayStatus: status });
    }
  });

  it.each([
    undefined,
    '',
    '   ',
    ['delivered', 'failed'],
    ['delivered'],
    { x: 'delivered' },
    7,
    'x'.repeat(65),
    'deliv\nered',
    'deliv\u0000ered',
    'deliv\u202Eered',
    'deliv\uD800ered',
    'deliv\uFFFDered',
    'deliv%E9red',
    'deliver%E',
  ])('a callback with a status that cannot be read is a hint: %j', (status) => {
    expect(readCallback({ id: '7465', status, parts: '1', err: 'E17' })).toEqual({ uid: 'message-id-7465' });
  });

  it.each<[unknown, number | undefined]>([
    ['1', 1],
    ['12', 12],
    ['0', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['N', undefined],
    ['', undefined],
    ['1 ', undefined],
    [['1', '2'], undefined],
    [undefined, undefined],
  ])('parts %j', (parts, read) => {
    const report = readCallback({ id: '7465', status: 'delivered', parts })!.report!;
    expect(report.parts).toBe(read);
    expect('parts' in report).toBe(read !== undefined);
  });

  it('err only with rejected', () => {
    expect(readCallback({ id: '7465', status: 'rejected', err: 'E17' })?.report).toMatchObject({ errorCode: 'E17' });
    expect(readCallback({ id: '7465', status: 'rejected', err: '17' })?.report).toMatchObject({ errorCode: '17' });
    for (const status of SMS_STATUSES.filter((status) => status !== 'rejected')) {
      expect(readCallback({ id: '7465', status, err: 'E17' })?.report).not.toHaveProperty('errorCode');
    }
    for (const err of ['', '%FF', ['1', '2'], 'x'.repeat(65), 'a\nb', {}, undefined]) {
      expect(readCallback({ id: '7465', status: 'rejected', err })?.report).not.toHaveProperty('errorCode');
    }
  });

  it('does not read inherited properties of the query', () => {
    expect(readCallback(Object.create({ id: '7465', status: 'delivered' }))).toBeUndefined();
    expect(readCallback(Object.assign(Object.create(null), { id: '7465', status: 'failed' }))?.report).toMatchObject({
      status: 'failed',
    });
  });
});

describe('any input', () => {
  const word = fc.oneof(
    fc.constantFrom(...SMS_STATUSES, 'ok', 'error', UID, '__proto__', 'constructor', '', null, undefined),
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.anything({ maxDepth: 2, withNullPrototype: true }),
  );
  const mostly = (...expected: string[]) =>
    fc.oneof({ arbitrary: fc.constantFrom(...expected), weight: 3 }, { arbitrary: word, weight: 1 });
  const fields = (identity: string, ...names: string[]) =>
    fc.record(
      {
        [identity]: mostly(UID),
        status: mostly(...SMS_STATUSES),
        ...Object.fromEntries(names.map((name) => [name, word])),
      },
      { requiredKeys: [] },
    );

  function expectClean(report: Omit<SmsStatusReport, 'final'>): void {
    expect(report.uid).toMatch(/^message-id-[A-Za-z0-9._~:=@+-]{1,128}$/);
    expect(SMS_STATUSES).toContain(report.status);
    expect(report.gatewayStatus.trim()).not.toBe('');
    for (const text of [report.gatewayStatus, report.errorCode ?? 'x']) {
      expect(text).not.toMatch(UNCHECKED);
      expect([...text].length).toBeLessThanOrEqual(64);
    }
    if (report.status !== 'unknown') expect(report.gatewayStatus).toBe(report.status);
    if (report.status !== 'rejected') expect(report).not.toHaveProperty('errorCode');
    if ('parts' in report) expect(Number.isSafeInteger(report.parts) && Number(report.parts) > 0).toBe(true);
    if ('msisdn' in report) expect(report.msisdn).toMatch(/^\d{5,15}$/);
    for (const time of ['createdAt', 'updatedAt'] as const) {
      if (time in report) expect(report[time]!.getTime()).toBeGreaterThan(0);
    }
    expect(Object.values(report)).not.toContain(undefined);
  }

  it('readCallback never throws and returns only checked values', () => {
    const queries = fc.oneof(
      { arbitrary: fields('id', 'parts', 'err', '__proto__'), weight: 3 },
      { arbitrary: fc.anything({ withNullPrototype: true }), weight: 1 },
    );
    let reports = 0;
    fc.assert(
      fc.property(queries, (query) => {
        const payload = readCallback(query);
        if (!payload) return;
        expect(payload.uid).toMatch(/^message-id-/);
        if (!payload.report) return expect(Object.keys(payload)).toEqual(['uid']);
        reports++;
        expectClean(payload.report);
      }),
      { numRuns: 3000 },
    );
    expect(reports).toBeGreaterThan(100);
  });

  it('readSent and readReport never throw and return only checked values', () => {
    const result = fields('uid', 'msisdn', 'pdu_count', 'text', 'created_at', 'updated_at', 'error_code');
    const envelope = fc.record(
      {
        result: fc.oneof({ arbitrary: result, weight: 4 }, { arbitrary: word, weight: 1 }),
        status: mostly('ok'),
        reason: word,
        error_code: word,
      },
      { requiredKeys: [] },
    );
    const data = fc.oneof(
      { arbitrary: envelope, weight: 4 },
      { arbitrary: envelope.map((object) => jsonOf(object)), weight: 4 },
      { arbitrary: fc.json(), weight: 1 },
      { arbitrary: fc.string({ unit: 'binary' }), weight: 1 },
      { arbitrary: fc.anything({ withNullPrototype: true }), weight: 1 },
    );
    const codes = fc.oneof({ arbitrary: fc.constant(200), weight: 4 }, fc.integer({ min: 100, max: 599 }));
    let reports = 0;
    fc.assert(
      fc.property(codes, data, (status, data) => {
        const uid = readSent({ status, data }, { operation: 'send' });
        if (typeof uid === 'string') expect(uid).toMatch(/^message-id-[A-Za-z0-9._~:=@+-]{1,128}$/);
        else expectSafe(uid);
        const report = readReport({ status, data }, UID, { operation: 'status' });
        if (report instanceof Error) return expectSafe(report);
        expect(report.uid).toBe(UID);
        reports++;
        expectClean(report);
      }),
      { numRuns: 3000 },
    );
    expect(reports).toBeGreaterThan(100);
  });

  function expectSafe(error: RtSmsError): void {
    expect(error).toBeInstanceOf(RtSmsError);
    expect(error.message).not.toMatch(UNCHECKED);
    expect(error.message.length).toBeLessThan(600);
  }

  // Values that JSON cannot represent (a bigint, a cycle) cannot come from a network.
  function jsonOf(value: unknown): string {
    try {
      return JSON.stringify(value) ?? '';
    } catch {
      return '';
    }
  }
});
