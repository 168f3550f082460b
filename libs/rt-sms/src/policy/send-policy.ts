import { randomUUID } from 'node:crypto';
import { countryOf } from '../message/msisdn.js';
import type { CheckedMessage, CheckedSmsMessage } from '../message/sms-message.js';
import type { EngineItem } from '../delivery/engine.js';
import type { SendVia } from '../options/policy-options.js';
import type { CallOptions } from '../gateway/call-options.js';
import { safeCause } from '../redact.js';
import { isRtSmsError, RtSmsAbortedError, RtSmsPolicyError, type RtSmsPolicyRule } from '../rt-sms.errors.js';
import { inWords } from './describe-policy.js';
import type { LimitCharge, LimitCounter, LimitRefusal, LimitStore } from './limit-store.js';
import type { ResolvedPolicy } from './resolve-policy.js';

/** Milliseconds that `beforeSend` may take. */
const HOOK_MS = 10_000;
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
    await this.check([message], via, options);
    const taken = await this.take([this.chargeOf(message, `${this.callPrefix}${this.calls++}`)], 'Nothing was sent');
    const passedMs = performance.now() - began;
    const timeoutMs = Math.max(1, (options.timeoutMs ?? this.host.sendMs) - passedMs);
    return this.counted(taken, () => send(passedMs < 1 ? options : { ...options, timeoutMs }));
  }

  /** Runs `enqueue` if the policy allows all messages. */
  async enqueue(items: readonly (EngineItem & CheckedSmsMessage)[], enqueue: () => Promise<void>): Promise<void> {
    await this.check(items, 'enqueue', {});
    const charges: LimitCharge[] = [];
    for (const item of items) {
      const isNamed = !item.hasGeneratedId;
      if (this.policy.limits.length > 0 && isNamed && (await this.host.isQueued?.(item.id))) continue;
      charges.push({ ...this.chargeOf(item, queuedId(item.id)), queueId: isNamed ? item.id : undefined });
    }
    const taken = await this.take(charges, 'Nothing was queued');
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

  private async check(items: readonly Item[], via: SendVia, options: CallOptions): Promise<void> {
    const { beforeSend } = this.policy;
    for (const [index, item] of items.entries()) {
      const [rule, why] = this.ruleAgainst(item) ?? [];
      if (rule) throw this.refused(rule, `${items.length > 1 ? `item ${index}: ` : ''}${why}`);
    }
    if (!beforeSend) return;
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
    let end: (why: unknown) => void = () => undefined;
    const ended = new Promise<never>((_, reject) => (end = reject));
    const timer = setTimeout(() => end(new Error(`no answer within ${limitMs / 1_000} s`)), limitMs);
    const abort = () => end(signal);
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    try {
      await Promise.race([ended, (async () => beforeSend(message, { account, via }))()]);
    } catch (error) {
      if (signal && error === signal) throw new RtSmsAbortedError(ABORTED, 'not_sent', { account });
      const cause = safeCause(error, [msisdn, text]);
      throw this.refused('beforeSend', 'beforeSend rejected the message', { cause });
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

  private async take(charges: LimitCharge[], nothing: string): Promise<string[]> {
    if (this.policy.limits.length === 0 || charges.length === 0) return [];
    const result = await this.host.limits.take(charges);
    if ('taken' in result) return result.taken;
    const { rule, retryAfterMs } = result.refusal;
    throw this.refused(rule, allowed(result.refusal), { retryAfterMs }, nothing);
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

function allowed({ rule, max, perMs, retryAfterMs }: LimitRefusal): string {
  const unit = rule === 'segmentsPerDay' ? 'segments' : 'messages';
  const retry = retryAfterMs === undefined ? 'these are more' : `retry after ${inWords(retryAfterMs)}`;
  return `${rule} allows ${max} ${unit} in ${inWords(perMs)}; ${retry}`;
}
