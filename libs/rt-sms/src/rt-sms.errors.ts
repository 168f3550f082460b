import { safeId, safeReason, UNRECOGNISED } from './confidential.js';
import { defined } from './defined.js';
import { redact } from './redact.js';
import { isInstance, nameClasses } from './copies.js';

/** What became of a message whose `send` failed: it never left, the gateway said no, or nobody can know. */
export const RT_SMS_OUTCOMES = ['not_sent', 'rejected', 'unknown'] as const;
/** What became of a send that failed. */
export type RtSmsOutcome = (typeof RT_SMS_OUTCOMES)[number];

const OPERATIONS = ['send', 'status', 'wait', 'config'] as const;
/** What was being done. */
export type RtSmsOperation = (typeof OPERATIONS)[number];

/** The reasons of the provider's table (§1.6.1). */
export const RT_SMS_REASONS = [
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
/** A reason of the gateway (§1.6.1). */
export type RtSmsReason = (typeof RT_SMS_REASONS)[number];

/** Where and how an operation failed; every field of it is safe to log. */
export interface RtSmsErrorContext {
  /** What was being done. @default 'send' */
  operation?: RtSmsOperation;
  /** The account's name. @default 'default' */
  account?: string;
  /** Requests that were made for this call; 0 if none was. */
  attempts?: number;
  /** From the call to its failure, in milliseconds. */
  durationMs?: number;
  /** The gateway's `x-request-id`: what its support asks for. */
  requestId?: string | undefined;
  /** Of the answer, if there was one. */
  httpStatus?: number | undefined;
  /** What it came of; with no secrets in it. */
  cause?: unknown;
}

/** Ends the message of an error where nobody can know whether the SMS went out. */
export const MAY_HAVE_BEEN_SENT = '. The message may have been sent: do not repeat it blindly';

/**
 * The base of every failure. Of a `send`, `outcome` says what became of the message; `retryable` says that the same call
 * may be repeated and cannot send twice. Neither the error nor its `cause` holds a password, a text or a full number.
 */
export abstract class RtSmsError extends Error {
  /** Stable: switch on it. */
  abstract readonly code: string;
  /** What was being done. */
  readonly operation: RtSmsOperation;
  /** The account's name, `'default'` without one. */
  readonly account: string;
  /** Only of a failed `send`. */
  readonly outcome?: RtSmsOutcome;
  /** The same call may be repeated, and cannot send twice. */
  readonly retryable: boolean;
  /** Requests made. */
  readonly attempts: number;
  /** From the call to the error, in milliseconds. */
  readonly durationMs: number;
  /** The gateway's: what the provider's support asks for. */
  readonly requestId?: string;
  /** Of the answer, if there was one. */
  readonly httpStatus?: number;

  protected constructor(message: string, outcome: RtSmsOutcome, retryable: boolean, context: RtSmsErrorContext) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = new.target.name;
    this.operation = context.operation ?? 'send';
    this.account = context.account ?? 'default';
    if (this.operation === 'send') this.outcome = outcome;
    // What may have been sent is never to be repeated, whatever went wrong; a question may be.
    this.retryable = retryable && this.outcome !== 'unknown';
    this.attempts = context.attempts ?? 0;
    this.durationMs = Math.round(context.durationMs ?? 0);
    if (context.requestId !== undefined) this.requestId = context.requestId;
    if (context.httpStatus !== undefined) this.httpStatus = context.httpStatus;
  }

  /** @internal `instanceof` works across copies of the package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, value);
  }

  /** What a log may hold: no secret, text or full number. */
  toJSON(): Record<string, unknown> {
    return { ...(this as object), code: this.code, message: this.message };
  }
}

/** True for an error of this package, also of another copy of it, as `error instanceof RtSmsError` is. */
export function isRtSmsError(error: unknown): error is RtSmsError {
  return error instanceof RtSmsError;
}

const list = (problems: readonly string[]) =>
  problems.length === 1 ? ` ${problems[0]}` : problems.map((problem) => `\n  - ${problem}`).join('');

/** The options of an account are wrong; the application does not start. `problems` lists all of them. */
export class RtSmsConfigError extends RtSmsError {
  readonly code = 'RT_SMS_CONFIG';

  constructor(
    /** Each names an option, what is wrong and what is accepted. */
    readonly problems: readonly string[],
    account = 'default',
  ) {
    super(`RtSmsModule (account '${account}') cannot start:${list(problems)}`, 'not_sent', false, {
      operation: 'config',
      account,
    });
  }
}

/** The message, uid or an argument is wrong; nothing was asked of the gateway. */
export class RtSmsValidationError extends RtSmsError {
  readonly code = 'RT_SMS_VALIDATION';

  constructor(
    /** Each names a field and what is wrong with it. */
    readonly problems: readonly string[],
    context: RtSmsErrorContext = {},
  ) {
    super(`Nothing was sent, the input is wrong:${list(problems)}`, 'not_sent', false, context);
  }
}

/** Failed before the request left: DNS, refused, TLS, connect time-out, proxy. */
export class RtSmsConnectionError extends RtSmsError {
  readonly code = 'RT_SMS_CONNECTION';

  constructor(message: string, permanent: boolean, context: RtSmsErrorContext) {
    super(message, 'not_sent', !permanent, context);
  }
}

/** No room: the queue for a connection or the engine is full, the engine's store is down, or the application is ending. */
export class RtSmsOverloadedError extends RtSmsError {
  readonly code = 'RT_SMS_OVERLOADED';

  constructor(message: string, context: RtSmsErrorContext) {
    super(message, 'not_sent', true, context);
  }
}

/** The deadline passed. The outcome depends on whether the request had left by then. */
export class RtSmsTimeoutError extends RtSmsError {
  readonly code = 'RT_SMS_TIMEOUT';

  constructor(message: string, outcome: 'not_sent' | 'unknown', context: RtSmsErrorContext) {
    super(message, outcome, true, context);
  }
}

/** The caller's `AbortSignal` fired. The outcome depends on whether the request had left by then. */
export class RtSmsAbortedError extends RtSmsError {
  readonly code = 'RT_SMS_ABORTED';

  constructor(message: string, outcome: 'not_sent' | 'unknown', context: RtSmsErrorContext) {
    super(message, outcome, true, context);
  }
}

const ADVICE: Record<RtSmsReason, string> = {
  invalid_request_body: 'the gateway could not read the request; report it with the request id',
  invalid_field_msisdn: 'the gateway does not take this number; check it',
  invalid_field_shortcode: 'use a sender name that is agreed in the cabinet ("Имя отправителя")',
  invalid_source_address: "the recipient's operator is not agreed for this sender name; agree it in the cabinet",
  invalid_field_text: 'the text is empty for the gateway',
  system_error: 'a fault of the gateway, the message was not saved; it may be sent again',
  transaction_not_found: 'no message has this uid (yet), or it belongs to another login',
  auth_required: 'no credentials arrived: is there a proxy that removes the Authorization header?',
  wrong_ip:
    'add the address that this server is seen from to "IP-адреса клиента" of the HTTP connection in the cabinet (at most 15)',
  wrong_credentials:
    'check login and password against the HTTP connection in the cabinet; in a .env file a password with # or $ has to stand in single quotes',
};

function advice(reason: string | undefined): string {
  if (reason === UNRECOGNISED)
    return 'the reason is not in the document and may repeat parts of the request, so it is not shown; ask the provider, with the request id';
  if (reason === undefined) return `${ADVICE.wrong_credentials}; if they are right, ${ADVICE.wrong_ip}`;
  const known = RT_SMS_REASONS.find((other) => other === reason);
  return known ? ADVICE[known] : 'see the table of errors in the documentation of the gateway';
}

/**
 * The gateway answered, and said no (§1.6). `reason` is the gateway's own word: one of its table, or a newer one that shares
 * nothing with the request. Any other is `unrecognised`.
 */
export class RtSmsRejectedError extends RtSmsError {
  readonly code: string = 'RT_SMS_REJECTED';
  /** Absent only where a 401 or 403 came without a readable one. */
  readonly reason?: RtSmsReason | (string & {});

  constructor(reason: string | undefined, context: RtSmsErrorContext, retryable = reason === 'system_error') {
    const what = reason ?? `HTTP ${context.httpStatus}`;
    super(`The gateway refused the request: ${what}. To mend it: ${advice(reason)}`, 'rejected', retryable, context);
    if (reason !== undefined) this.reason = reason;
  }
}

/** 401 or 403: the request was not processed (§1.5). Repeating it changes nothing until login, password or IP list do. */
export class RtSmsAuthError extends RtSmsRejectedError {
  override readonly code = 'RT_SMS_AUTH';

  constructor(reason: string | undefined, context: RtSmsErrorContext) {
    super(reason, context, false);
  }
}

/** `transaction_not_found`: the uid is well formed, but the gateway has no such message. */
export class RtSmsNotFoundError extends RtSmsRejectedError {
  override readonly code = 'RT_SMS_NOT_FOUND';
}

/** The request left, and what came back says nothing certain: a lost connection, HTML, 5xx, a redirect, no uid. */
export class RtSmsUnexpectedResponseError extends RtSmsError {
  readonly code = 'RT_SMS_UNEXPECTED_RESPONSE';

  constructor(what: string, context: RtSmsErrorContext) {
    const { operation = 'send' } = context;
    const advice = operation === 'send' ? MAY_HAVE_BEEN_SENT : '';
    super(`The gateway's answer cannot be relied on: ${what}${advice}`, 'unknown', true, context);
  }
}

nameClasses({
  RtSmsError,
  RtSmsConfigError,
  RtSmsValidationError,
  RtSmsConnectionError,
  RtSmsOverloadedError,
  RtSmsTimeoutError,
  RtSmsAbortedError,
  RtSmsRejectedError,
  RtSmsAuthError,
  RtSmsNotFoundError,
  RtSmsUnexpectedResponseError,
});

/** An error as a store keeps it: plain JSON, and as safe as a log. */
export interface StoredError {
  /** The stable code, which stands for the class. */
  code: string;
  /** The message of the error. */
  message: string;
  /** What was being done. */
  operation: RtSmsOperation;
  /** Only of a failed `send`. */
  outcome?: RtSmsOutcome;
  /** The same call may be repeated. */
  retryable: boolean;
  /** Requests made. */
  attempts: number;
  /** From the call to the error, in milliseconds. */
  durationMs: number;
  /** The gateway's. */
  requestId?: string;
  /** Of the answer, if there was one. */
  httpStatus?: number;
  /** Of a rejection. */
  reason?: string;
  /** Of a wrong message, or of wrong options. */
  problems?: readonly string[];
}

/** Class and outcomes of each code. */
const STORABLE: Record<
  string,
  readonly [typeof RtSmsError | (new (...args: never[]) => RtSmsError), ...RtSmsOutcome[]]
> = {
  RT_SMS_CONFIG: [RtSmsConfigError, 'not_sent'],
  RT_SMS_VALIDATION: [RtSmsValidationError, 'not_sent'],
  RT_SMS_CONNECTION: [RtSmsConnectionError, 'not_sent'],
  RT_SMS_OVERLOADED: [RtSmsOverloadedError, 'not_sent'],
  RT_SMS_TIMEOUT: [RtSmsTimeoutError, 'not_sent', 'unknown'],
  RT_SMS_ABORTED: [RtSmsAbortedError, 'not_sent', 'unknown'],
  RT_SMS_REJECTED: [RtSmsRejectedError, 'rejected'],
  RT_SMS_AUTH: [RtSmsAuthError, 'rejected'],
  RT_SMS_NOT_FOUND: [RtSmsNotFoundError, 'rejected'],
  RT_SMS_UNEXPECTED_RESPONSE: [RtSmsUnexpectedResponseError, 'unknown'],
};
/** Longer than any message of this package, so that nothing of one is lost. */
const MAX_STORED_LINE = 2_000;
const MAX_STORED_LINES = 1_000;

/** What a store keeps of an error, for `fromStored`. The cause is not kept. */
export function toStored(error: RtSmsError): StoredError {
  const { code, message, operation, outcome, retryable, attempts, durationMs, requestId, httpStatus } = error;
  const { reason, problems } = error as Partial<RtSmsRejectedError & RtSmsValidationError>;
  const facts = { operation, outcome, retryable, attempts, durationMs, requestId, httpStatus, reason, problems };
  return defined({ code, message, ...facts });
}

/**
 * The error that `toStored` was given: the same class, message and facts. A store is not trusted: what cannot be such an
 * error becomes an `RtSmsUnexpectedResponseError`, whose outcome is `unknown`.
 */
export function fromStored(stored: unknown, account: string): RtSmsError {
  const fields = (typeof stored === 'object' && stored !== null ? stored : {}) as Record<keyof StoredError, unknown>;
  const { code, message, operation, outcome, retryable } = fields;
  const known = typeof code === 'string' && Object.hasOwn(STORABLE, code) ? STORABLE[code] : undefined;
  const isRead =
    typeof message === 'string' &&
    typeof retryable === 'boolean' &&
    isOneOf(OPERATIONS, operation) &&
    (operation === 'send' ? known?.includes(outcome as RtSmsOutcome) : outcome === undefined);
  if (!known || !isRead) return new RtSmsUnexpectedResponseError('the stored error cannot be read', { account });
  const [Type, firstOutcome] = known;
  const context: RtSmsErrorContext = {
    operation,
    account,
    attempts: readCount(fields.attempts) ?? 0,
    durationMs: readCount(fields.durationMs) ?? 0,
    requestId: typeof fields.requestId === 'string' ? safeId(fields.requestId, []) : undefined,
    httpStatus: readCount(fields.httpStatus),
  };
  // Not by its own constructor, which would put its words around the message once more.
  const args = [safeLines(message), outcome ?? firstOutcome, retryable, context];
  const error = Reflect.construct(RtSmsError, args, Type) as RtSmsError;
  const reason = typeof fields.reason === 'string' ? safeReason(fields.reason, []) : undefined;
  const problems = Array.isArray(fields.problems)
    ? fields.problems.filter((problem) => typeof problem === 'string').map(safeLines)
    : undefined;
  Object.assign(error, defined({ code, reason, problems }));
  error.stack = `${error.name}: ${error.message}`;
  return error;
}

const isOneOf = <T>(list: readonly T[], value: unknown): value is T => list.includes(value as T);
const readCount = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
const safeLines = (text: string): string =>
  text
    .split('\n', MAX_STORED_LINES)
    .map((line) => redact(line, [], MAX_STORED_LINE))
    .join('\n');
