import { inspect } from 'node:util';
import type * as errors from './rt-sms.errors.js';
import {
  isRtSmsError,
  RT_SMS_OUTCOMES,
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsConfigError,
  RtSmsConnectionError,
  RtSmsError,
  RtSmsNotFoundError,
  RtSmsOverloadedError,
  RtSmsRejectedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  RtSmsValidationError,
  type RtSmsErrorContext,
  type RtSmsOperation,
} from './rt-sms.errors.js';

type Make = (context: RtSmsErrorContext) => RtSmsError;
// Class, how it is made, code, outcome of a send, retryable for a send, retryable for a status request.
const ERRORS: [string, Make, string, string, boolean, boolean][] = [
  [
    'RtSmsValidationError',
    (context) => new RtSmsValidationError(['text is blank'], context),
    'RT_SMS_VALIDATION',
    'not_sent',
    false,
    false,
  ],
  [
    'RtSmsConnectionError',
    (context) => new RtSmsConnectionError('Nothing was sent: refused', false, context),
    'RT_SMS_CONNECTION',
    'not_sent',
    true,
    true,
  ],
  [
    'RtSmsConnectionError',
    (context) => new RtSmsConnectionError('Nothing was sent: the certificate has expired', true, context),
    'RT_SMS_CONNECTION',
    'not_sent',
    false,
    false,
  ],
  [
    'RtSmsOverloadedError',
    (context) => new RtSmsOverloadedError('Nothing was sent: the queue is full', context),
    'RT_SMS_OVERLOADED',
    'not_sent',
    true,
    true,
  ],
  [
    'RtSmsTimeoutError',
    (context) => new RtSmsTimeoutError('The deadline passed', 'not_sent', context),
    'RT_SMS_TIMEOUT',
    'not_sent',
    true,
    true,
  ],
  [
    'RtSmsTimeoutError',
    (context) => new RtSmsTimeoutError('The deadline passed', 'unknown', context),
    'RT_SMS_TIMEOUT',
    'unknown',
    false,
    true,
  ],
  [
    'RtSmsAbortedError',
    (context) => new RtSmsAbortedError('The signal', 'not_sent', context),
    'RT_SMS_ABORTED',
    'not_sent',
    true,
    true,
  ],
  [
    'RtSmsAbortedError',
    (context) => new RtSmsAbortedError('The signal', 'unknown', context),
    'RT_SMS_ABORTED',
    'unknown',
    false,
    true,
  ],
  [
    'RtSmsRejectedError',
    (context) => new RtSmsRejectedError('invalid_field_text', context),
    'RT_SMS_REJECTED',
    'rejected',
    false,
    false,
  ],
  [
    'RtSmsRejectedError',
    (context) => new RtSmsRejectedError('system_error', context),
    'RT_SMS_REJECTED',
    'rejected',
    true,
    true,
  ],
  ['RtSmsAuthError', (context) => new RtSmsAuthError('wrong_ip', context), 'RT_SMS_AUTH', 'rejected', false, false],
  [
    'RtSmsNotFoundError',
    (context) => new RtSmsNotFoundError('transaction_not_found', context),
    'RT_SMS_NOT_FOUND',
    'rejected',
    false,
    false,
  ],
  [
    'RtSmsUnexpectedResponseError',
    (context) => new RtSmsUnexpectedResponseError('HTTP 502', context),
    'RT_SMS_UNEXPECTED_RESPONSE',
    'unknown',
    false,
    true,
  ],
];

describe.each(ERRORS)('%s', (name, make, code, outcome, ofSend, ofStatus) => {
  const context: RtSmsErrorContext = {
    operation: 'send',
    account: 'otp',
    attempts: 3,
    durationMs: 12.6,
    requestId: '694ddf2371d06907b1d72f60616adecd',
    httpStatus: 200,
  };

  it(`is ${code}, ${outcome}, retryable: ${ofSend}`, () => {
    const error = make(context);
    expect(error).toBeInstanceOf(RtSmsError);
    expect(error).toBeInstanceOf(Error);
    expect(isRtSmsError(error)).toBe(true);
    expect(RT_SMS_OUTCOMES).toContain(error.outcome);
    expect(error).toMatchObject({ ...context, durationMs: 13, name, code, outcome, retryable: ofSend });
  });

  it('has no outcome but of a send', () => {
    for (const operation of ['status', 'wait'] as const satisfies RtSmsOperation[]) {
      const error = make({ ...context, operation });
      expect(error).toMatchObject({ operation, retryable: ofStatus });
      expect(error).not.toHaveProperty('outcome');
      expect(JSON.parse(JSON.stringify(error))).not.toHaveProperty('outcome');
    }
  });

  it('is that of a send of the default account where nothing is said', () => {
    const error = make({});
    const blank = { operation: 'send', account: 'default', attempts: 0, durationMs: 0, outcome, retryable: ofSend };
    expect(error).toMatchObject(blank);
    for (const absent of ['requestId', 'httpStatus', 'cause']) expect(error).not.toHaveProperty(absent);
  });

  it('is whole in JSON and on a console, with its cause only on the console', () => {
    const error = make({ ...context, cause: new Error('the socket was closed') });
    expect(error.cause).toMatchObject({ message: 'the socket was closed' });
    const { message } = error;
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({
      ...context,
      durationMs: 13,
      name,
      code,
      message,
      outcome,
      retryable: ofSend,
    });
    expect(JSON.stringify(error)).not.toContain('socket');
    const shown = inspect(error);
    for (const part of [name, message, code, outcome, 'otp', context.requestId!, 'the socket was closed']) {
      expect(shown).toContain(part);
    }
  });
});

describe('messages', () => {
  const message = (make: Make, operation: RtSmsOperation = 'send') => make({ operation }).message;

  it('a wrong message: that nothing was sent, and every problem', () => {
    const one = new RtSmsValidationError(['text is blank']);
    expect(one.message).toBe('Nothing was sent, the input is wrong: text is blank');
    const two = new RtSmsValidationError(['msisdn is missing', 'text is blank']);
    expect(two.problems).toEqual(['msisdn is missing', 'text is blank']);
    expect(two.message).toBe('Nothing was sent, the input is wrong:\n  - msisdn is missing\n  - text is blank');
    expect(JSON.parse(JSON.stringify(two))).toMatchObject({ problems: two.problems });
  });

  it('wrong options: which account cannot start, and every problem; it is no outcome of a send', () => {
    const error = new RtSmsConfigError(['login: is missing', 'url: must be https'], 'otp');
    expect(error.message).toBe(
      "RtSmsModule (account 'otp') cannot start:\n  - login: is missing\n  - url: must be https",
    );
    expect(error).toMatchObject({
      name: 'RtSmsConfigError',
      code: 'RT_SMS_CONFIG',
      operation: 'config',
      account: 'otp',
      retryable: false,
    });
    expect(error).not.toHaveProperty('outcome');
    expect(isRtSmsError(error)).toBe(true);
  });

  it('an uncertain send is not to be repeated blindly; an uncertain look may be', () => {
    const make: Make = (context) => new RtSmsUnexpectedResponseError('HTTP 502', context);
    expect(message(make)).toMatch(/gateway.*HTTP 502.*may have been sent: do not repeat it blindly/);
    expect(message(make, 'status')).toMatch(/gateway.*HTTP 502/);
    expect(message(make, 'status')).not.toMatch(/may have been sent/);
  });

  it('a refusal: who refused what for which reason, and what to do', () => {
    expect(message((context) => new RtSmsAuthError('wrong_ip', context))).toMatch(
      /^The gateway refused the request: wrong_ip\. To mend it: add the address .*"IP-адреса клиента".*cabinet/,
    );
    expect(message((context) => new RtSmsAuthError(undefined, { ...context, httpStatus: 403 }))).toMatch(
      /^The gateway refused the request: HTTP 403\. To mend it: check login and password .*"IP-адреса клиента"/,
    );
  });
});

describe('isRtSmsError', () => {
  it('knows the error of another copy of the package, whose classes are others', async () => {
    const path = './rt-sms.errors.ts?another-copy';
    const copy = (await import(path)) as typeof errors;
    const error = new copy.RtSmsAuthError('wrong_ip', {});
    expect(error).not.toBeInstanceOf(RtSmsError);
    expect(isRtSmsError(error)).toBe(true);
    expect(copy.isRtSmsError(new RtSmsValidationError(['x']))).toBe(true);
  });

  it.each([
    undefined,
    null,
    'RT_SMS_AUTH',
    7,
    {},
    new Error('x'),
    Object.assign(new Error('x'), { code: 'RT_SMS_AUTH' }),
    { code: 'RT_SMS_AUTH', outcome: 'rejected' },
  ])('takes nothing else for one: %p', (other) => expect(isRtSmsError(other)).toBe(false));
});
