import { UNRECOGNISED } from './confidential.js';
import { isInstance, nameClasses } from './copies.js';

/** Outcomes of a failed `send`: it never left, the gateway rejected it, or it may have been sent. */
export const RT_SMS_OUTCOMES = ['not_sent', 'rejected', 'unknown'] as const;
/** Outcome of a failed `send`. */
export type RtSmsOutcome = (typeof RT_SMS_OUTCOMES)[number];

export const OPERATIONS = ['send', 'status', 'wait', 'config'] as const;
/** Operation that failed. */
export type RtSmsOperation = (typeof OPERATIONS)[number];

/** Reasons of the provider's table (§1.6.1). */
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

/** Facts about a failed operation. Every field is safe to log. */
export interface RtSmsErrorContext {
  /** Operation that failed. @default 'send' */
  operation?: RtSmsOperation;
  /** Name of the account. @default 'default' */
  account?: string;
  /** Number of requests made for this call. @default 0 */
  attempts?: number;
  /** Milliseconds from the call to its failure. @default 0 */
  durationMs?: number;
  /** The gateway's `x-request-id`. The provider's support needs it. */
  requestId?: string | undefined;
  /** HTTP status of the answer, if there was one. */
  httpStatus?: number | undefined;
  /** Original error, without secrets. */
  cause?: unknown;
}

/** End of the message of an error whose outcome is unknown. */
export const MAY_HAVE_BEEN_SENT = '. The message may have been sent: do not retry it automatically';

/**
 * Base class of all errors. `outcome` is the outcome of a failed `send`; `retryable` is true if the same call can be repeated
 * without sending twice. Neither the error nor its `cause` holds a password, a text or a full number.
 */
export abstract class RtSmsError extends Error {
  /** Stable code for `switch`. */
  abstract readonly code: string;
  /** Operation that failed. */
  readonly operation: RtSmsOperation;
  /** Name of the account, `'default'` without one. */
  readonly account: string;
  /** Outcome, only of operation `send`. */
  readonly outcome?: RtSmsOutcome;
  /** True if the same call can be repeated without sending twice. */
  readonly retryable: boolean;
  /** Number of requests made. */
  readonly attempts: number;
  /** Milliseconds from the call to the error. */
  readonly durationMs: number;
  /** The gateway's request id. The provider's support needs it. */
  readonly requestId?: string;
  /** HTTP status of the answer, if there was one. */
  readonly httpStatus?: number;

  protected constructor(message: string, outcome: RtSmsOutcome, retryable: boolean, context: RtSmsErrorContext) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = new.target.name;
    this.operation = context.operation ?? 'send';
    this.account = context.account ?? 'default';
    if (this.operation === 'send') this.outcome = outcome;
    // A message that may have been sent must never be retried. A status request can be.
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

  /** Fields for a log, without secrets, text and full numbers. */
  toJSON(): Record<string, unknown> {
    return { ...(this as object), code: this.code, message: this.message };
  }
}

/** True for an error of this package or of another copy of it, like `error instanceof RtSmsError`. */
export function isRtSmsError(error: unknown): error is RtSmsError {
  return error instanceof RtSmsError;
}

const list = (problems: readonly string[]) =>
  problems.length === 1 ? ` ${problems[0]}` : problems.map((problem) => `\n  - ${problem}`).join('');

/** The options of an account are invalid and the application does not start. `problems` lists all of them. */
export class RtSmsConfigError extends RtSmsError {
  readonly code = 'RT_SMS_CONFIG';

  constructor(
    /** One sentence for each problem: the option, the fault and the accepted values. */
    readonly problems: readonly string[],
    account = 'default',
  ) {
    super(`RtSmsModule (account '${account}') cannot start:${list(problems)}`, 'not_sent', false, {
      operation: 'config',
      account,
    });
  }
}

/** The message, a uid or an option of the call is invalid. No request was made. */
export class RtSmsValidationError extends RtSmsError {
  readonly code = 'RT_SMS_VALIDATION';

  constructor(
    /** One sentence for each problem: the field and the fault. */
    readonly problems: readonly string[],
    context: RtSmsErrorContext = {},
  ) {
    super(`Nothing was sent, the input is invalid:${list(problems)}`, 'not_sent', false, context);
  }
}

/** Rules of the send policy. */
export const RT_SMS_POLICY_RULES = [
  'onlyTo',
  'countries',
  'maxSegments',
  'perRecipient',
  'perPrefix',
  'segmentsPerDay',
  'beforeSend',
] as const;
/** A rule of the send policy. */
export type RtSmsPolicyRule = (typeof RT_SMS_POLICY_RULES)[number];

/**
 * The send policy of the account refused the message before any request. `cause` is what `beforeSend` threw. `retryable` is
 * false, also for a limit, because the same call is refused again until `retryAfterMs` has passed.
 */
export class RtSmsPolicyError extends RtSmsError {
  readonly code = 'RT_SMS_POLICY';
  /** Milliseconds until the message fits the limit. Absent for a rule that does not count, and if waiting does not help. */
  readonly retryAfterMs?: number;

  constructor(
    /** Rule that refused the message. */
    readonly rule: RtSmsPolicyRule,
    why: string,
    context: RtSmsErrorContext = {},
    retryAfterMs?: number,
    nothing = 'Nothing was sent',
  ) {
    super(`${nothing}, the send policy refused it: ${why}`, 'not_sent', false, context);
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }
}

/** The connection failed before the request left: DNS, refused, TLS, connect time-out, proxy. */
export class RtSmsConnectionError extends RtSmsError {
  readonly code = 'RT_SMS_CONNECTION';

  constructor(message: string, permanent: boolean, context: RtSmsErrorContext) {
    super(message, 'not_sent', !permanent, context);
  }
}

/** The queue for a connection or the engine is full, the engine's store is down, or the application is shutting down. */
export class RtSmsOverloadedError extends RtSmsError {
  readonly code = 'RT_SMS_OVERLOADED';

  constructor(message: string, context: RtSmsErrorContext) {
    super(message, 'not_sent', true, context);
  }
}

/** The deadline passed. The outcome is `not_sent` before the request left, `unknown` afterwards. */
export class RtSmsTimeoutError extends RtSmsError {
  readonly code = 'RT_SMS_TIMEOUT';

  constructor(message: string, outcome: 'not_sent' | 'unknown', context: RtSmsErrorContext) {
    super(message, outcome, true, context);
  }
}

/** The caller's `AbortSignal` fired. The outcome is `not_sent` before the request left, `unknown` afterwards. */
export class RtSmsAbortedError extends RtSmsError {
  readonly code = 'RT_SMS_ABORTED';

  constructor(message: string, outcome: 'not_sent' | 'unknown', context: RtSmsErrorContext) {
    super(message, outcome, true, context);
  }
}

const ADVICE: Record<RtSmsReason, string> = {
  invalid_request_body: 'report it with the request id; the gateway could not parse the request',
  invalid_field_msisdn: 'check the number; the gateway does not accept it',
  invalid_field_shortcode: 'use a sender name that is registered in the cabinet ("Имя отправителя")',
  invalid_source_address: "register this sender name for the recipient's operator in the cabinet",
  invalid_field_text: 'send a text that is not empty',
  system_error: 'retry it; the gateway has a fault and did not save the message',
  transaction_not_found: 'check the uid; the gateway has no such message yet, or it belongs to another login',
  auth_required: 'look for a proxy that removes the Authorization header; the gateway received no credentials',
  wrong_ip:
    'add the public address of this server to "IP-адреса клиента" of the HTTP connection in the cabinet (at most 15)',
  wrong_credentials:
    'compare login and password with the HTTP connection in the cabinet; in a .env file put a password with # or $ in single quotes',
};

function advice(reason: string | undefined): string {
  if (reason === UNRECOGNISED)
    return 'ask the provider, with the request id; the reason is not documented, and it is hidden because it may repeat parts of the request';
  if (reason === undefined) return `${ADVICE.wrong_credentials}; if they are correct, ${ADVICE.wrong_ip}`;
  const known = RT_SMS_REASONS.find((other) => other === reason);
  return known ? ADVICE[known] : 'see the table of errors in the documentation of the gateway';
}

/**
 * The gateway rejected the request (§1.6). `reason` is the gateway's own word: one of its table, or a newer one that shares
 * nothing with the request. Any other word is `unrecognised`.
 */
export class RtSmsRejectedError extends RtSmsError {
  readonly code: string = 'RT_SMS_REJECTED';
  /** The gateway's reason. Absent only if a 401 or 403 came without a readable one. */
  readonly reason?: RtSmsReason | (string & {});

  constructor(reason: string | undefined, context: RtSmsErrorContext, retryable = reason === 'system_error') {
    const what = reason ?? `HTTP ${context.httpStatus}`;
    super(`The gateway rejected the request: ${what}. Fix: ${advice(reason)}`, 'rejected', retryable, context);
    if (reason !== undefined) this.reason = reason;
  }
}

/** 401 or 403: the request was not processed (§1.5). A retry fails until login, password or IP list change. */
export class RtSmsAuthError extends RtSmsRejectedError {
  override readonly code = 'RT_SMS_AUTH';

  constructor(reason: string | undefined, context: RtSmsErrorContext) {
    super(reason, context, false);
  }
}

/** `transaction_not_found`: the uid is valid, but the gateway has no such message. */
export class RtSmsNotFoundError extends RtSmsRejectedError {
  override readonly code = 'RT_SMS_NOT_FOUND';
}

/** The request left, and the answer is missing or unusable: a lost connection, HTML, 5xx, a redirect, no uid. */
export class RtSmsUnexpectedResponseError extends RtSmsError {
  readonly code = 'RT_SMS_UNEXPECTED_RESPONSE';

  constructor(what: string, context: RtSmsErrorContext) {
    const { operation = 'send' } = context;
    const advice = operation === 'send' ? MAY_HAVE_BEEN_SENT : '';
    super(`The gateway's answer is unusable: ${what}${advice}`, 'unknown', true, context);
  }
}

nameClasses({
  RtSmsError,
  RtSmsConfigError,
  RtSmsValidationError,
  RtSmsPolicyError,
  RtSmsConnectionError,
  RtSmsOverloadedError,
  RtSmsTimeoutError,
  RtSmsAbortedError,
  RtSmsRejectedError,
  RtSmsAuthError,
  RtSmsNotFoundError,
  RtSmsUnexpectedResponseError,
});
