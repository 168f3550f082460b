import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { redact } from './redact.js';
import * as errors from './rt-sms.errors.js';
import { fromStored, toStored } from './stored-error.js';
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
// Class, factory, code, outcome of a send, retryable for a send, retryable for a status request.
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

  it('has an outcome only for a send', () => {
    for (const operation of ['status', 'wait'] as const satisfies RtSmsOperation[]) {
      const error = make({ ...context, operation });
      expect(error).toMatchObject({ operation, retryable: ofStatus });
      expect(error).not.toHaveProperty('outcome');
      expect(JSON.parse(JSON.stringify(error))).not.toHaveProperty('outcome');
    }
  });

  it('is an error of a send of the default account without a context', () => {
    const error = make({});
    const blank = { operation: 'send', account: 'default', attempts: 0, durationMs: 0, outcome, retryable: ofSend };
    expect(error).toMatchObject(blank);
    for (const absent of ['requestId', 'httpStatus', 'cause']) expect(error).not.toHaveProperty(absent);
  });

  it('is complete in JSON and on a console, with its cause only on the console', () => {
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

  it('an invalid message: nothing was sent, and all problems', () => {
    const one = new RtSmsValidationError(['text is blank']);
    expect(one.message).toBe('Nothing was sent, the input is invalid: text is blank');
    const two = new RtSmsValidationError(['msisdn is missing', 'text is blank']);
    expect(two.problems).toEqual(['msisdn is missing', 'text is blank']);
    expect(two.message).toBe('Nothing was sent, the input is invalid:\n  - msisdn is missing\n  - text is blank');
    expect(JSON.parse(JSON.stringify(two))).toMatchObject({ problems: two.problems });
  });

  it('invalid options: the account that cannot start, and all problems, without an outcome', () => {
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

  it('a send with an unknown outcome must not be retried automatically; a status request can be', () => {
    const make: Make = (context) => new RtSmsUnexpectedResponseError('HTTP 502', context);
    expect(message(make)).toMatch(/gateway.*HTTP 502.*may have been sent: do not retry it automatically/);
    expect(message(make, 'status')).toMatch(/gateway.*HTTP 502/);
    expect(message(make, 'status')).not.toMatch(/may have been sent/);
  });

  it('a rejection: its reason and the fix', () => {
    expect(message((context) => new RtSmsAuthError('wrong_ip', context))).toMatch(
      /^The gateway rejected the request: wrong_ip\. Fix: add the public address .*"IP-адреса клиента".*cabinet/,
    );
    expect(message((context) => new RtSmsAuthError(undefined, { ...context, httpStatus: 403 }))).toMatch(
      /^The gateway rejected the request: HTTP 403\. Fix: compare login and password .*"IP-адреса клиента"/,
    );
  });
});

describe('an error of another copy of the package', () => {
  const path = './rt-sms.errors.ts?another-copy';
  const load = async () => (await import(path)) as typeof errors;
  type Classes = Record<string, new (...args: never[]) => RtSmsError>;
  const classesOf = (copy: object) =>
    Object.entries(copy).filter(([name]) => /^RtSms\w*Error$/.test(name)) as [string, Classes[string]][];

  it('is an instance of exactly the same classes as in this copy', async () => {
    const copy = await load();
    const here = classesOf(errors);
    expect(here.length).toBeGreaterThan(10);
    for (const [name, There] of classesOf(copy)) {
      if (name === 'RtSmsError') continue;
      const theirs = Object.create(There.prototype) as object;
      const ours = Object.create(here.find(([one]) => one === name)![1].prototype) as object;
      expect(theirs.constructor).not.toBe(ours.constructor);
      const classes = here.filter(([, Class]) => theirs instanceof Class).map(([one]) => one);
      expect([name, classes]).toEqual([
        name,
        here.filter(([, Class]) => Object.prototype.isPrototypeOf.call(Class.prototype, ours)).map(([one]) => one),
      ]);
    }
    const error = new copy.RtSmsAuthError('wrong_ip', {});
    expect(
      [RtSmsError, RtSmsRejectedError, RtSmsAuthError, RtSmsNotFoundError].map((one) => error instanceof one),
    ).toEqual([true, true, true, false]);
    expect(isRtSmsError(error)).toBe(true);
  });

  it('is not an instance of a subclass in the application', async () => {
    class OwnError extends RtSmsRejectedError {}
    const copy = await load();
    expect(new copy.RtSmsRejectedError('x', {}) instanceof OwnError).toBe(false);
    expect(new RtSmsRejectedError('x', {}) instanceof OwnError).toBe(false);
    expect(new OwnError('x', {}) instanceof OwnError).toBe(true);
    expect(new OwnError('x', {}) instanceof copy.RtSmsRejectedError).toBe(true);
    expect(new OwnError('x', {}) instanceof copy.RtSmsAuthError).toBe(false);
  });
});

describe('isRtSmsError', () => {
  it.each<unknown>([
    undefined,
    null,
    'RT_SMS_AUTH',
    7,
    {},
    new Error('x'),
    Object.assign(new Error('x'), { code: 'RT_SMS_AUTH' }),
    { code: 'RT_SMS_AUTH', outcome: 'rejected' },
    { [Symbol.for('nestjs-rt-sms:class')]: 'RtSmsError' },
    { constructor: { [Symbol.for('nestjs-rt-sms:class')]: 'RtSmsError' } },
    { name: 'RtSmsError', constructor: { name: 'RtSmsError' } },
    () => undefined,
    RtSmsError,
  ])('is false for %p', (other) => expect(isRtSmsError(other)).toBe(false));
});

describe('an error in a store', () => {
  /** Texts of messages. Foreign parts have passed through `redact`. */
  const texts = fc.string({ unit: 'grapheme', maxLength: 400 }).map((text) => redact(text));
  const reasons = fc.constantFrom<string | undefined>(
    'wrong_ip',
    'system_error',
    'throttled',
    'unrecognised',
    undefined,
  );
  const contexts: fc.Arbitrary<RtSmsErrorContext> = fc.record(
    {
      operation: fc.constantFrom('send', 'status', 'wait'),
      attempts: fc.nat(100),
      durationMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      requestId: fc.constantFrom('694ddf2371d06907b1d72f60616adecd', 'req-1'),
      httpStatus: fc.integer({ min: 200, max: 599 }),
      cause: fc.constant(new Error('the socket was closed')),
    },
    { requiredKeys: ['operation'] },
  );
  const of = (make: (context: RtSmsErrorContext, text: string) => RtSmsError) =>
    fc.tuple(contexts, texts).map(([context, text]) => make({ ...context, account: 'otp' }, text));
  const outcomes = ['not_sent', 'unknown'] as const;
  const errorsOf: Record<string, fc.Arbitrary<RtSmsError>> = {
    RtSmsConfigError: fc.array(texts, { minLength: 1 }).map((problems) => new RtSmsConfigError(problems, 'otp')),
    RtSmsValidationError: fc
      .tuple(contexts, fc.array(texts, { minLength: 1 }))
      .map(([context, problems]) => new RtSmsValidationError(problems, { ...context, account: 'otp' })),
    RtSmsConnectionError: fc
      .boolean()
      .chain((permanent) => of((context, text) => new RtSmsConnectionError(text, permanent, context))),
    RtSmsOverloadedError: of((context, text) => new RtSmsOverloadedError(text, context)),
    RtSmsTimeoutError: fc
      .constantFrom(...outcomes)
      .chain((outcome) => of((context, text) => new RtSmsTimeoutError(text, outcome, context))),
    RtSmsAbortedError: fc
      .constantFrom(...outcomes)
      .chain((outcome) => of((context, text) => new RtSmsAbortedError(text, outcome, context))),
    RtSmsRejectedError: reasons.chain((reason) => of((context) => new RtSmsRejectedError(reason, context))),
    RtSmsAuthError: reasons.chain((reason) => of((context) => new RtSmsAuthError(reason, context))),
    RtSmsNotFoundError: of((context) => new RtSmsNotFoundError('transaction_not_found', context)),
    RtSmsUnexpectedResponseError: of((context, text) => new RtSmsUnexpectedResponseError(text, context)),
  };

  it.each(Object.keys(errorsOf))('%s is restored unchanged, also after several round trips', (name) => {
    fc.assert(
      fc.property(errorsOf[name]!, (error) => {
        let again = error;
        for (let times = 0; times < 3; times++)
          again = fromStored(JSON.parse(JSON.stringify(toStored(again))), error.account);
        expect(again.constructor).toBe(error.constructor);
        expect(again.name).toBe(name);
        expect(again.toJSON()).toEqual(error.toJSON());
        expect(Object.keys(again).toSorted()).toEqual(Object.keys(error).toSorted());
        expect(isRtSmsError(again)).toBe(true);
        expect(inspect(again)).toContain(name);
        expect(again.cause).toBeUndefined();
      }),
    );
  });

  const stored = { ...toStored(new RtSmsRejectedError('wrong_ip', { account: 'otp' })) };

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a text', 'RT_SMS_AUTH'],
    ['another code', { ...stored, code: 'RT_SMS_OTHER' }],
    ['a property of every object as a code', { ...stored, code: 'constructor' }],
    ['an outcome of another class', { ...stored, outcome: 'not_sent' }],
    ['a send without an outcome', { ...stored, outcome: undefined }],
    ['a status request with an outcome', { ...stored, operation: 'status' }],
    ['another operation', { ...stored, operation: 'delete' }],
    ['a message of another type', { ...stored, message: { text: 'x' } }],
    ['a retryable of another type', { ...stored, retryable: 'yes' }],
  ])('a value that is not an error of this package has an unknown outcome: %s', (_, value) => {
    const error = fromStored(value, 'otp');
    expect(error.constructor).toBe(RtSmsUnexpectedResponseError);
    expect(error).toMatchObject({ outcome: 'unknown', retryable: false, account: 'otp' });
    expect(error.message).toMatch(/the stored error cannot be read/);
  });

  it('a manipulated error contains no invalid fields and no personal data', () => {
    const error = fromStored(
      {
        ...stored,
        message: 'to 79270000001\u001B[31m\nnext',
        reason: 'spam_4711',
        requestId: '79270000001',
        attempts: -1,
        durationMs: 'x',
        httpStatus: 1.5,
        problems: 'x',
        secret: 'x',
      },
      'otp',
    );
    expect(error).toBeInstanceOf(RtSmsRejectedError);
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'RtSmsRejectedError',
      operation: 'send',
      account: 'otp',
      outcome: 'rejected',
      retryable: false,
      attempts: 0,
      durationMs: 0,
      code: 'RT_SMS_REJECTED',
      message: 'to 7927*****01 [31m\nnext',
      reason: 'unrecognised',
    });
  });

  it('a send with an unknown outcome is never retryable', () => {
    const timeout = toStored(new RtSmsTimeoutError('x', 'unknown', {}));
    expect(fromStored({ ...timeout, retryable: true }, 'otp').retryable).toBe(false);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(
        fc.anything({ withNullPrototype: true }),
        fc.anything({ withNullPrototype: true }),
        (value, field) => {
          expect(isRtSmsError(fromStored(value, 'otp'))).toBe(true);
          expect(isRtSmsError(fromStored({ ...stored, problems: [field], reason: field }, 'otp'))).toBe(true);
        },
      ),
    );
  });
});
