import { randomUUID } from 'node:crypto';
import { defined } from './defined.js';
import { SMS_PRIORITIES, type EngineItem, type EnqueueItemOptions, type EnqueueOptions } from './delivery/engine.js';
import { isIterable } from './delivery/send-many.js';
import type { CallOptions } from './gateway/call-options.js';
import { misspeltKeys, unknownKeys } from './unknown-keys.js';
import { checkMessage, type CheckedSmsMessage, type SmsMessage } from './message/sms-message.js';
import { readUid } from './message/status.js';
import { RtSmsValidationError, type RtSmsErrorContext } from './rt-sms.errors.js';
import { isObject, MAX_TIMER_MS } from './options/option-rules.js';
import type { OpenUid } from './options/rt-sms.options.js';

type Operation = RtSmsErrorContext['operation'];

/** Keys that the options of each call accept. */
const CALL_OPTIONS = ['signal', 'timeoutMs'];
const ITEM_OPTIONS = ['id', 'delayMs', 'expiresAt', 'priority'];
const ENQUEUE_OPTIONS = [...ITEM_OPTIONS, 'tx'];
const ENQUEUE_MANY_OPTIONS = ['tx'];
const OPEN_UID = ['uid', 'sentAt', 'ref'];
const CALLBACK_REQUEST = ['secret', 'ip'];

const TX_PROBLEM =
  'tx must have a function query(sql, values): a client of pg, or what fromTypeOrm, fromKnex, fromDrizzle or fromPrisma of nestjs-rt-sms-bullmq return';
const transactionProblems = (tx: EnqueueOptions['tx']): string[] =>
  tx === undefined || typeof (tx as { query?: unknown } | null)?.query === 'function' ? [] : [TX_PROBLEM];

/**
 * Checks the input of an account's callers before any I/O. Each check throws one RtSmsValidationError with all problems.
 */
export class InputValidator {
  constructor(
    private readonly account: string,
    private readonly shortcode: string | undefined,
    /** `tracking.maxAgeMs`; `false` without tracking. */
    private readonly maxAgeMs?: number | false,
  ) {}

  message(message: SmsMessage, limits: CallOptions): CheckedSmsMessage {
    const checked = checkMessage(message, this.shortcode, this.maxAgeMs);
    if ('problems' in checked) return this.reject(checked.problems);
    this.limits(limits, 'send');
    return checked;
  }

  /** Checks the message of `enqueue` and its options. */
  queued(message: SmsMessage, options: EnqueueOptions): EngineItem & CheckedSmsMessage {
    const checked = this.item(message, options, 'options', ENQUEUE_OPTIONS);
    const problems = isObject(options) ? transactionProblems(options.tx) : [];
    if (Array.isArray(checked)) return this.reject([...checked, ...problems]);
    return problems.length > 0 ? this.reject(problems) : checked;
  }

  /** Checks the items of `enqueueMany`, each of which holds a message and its options, and the options of the call. */
  items(
    items: Iterable<{ message: SmsMessage } & EnqueueItemOptions>,
    options: Pick<EnqueueOptions, 'tx'> = {},
  ): (EngineItem & CheckedSmsMessage)[] {
    if (!isIterable(items)) return this.reject(['items must be an array or another iterable']);
    if (!isObject(options)) return this.reject(['options must be an object']);
    const results = Array.from(items, (item) => {
      if (!isObject(item)) return ['an item must be an object with a message'];
      const { message, ...options } = item;
      return this.item(message, options, 'it', ITEM_OPTIONS);
    });
    const place = (index: number) => (results.length > 1 ? `item ${index}: ` : '');
    const checked: (EngineItem & CheckedSmsMessage)[] = [];
    const problems = [...unknownKeys(options, ENQUEUE_MANY_OPTIONS), ...transactionProblems(options.tx)];
    for (const [index, result] of results.entries()) {
      if (Array.isArray(result)) problems.push(...result.map((problem) => place(index) + problem));
      else checked.push(result);
    }
    return problems.length > 0 ? this.reject(problems) : checked;
  }

  /** Checks an item of `track`: a uid, or an object with one. */
  open(item: OpenUid): { uid: string; sentAt?: Date; ref?: string } {
    const { uid, ...rest } = isObject(item) ? item : { uid: item };
    const checked = this.uid(uid, 'status');
    const problems = isObject(item) ? misspeltKeys(item, OPEN_UID, checked) : [];
    return problems.length > 0 ? this.reject(problems, 'status') : { uid: checked, ...rest };
  }

  /** Checks the `request` of `handleCallback`. */
  callback(request: { secret?: string | undefined; ip?: string | undefined }): void {
    const problems = isObject(request)
      ? unknownKeys(request, CALLBACK_REQUEST, 'request')
      : ['request must be an object'];
    if (problems.length > 0) this.reject(problems, 'status');
  }

  uid(uid: string, operation: Operation): string {
    const problem = 'uid must be a uid of the gateway, such as message-id-VvkmLHkfhCX9';
    return readUid(uid) ?? this.reject([problem], operation);
  }

  limits(limits: CallOptions, operation: Operation): void {
    const problems: string[] = [];
    const { timeoutMs, signal } = isObject(limits) ? limits : {};
    if (!isObject(limits)) problems.push('options must be an object');
    else problems.push(...unknownKeys(limits, CALL_OPTIONS));
    if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS))
      problems.push(`timeoutMs must be a number of milliseconds from 1 to ${MAX_TIMER_MS}`);
    if (signal !== undefined && !(signal instanceof AbortSignal)) problems.push('signal must be an AbortSignal');
    if (problems.length > 0) this.reject(problems, operation);
  }

  private item(
    message: SmsMessage,
    options: EnqueueItemOptions,
    what: string,
    known: readonly string[],
  ): (EngineItem & CheckedSmsMessage) | string[] {
    const checked = checkMessage(message, this.shortcode, this.maxAgeMs);
    const problems = 'problems' in checked ? checked.problems : [];
    if (!isObject(options)) return [...problems, 'options must be an object'];
    problems.push(...unknownKeys(options, known, what));
    const { id = randomUUID(), delayMs = 0, expiresAt, priority = 'normal' } = options;
    if (typeof id !== 'string' || id.length < 1 || id.length > 128)
      problems.push('id must be a string of 1 to 128 characters');
    if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs <= 31_536_000_000))
      problems.push('delayMs must be a number of milliseconds from 0 to 31536000000 (one year)');
    if (expiresAt !== undefined && !(expiresAt instanceof Date && !Number.isNaN(expiresAt.getTime())))
      problems.push('expiresAt must be a valid Date');
    if (!SMS_PRIORITIES.includes(priority)) problems.push(`priority must be one of ${SMS_PRIORITIES.join(', ')}`);
    if ('problems' in checked || problems.length > 0) return problems;
    const hasGeneratedId = options.id === undefined ? true : undefined;
    const times = { notBefore: Date.now() + delayMs, expiresAt: expiresAt?.getTime() };
    return defined({ id, hasGeneratedId, ...checked, ...times, priority });
  }

  private reject(problems: string[], operation: Operation = 'send'): never {
    throw new RtSmsValidationError(problems, { operation, account: this.account });
  }
}
