import { safeId, safeReason } from './confidential.js';
import { defined } from './defined.js';
import { redact } from './redact.js';
import {
  OPERATIONS,
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsConfigError,
  RtSmsConnectionError,
  RtSmsError,
  RtSmsNotFoundError,
  RtSmsOverloadedError,
  RtSmsPolicyError,
  RT_SMS_POLICY_RULES,
  RtSmsRejectedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  RtSmsValidationError,
  type RtSmsErrorContext,
  type RtSmsOperation,
  type RtSmsOutcome,
} from './rt-sms.errors.js';

/** An error as plain JSON for a store, without secrets, text and full numbers. */
export interface StoredError {
  /** Stable code, which identifies the class. */
  code: string;
  /** The message of the error. */
  message: string;
  /** Operation that failed. */
  operation: RtSmsOperation;
  /** Outcome, only of operation `send`. */
  outcome?: RtSmsOutcome;
  /** True if the same call can be repeated. */
  retryable: boolean;
  /** Number of requests made. */
  attempts: number;
  /** Milliseconds from the call to the error. */
  durationMs: number;
  /** The gateway's request id. */
  requestId?: string;
  /** HTTP status of the answer, if there was one. */
  httpStatus?: number;
  /** The gateway's reason of a rejection. */
  reason?: string;
  /** Rule of the send policy. */
  rule?: string;
  /** Milliseconds after which a limit of the send policy is free. */
  retryAfterMs?: number;
  /** Problems of an invalid message or of invalid options. */
  problems?: readonly string[];
}

/** Class and outcomes of each code. */
const STORABLE: Record<
  string,
  readonly [typeof RtSmsError | (new (...args: never[]) => RtSmsError), ...RtSmsOutcome[]]
> = {
  RT_SMS_CONFIG: [RtSmsConfigError, 'not_sent'],
  RT_SMS_VALIDATION: [RtSmsValidationError, 'not_sent'],
  RT_SMS_POLICY: [RtSmsPolicyError, 'not_sent'],
  RT_SMS_CONNECTION: [RtSmsConnectionError, 'not_sent'],
  RT_SMS_OVERLOADED: [RtSmsOverloadedError, 'not_sent'],
  RT_SMS_TIMEOUT: [RtSmsTimeoutError, 'not_sent', 'unknown'],
  RT_SMS_ABORTED: [RtSmsAbortedError, 'not_sent', 'unknown'],
  RT_SMS_REJECTED: [RtSmsRejectedError, 'rejected'],
  RT_SMS_AUTH: [RtSmsAuthError, 'rejected'],
  RT_SMS_NOT_FOUND: [RtSmsNotFoundError, 'rejected'],
  RT_SMS_UNEXPECTED_RESPONSE: [RtSmsUnexpectedResponseError, 'unknown'],
};
/** Longer than any line of a message of this package. */
const MAX_STORED_LINE = 2_000;
const MAX_STORED_LINES = 1_000;

/** Converts an error for a store. The cause is not stored. */
export function toStored(error: RtSmsError): StoredError {
  const { code, message, operation, outcome, retryable, attempts, durationMs, requestId, httpStatus } = error;
  const { reason, problems } = error as Partial<RtSmsRejectedError & RtSmsValidationError>;
  const { rule, retryAfterMs } = error as Partial<RtSmsPolicyError>;
  const facts = {
    operation,
    outcome,
    retryable,
    attempts,
    durationMs,
    requestId,
    httpStatus,
    reason,
    problems,
    rule,
    retryAfterMs,
  };
  return defined({ code, message, ...facts });
}

/**
 * Restores an error of `toStored` with its class, message and facts. A store is not trusted: anything that is not a valid
 * stored error becomes an `RtSmsUnexpectedResponseError` with the outcome `unknown`.
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
  // Constructed by the base class, because the constructor of the class would add its own words to the message again.
  const args = [safeLines(message), outcome ?? firstOutcome, retryable, context];
  const error = Reflect.construct(RtSmsError, args, Type) as RtSmsError;
  const reason = typeof fields.reason === 'string' ? safeReason(fields.reason, []) : undefined;
  const problems = Array.isArray(fields.problems)
    ? fields.problems.filter((problem) => typeof problem === 'string').map(safeLines)
    : undefined;
  const rule = RT_SMS_POLICY_RULES.find((each) => each === fields.rule);
  Object.assign(error, defined({ code, reason, problems, rule, retryAfterMs: readCount(fields.retryAfterMs) }));
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
