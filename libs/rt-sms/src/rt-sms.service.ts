import { inspect } from 'node:util';
import type { BeforeApplicationShutdown, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type {
  EngineItem,
  EnqueueItemOptions,
  EnqueueOptions,
  QueuedSms,
  QueuedSmsState,
  SqlTransaction,
} from './delivery/engine.js';
import { sendAll, type SendResult } from './delivery/send-many.js';
import type { RtSmsStatusEvent } from './events/events.js';
import type { CallOptions } from './gateway/call-options.js';
import type { SmsStatusReport } from './gateway/wire.js';
import { hideFields } from './hide-fields.js';
import type { CheckedSmsMessage, SentSms, SmsMessage } from './message/sms-message.js';
import type { SendVia } from './options/policy-options.js';
import { RtSmsValidationError } from './rt-sms.errors.js';
import { InputValidator } from './validate-input.js';
import type { OpenUid } from './options/rt-sms.options.js';
import type { RtSmsAccount } from './rt-sms.account.js';
import type { RtSmsHealth } from './rt-sms.health.js';

/** Sends SMS through one account of the gateway and reports their delivery. */
export class RtSmsService implements OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown {
  /** Name of the account. */
  readonly account: string;
  private readonly input: InputValidator;

  /** @internal Created by `RtSmsModule`. */
  constructor(private readonly parts: RtSmsAccount) {
    const { account, shortcode, tracking } = parts.options;
    this.account = account;
    this.input = new InputValidator(account, shortcode, tracking && tracking.maxAgeMs);
    // A logger that receives the service must not print its options, because they hold the password.
    const shown = { value: () => `RtSmsService { account: '${account}' }` };
    Object.defineProperties(this, { [inspect.custom]: shown, toJSON: shown });
    hideFields(this, ['account']);
  }

  /** True if the engine keeps queued messages in a store, where they survive the end of the process. */
  get isDurable(): boolean {
    return this.parts.engine.tracker !== undefined;
  }

  /** The status events of this account as an Observable. An exception in a subscriber affects no other subscriber. */
  get statuses$(): Observable<RtSmsStatusEvent> {
    return this.parts.publisher.statuses$;
  }

  /**
   * Sends a message now (§2.1) and tracks it. Resolves once the gateway has accepted it.
   * @throws RtSmsPolicyError if the send policy refuses the message
   * @throws RtSmsError with `outcome`: `not_sent`, `rejected`, or `unknown` if the message may have been sent; do not retry
   * `unknown` automatically
   */
  async send(message: SmsMessage, options: CallOptions = {}): Promise<SentSms> {
    return this.sendVia('send', message, options);
  }

  private async sendVia(via: SendVia, message: SmsMessage, options: CallOptions): Promise<SentSms> {
    const { bootstrap, policy } = this.parts;
    const checked = this.input.message(message, options);
    bootstrap.onUse();
    const dueAt = performance.now() + (checked.overdueAfterMs ?? 0);
    if (!policy) return this.post(checked, options, dueAt);
    return policy.send(checked, via, options, (rest) => this.post(checked, rest, dueAt));
  }

  private async post(checked: CheckedSmsMessage, options: CallOptions, dueAt: number): Promise<SentSms> {
    const { gateway, tracker, pendingSends } = this.parts;
    const { msisdn, shortcode, segments, ref, overdueAfterMs: afterMs } = checked;
    const pending = pendingSends.begin();
    try {
      const { uid, attempts, requestId } = await gateway.send(checked, options);
      const overdue = afterMs && { afterMs, inMs: dueAt - performance.now() };
      await tracker.follow(uid, overdue ? { ref, overdue } : checked);
      return { uid, msisdn, shortcode, segments, attempts, ...(requestId === undefined ? {} : { requestId }) };
    } finally {
      pendingSends.end(pending);
    }
  }

  /**
   * Sends many messages, `concurrency` (default 10) at a time, and yields each result when it arrives. A failed message does
   * not stop the rest. At most `concurrency` messages are read from the source ahead of the consumer.
   * @throws RtSmsAuthError after the results in flight, if the gateway rejects login, password or address
   * @throws RtSmsAbortedError after the results in flight, if `signal` fires; RtSmsOverloadedError during shutdown; any error
   * of the source
   */
  sendMany(
    messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
    options: { concurrency?: number; signal?: AbortSignal } = {},
  ): AsyncIterable<SendResult> {
    const { ending } = this.parts;
    return sendAll(messages, (message) => this.sendVia('sendMany', message, {}), options, {
      ending,
      account: this.account,
    });
  }

  /**
   * Queues a message, which the engine sends as soon as it can. The outcome is exactly one event: accepted, refused,
   * outcome-unknown, expired or cancelled. With `tx` it is queued if and only if that transaction commits.
   * @throws RtSmsValidationError if the message or an option is invalid, the id belongs to a different message, or `tx` cannot
   * be used; the transaction is still usable
   * @throws RtSmsPolicyError if the send policy refuses the message
   * @throws RtSmsOverloadedError if the engine is full or its store is down; the message was not queued
   * @throws RtSmsTimeoutError with the outcome `unknown` if the store of the engine did not acknowledge the message
   */
  async enqueue(message: SmsMessage, options: EnqueueOptions = {}): Promise<QueuedSms> {
    const item = this.input.queued(message, options);
    await this.queue([item], options.tx);
    return { id: item.id };
  }

  /**
   * Queues many messages, all or none, with `tx` inside that transaction. An invalid one is named by its index.
   * @throws the errors of `enqueue`
   * @throws RtSmsTimeoutError with the outcome `unknown` also if another replica uses one of the ids for a different message at
   * the same time; the other messages are queued
   */
  async enqueueMany(
    items: Iterable<{ message: SmsMessage } & EnqueueItemOptions>,
    options: Pick<EnqueueOptions, 'tx'> = {},
  ): Promise<QueuedSms[]> {
    const checked = this.input.items(items, options);
    await this.queue(checked, options.tx);
    return checked.map(({ id }) => ({ id }));
  }

  private async queue(items: (EngineItem & CheckedSmsMessage)[], tx: SqlTransaction | undefined): Promise<void> {
    const { bootstrap, engine, policy } = this.parts;
    bootstrap.onUse();
    if (tx && !engine.enqueueIn)
      throw new RtSmsValidationError(
        [
          'tx: the engine of this account does not store its messages in PostgreSQL, so it cannot queue them inside a transaction. Fix: bullMq({ postgres }) with the database of the transaction',
        ],
        { account: this.account },
      );
    const enqueue = () => (tx ? engine.enqueueIn!(tx, items) : engine.enqueue(items));
    await (policy ? policy.enqueue(items, enqueue) : enqueue());
  }

  /** Returns the state of a queued message, or `undefined` for an id that is unknown or expired. */
  find(id: string): Promise<QueuedSmsState | undefined> {
    return this.parts.engine.find(id);
  }

  /** Cancels a queued message. True only if it will not be sent. */
  cancel(id: string): Promise<boolean> {
    return this.parts.engine.cancel(id);
  }

  /**
   * Requests the status of a message (§2.2). If the account tracks or has tracked the message, a new status is also emitted.
   * @throws RtSmsNotFoundError if the gateway does not find the uid; any other RtSmsError of operation `status`
   */
  async getStatus(uid: string, limits: CallOptions = {}): Promise<SmsStatusReport> {
    const { gateway, tracker, options } = this.parts;
    const valid = this.input.uid(uid, 'status');
    this.input.limits(limits, 'status');
    const report = await gateway.status(valid, limits);
    if (options.tracking && (tracker.follows(valid) || (await tracker.isKnown(valid))))
      await tracker.observe(report, 'poll', true);
    return report;
  }

  /** Tracks messages of an earlier run or of another process until their final status. */
  async track(uids: OpenUid | Iterable<OpenUid> | AsyncIterable<OpenUid>): Promise<void> {
    const { bootstrap, tracker } = this.parts;
    bootstrap.onUse();
    const one = typeof uids !== 'object' || uids === null || 'uid' in uids;
    for await (const item of one ? [uids] : uids) {
      const { uid, ...about } = this.input.open(item);
      await tracker.follow(uid, about);
    }
  }

  /**
   * Waits for the final status of a message, and starts to track it if it is not tracked yet.
   * @throws RtSmsTimeoutError of operation `wait` after `timeoutMs`, or when tracking ends (`tracking.maxAgeMs`)
   */
  async waitForFinal(uid: string, options: CallOptions = {}): Promise<RtSmsStatusEvent> {
    const { bootstrap, waiters, tracker } = this.parts;
    const valid = this.input.uid(uid, 'wait');
    this.input.limits(options, 'wait');
    bootstrap.onUse();
    return waiters.wait(valid, options, (...query) => tracker.findFinal(...query));
  }

  /**
   * Takes a callback (§3.1) from a controller of your own (`callbackPath: false`). Returns `refused` for a wrong secret or a
   * sender outside `allowFrom`: answer that like an unknown route. Answer `accepted` with 200 without delay.
   * @throws RtSmsValidationError if `request` has another key than `secret` and `ip`
   */
  async handleCallback(
    query: Record<string, unknown>,
    request: { secret?: string | undefined; ip?: string | undefined } = {},
  ): Promise<'accepted' | 'refused'> {
    this.input.callback(request);
    return this.parts.callbacks.receive(query, request);
  }

  /**
   * Requests the status of a message that cannot exist, which is free of charge and tests address, login and IP list. The
   * result is cached for 30 s. Use it for readiness, not liveness, because a restart fixes nothing here. Never throws.
   */
  checkHealth(): Promise<RtSmsHealth> {
    return this.parts.health.check();
  }

  /** Called by Nest: lets the engine check whether it can work. */
  onModuleInit(): Promise<void> {
    return this.parts.prepare();
  }

  /** Called by Nest: starts nothing new and lets everything in flight finish. */
  beforeApplicationShutdown(): Promise<void> {
    return this.parts.stop();
  }

  /** Called by Nest: closes the connections. */
  onApplicationShutdown(): Promise<void> {
    return this.parts.close();
  }
}
