import { randomUUID } from 'node:crypto';
import { countryOf } from '../message/msisdn.js';
import type { CheckedMessage, CheckedSmsMessage } from '../message/sms-message.js';
import type { EngineItem } from '../delivery/engine.js';
import type { SendVia } from '../options/policy-options.js';
import type { CallOptions } from '../gateway/call-options.js';
import { safeCause } from '../redact.js';
import {
  isRtSmsError,
  RtSmsAbortedError,
  RtSmsPolicyError,
  RtSmsTimeoutError,
  type RtSmsPolicyRule,
} from '../rt-sms.errors.js';
import { inWords } from './describe-policy.js';
import type { LimitCharge, LimitCounter, LimitRefusal, LimitResult, LimitStore } from './limit-store.js';
import type { ResolvedPolicy } from './resolve-policy.js';

/** Milliseconds that `beforeSend` may take. */
const HOOK_MS = 10_000;
/** Milliseconds that `enqueue` waits for the counters, plus those for each further message. */
const QUEUE_MS = 5_000;
const QUEUE_EACH_MS = 1;
const ABORTED = "The caller's signal ended the call before anything was sent";
/** Calls of `beforeSend` at once. */
const HOOKS = 50;
const LINE_DIGITS = 4;

/** Services of the account that its send policy uses. */
export interface PolicyHost {
  readonly account: string;
  readonly limits: LimitStore;
  /** Deadline of a send in milliseconds, if the call has none of its own. */
  readonly sendMs: number;
  /** True for the id of a queued message that the engine has. Absent if `limits` looks for it. */
  readonly isQueued?: ((id: string) => Promise<boolean>) | undefined;
  onRefusal(rule: RtSmsPolicyRule): void;
}

type Item = CheckedSmsMessage & Partial<Pick<EngineItem, 'id' | 'hasGeneratedId'>>;

/** Applies the send policy of an account: each message is checked and counted before any I/O with the gateway. */
export class SendPolicy {
  private readonly callPrefix = `s${randomUUID()}:`;
  private calls = 0;

  constructor(
    private readonly policy: ResolvedPolicy,
    private readonly host: PolicyHost,
  ) {}

  /** Runs `send` if the policy allows the message, with the rest of the deadline. */
  async send<T>(
    message: CheckedSmsMessage,
    via: SendVia,
    options: CallOptions,
    send: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const began = performance.now();
    const { signal, timeoutMs: allMs = this.host.sendMs } = options;
    const restMs = () => allMs - (performance.now() - began);
    this.check([message]);
    if (this.policy.beforeSend) await this.askAll([message], via, { signal, timeoutMs: allMs });
    const charge = this.chargeOf(message, `${this.callPrefix}${this.calls++}`);
    const taking = this.take([charge], 'Nothing was sent', { signal, timeoutMs: Math.max(1, restMs()) });
    const taken = Array.isArray(taking) ? taking : await taking;
    return this.counted(taken, () => {
      const timeoutMs = restMs();
      // A request that starts at the deadline would end with an unknown outcome.
      if (timeoutMs < 1) throw this.late(allMs);
      return send(allMs - timeoutMs < 1 ? options : { ...options, timeoutMs });
    });
  }

  /** Runs `enqueue` if the policy allows all messages. */
  async enqueue(items: readonly (EngineItem & CheckedSmsMessage)[], enqueue: () => Promise<void>): Promise<void> {
    this.check(items);
    if (this.policy.beforeSend) await this.askAll(items, 'enqueue', {});
    const charges: LimitCharge[] = [];
    for (const item of items) {
      const isNamed = !item.hasGeneratedId;
      if (this.policy.limits.length > 0 && isNamed && (await this.host.isQueued?.(item.id))) continue;
      charges.push({ ...this.chargeOf(item, queuedId(item.id)), queueId: isNamed ? item.id : undefined });
    }
    const timeoutMs = QUEUE_MS + (charges.length - 1) * QUEUE_EACH_MS;
    const taken = await this.take(charges, 'Nothing was queued', { timeoutMs });
    // The record stays, because the message may still expire or be cancelled.
    await this.counted(taken, enqueue, false);
  }

  /** Gives back a queued message that certainly was not sent. */
  giveBackQueued(id: string): Promise<void> {
    return this.policy.limits.length > 0 ? this.host.limits.giveBack([queuedId(id)]) : Promise.resolve();
  }

  private async counted<T>(taken: string[], work: () => Promise<T>, isSettled = true): Promise<T> {
    try {
      const result = await work();
      if (isSettled && taken.length > 0) this.host.limits.settle?.(taken);
      return result;
    } catch (error) {
      if (taken.length > 0)
        if (isRtSmsError(error) && error.outcome === 'not_sent') await this.host.limits.giveBack(taken);
        else if (isSettled) this.host.limits.settle?.(taken);
      throw error;
    }
  }

  private check(items: readonly Item[]): void {
    for (const [index, item] of items.entries()) {
      const [rule, why] = this.ruleAgainst(item) ?? [];
      if (rule) throw this.refused(rule, `${items.length > 1 ? `item ${index}: ` : ''}${why}`);
    }
  }

  private async askAll(items: readonly Item[], via: SendVia, options: CallOptions): Promise<void> {
    const beforeSend = this.policy.beforeSend!;
    for (let begin = 0; begin < items.length; begin += HOOKS)
      await Promise.all(items.slice(begin, begin + HOOKS).map((item) => this.ask(beforeSend, item, via, options)));
  }

  private ruleAgainst({ msisdn, segments }: Item): [RtSmsPolicyRule, string] | undefined {
    const { onlyTo, countries, maxSegments } = this.policy;
    if (onlyTo && !onlyTo.some((start) => msisdn.startsWith(start)))
      return ['onlyTo', 'the recipient is not one of onlyTo'];
    const country = countries && countryOf(msisdn);
    if (countries && !countries.includes(country ?? ''))
      return ['countries', `the recipient's country (${country ?? 'none'}) is not one of ${countries.join(', ')}`];
    if (maxSegments !== undefined && segments > maxSegments)
      return ['maxSegments', `the text takes ${segments} segments, and maxSegments is ${maxSegments}`];
    return undefined;
  }

  private async ask(
    beforeSend: NonNullable<ResolvedPolicy['beforeSend']>,
    { msisdn, text, shortcode }: Item,
    via: SendVia,
    { signal, timeoutMs = HOOK_MS }: CallOptions,
  ): Promise<void> {
    const { account } = this.host;
    const limitMs = Math.min(HOOK_MS, timeoutMs);
    const message: CheckedMessage = { msisdn, text, shortcode };
    try {
      const late = () => new Error(`no answer within ${limitMs / 1_000} s`);
      await this.within({ signal, timeoutMs: limitMs }, (async () => beforeSend(message, { account, via }))(), late);
    } catch (error) {
      if (error instanceof RtSmsAbortedError && signal?.aborted) throw error;
      const cause = safeCause(error, [msisdn, text]);
      throw this.refused('beforeSend', 'beforeSend rejected the message', { cause });
    }
  }

  /** Waits for `work` for `timeoutMs`. @throws RtSmsAbortedError if the signal fires; what `late` returns after the time */
  private async within<T>({ signal, timeoutMs }: CallOptions, work: Promise<T>, late: () => Error): Promise<T> {
    let end: (why: Error) => void = () => undefined;
    const ended = new Promise<never>((_, reject) => (end = reject));
    const timer = setTimeout(() => end(late()), timeoutMs);
    const abort = () => end(new RtSmsAbortedError(ABORTED, 'not_sent', { account: this.host.account }));
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    try {
      return await Promise.race([ended, work]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  private chargeOf({ msisdn, segments }: Item, id: string): LimitCharge {
    const counters = this.policy.limits.map(({ rule, max, perMs }): LimitCounter => {
      if (rule === 'segmentsPerDay') return { rule, max, perMs, subject: '', cost: segments };
      return { rule, max, perMs, subject: rule === 'perPrefix' ? msisdn.slice(0, -LINE_DIGITS) : msisdn, cost: 1 };
    });
    return { id, counters };
  }

  /** Returns the ids that were counted, at once if the counters are in memory. */
  private take(charges: LimitCharge[], nothing: string, limits: CallOptions): string[] | Promise<string[]> {
    if (this.policy.limits.length === 0 || charges.length === 0) return [];
    let isWanted = true;
    const taking = this.host.limits.take(charges, () => isWanted);
    if (!('then' in taking)) return this.allowed(taking, nothing);
    const late = () => this.notCounted(nothing, limits.timeoutMs!);
    return this.within(limits, taking, late).then(
      (result) => this.allowed(result, nothing),
      (error: unknown) => {
        isWanted = false;
        void taking.then(
          (later) => ('taken' in later ? this.host.limits.giveBack(later.taken) : undefined),
          () => undefined,
        );
        throw error;
      },
    );
  }

  private allowed(result: LimitResult, nothing: string): string[] {
    if ('taken' in result) return result.taken;
    const { rule, retryAfterMs } = result.refusal;
    throw this.refused(rule, reasonOf(result.refusal), { retryAfterMs }, nothing);
  }

  private late(timeoutMs: number): RtSmsTimeoutError {
    const { account } = this.host;
    const message = `Nothing was sent: its deadline of ${inWords(timeoutMs)} passed while the send policy checked it`;
    return new RtSmsTimeoutError(message, 'not_sent', { account, durationMs: timeoutMs });
  }

  private notCounted(nothing: string, timeoutMs: number): RtSmsTimeoutError {
    return new RtSmsTimeoutError(
      `${nothing}: the limits of the send policy could not be counted within ${inWords(timeoutMs)}, because their store did not answer`,
      'not_sent',
      { account: this.host.account, durationMs: timeoutMs },
    );
  }

  private refused(
    rule: RtSmsPolicyRule,
    why: string,
    more: { cause?: Error; retryAfterMs?: number | undefined } = {},
    nothing?: string,
  ): RtSmsPolicyError {
    this.host.onRefusal(rule);
    const { account } = this.host;
    return new RtSmsPolicyError(rule, why, { account, cause: more.cause }, more.retryAfterMs, nothing);
  }
}

const queuedId = (id: string) => `q${id}`;

function reasonOf({ rule, max, perMs, retryAfterMs }: LimitRefusal): string {
  const unit = rule === 'segmentsPerDay' ? 'segments' : 'messages';
  const retry = retryAfterMs === undefined ? 'these are more' : `retry after ${inWords(retryAfterMs)}`;
  return `${rule} allows ${max} ${unit} in ${inWords(perMs)}; ${retry}`;
}
