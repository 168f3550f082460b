/** @module nestjs-rt-sms/testing */
import type {
  BeforeApplicationShutdown,
  OnApplicationShutdown,
  OnModuleInit,
  OptionalFactoryDependency,
  Provider,
} from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { Subject } from 'rxjs';
import { InputValidator } from '../validate-input.js';
import { defined } from '../defined.js';
import { applyReport, statusEvent, type DeliveryState } from '../delivery/delivery-state.js';
import { FinalStatusWaiters } from '../delivery/final-status-waiters.js';
import { RtSmsEvents, type RtSmsOverdueEvent, type RtSmsStatusEvent } from '../events/events.js';
import type { CallOptions } from '../gateway/call-options.js';
import type { CheckedSmsMessage, SentSms, SmsMessage } from '../message/sms-message.js';
import type { SmsStatus } from '../message/status.js';
import { RtSmsAbortedError, RtSmsNotFoundError, RtSmsValidationError } from '../rt-sms.errors.js';
import type { RtSmsHealth } from '../rt-sms.health.js';
import { RtSmsService } from '../rt-sms.service.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';
import { TRACKING } from '../options/resolve-options.js';
import { DEFAULT_ACCOUNT, type OpenUid } from '../options/rt-sms.options.js';
import {
  idTaken,
  type EnqueueItemOptions,
  type EnqueueOptions,
  type QueuedSms,
  type QueuedSmsState,
} from '../delivery/engine.js';
import { sendAll, type SendResult } from '../delivery/send-many.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import type { RtSmsPolicy, SendVia } from '../options/policy-options.js';
import type { SendPolicy } from '../policy/send-policy.js';
import { recorderPolicy } from './recorder-policy.js';

const EMITTER: OptionalFactoryDependency = { token: EventEmitter2, optional: true };

type Items = ReturnType<InputValidator['items']>;
type LifeCycle = OnModuleInit & BeforeApplicationShutdown & OnApplicationShutdown;

/** A message that the recorder has recorded. `queueId` is the id of an enqueued message. */
export type RecordedSms = SentSms & { text: string; ref?: string; overdueAfterMs?: number; queueId?: string };

/**
 * Replacement for `RtSmsService` in unit tests. It validates messages as the service does, records them and sends nothing.
 *
 * ```ts
 * const sms = new RtSmsRecorder();
 * const module = await Test.createTestingModule({ providers: [OrdersService, ...sms.providers] }).compile();
 * await module.get(OrdersService).ship(order);
 * expect(sms.sent).toMatchObject([{ msisdn: '79270000001', text: 'Ваш заказ в пути' }]);
 * ```
 */
export class RtSmsRecorder implements Omit<RtSmsService, keyof LifeCycle> {
  /** Messages that were sent or enqueued, in order. */
  readonly sent: RecordedSms[] = [];
  /** Uids that were passed to `track`. */
  readonly tracked: string[] = [];
  /** Name of the account that the recorder replaces. */
  readonly account: string;
  /** Value of `RtSmsService.isDurable`. Set it to test code that depends on a durable engine. @default false */
  isDurable = false;
  /** Providers for a testing module: the tokens of the service, resolved to this recorder. */
  readonly providers: Provider[];
  /**
   * Factory that replaces the account in a complete application:
   * `Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getRtSmsToken()).useFactory(sms.override)`.
   */
  readonly override: { factory: (emitter?: EventEmitter2) => RtSmsRecorder; inject: OptionalFactoryDependency[] };
  private readonly subject = new Subject<RtSmsStatusEvent>();
  /** Statuses that `emitStatus` has emitted. */
  readonly statuses$ = this.subject.asObservable();
  private readonly statuses = new Map<string, RtSmsStatusEvent>();
  private readonly failures: Error[] = [];
  /** Uids of which `emitOverdue` has emitted the event. */
  private readonly overdue = new Set<string>();
  private readonly states = new Map<string, QueuedSmsState>();
  private emitter: EventEmitter2 | undefined;
  private readonly deliveries = new Map<string, DeliveryState>();
  private readonly input: InputValidator;
  private readonly waiters: FinalStatusWaiters;
  private readonly policy: SendPolicy | undefined;

  /**
   * With `policy` the recorder applies this send policy, with counters in memory: refused messages fail with
   * `RtSmsPolicyError` and are not recorded. Without it nothing is limited.
   * @throws RtSmsConfigError if the policy is invalid
   */
  constructor({
    account = DEFAULT_ACCOUNT,
    shortcode = 'TEST',
    policy,
  }: { account?: string; shortcode?: string; policy?: RtSmsPolicy } = {}) {
    this.account = account;
    this.policy = recorderPolicy(policy, account, (id) => this.states.has(id));
    this.input = new InputValidator(account, shortcode, TRACKING.maxAgeMs);
    this.waiters = new FinalStatusWaiters(account, Infinity);
    const token = getRtSmsToken(account);
    const factory = (emitter?: EventEmitter2) => {
      this.emitter = emitter;
      return this;
    };
    this.override = { factory, inject: [EMITTER] };
    this.providers = [
      { provide: token, inject: [EMITTER], useFactory: factory },
      ...(account === DEFAULT_ACCOUNT ? [{ provide: RtSmsService, useExisting: token }] : []),
    ];
  }

  /** Makes the next `send` or `enqueue` fail with this error. */
  failNext(error: Error): this {
    this.failures.push(error);
    return this;
  }

  /**
   * Emits a status by the rules of the module, through the `EventEmitter2` of the testing module (import `EventEmitterModule`
   * there and call `init()`), and waits for its handlers. An error of a handler is thrown here. Returns the event, or
   * `undefined` if the module would emit nothing: for a status that was emitted before, for a step back, and for a second final
   * status without `confirmed: true`.
   */
  async emitStatus(
    uid: string,
    status: SmsStatus,
    more: Partial<
      Pick<RtSmsStatusEvent, 'parts' | 'errorCode' | 'gatewayStatus' | 'source' | 'confirmed' | 'ref'>
    > = {},
  ): Promise<RtSmsStatusEvent | undefined> {
    const valid = this.input.uid(uid, 'status');
    const { source = 'callback', confirmed = false, gatewayStatus = status, parts, errorCode } = more;
    const { ref = this.sent.find((message) => message.uid === valid)?.ref } = more;
    const report = defined({ status, gatewayStatus, parts, errorCode });
    const transition = applyReport(this.deliveries.get(valid) ?? {}, report, source, confirmed);
    if (transition.kind !== 'changed') return undefined;
    this.deliveries.set(valid, transition.state);
    const event = statusEvent(this.account, valid, ref, transition.state.last);
    this.statuses.set(valid, event);
    this.waiters.notify(event);
    for (const name of [RtSmsEvents.status, `${RtSmsEvents.status}.${status}`])
      await this.emitter?.emitAsync(name, event);
    this.subject.next(event);
    return event;
  }

  /**
   * Emits `rt-sms.overdue` for a message, like `emitStatus`. `ref`, `id` and `overdueAfterMs` are those of the recorded message
   * unless given. Returns the event, or `undefined` if the module would emit nothing: for a message without `overdueAfterMs`,
   * with a final status, or whose event was emitted before.
   */
  async emitOverdue(
    uid: string,
    more: Partial<Pick<RtSmsOverdueEvent, 'ref' | 'id' | 'overdueAfterMs'>> = {},
  ): Promise<RtSmsOverdueEvent | undefined> {
    const valid = this.input.uid(uid, 'status');
    const sent = this.sent.find((message) => message.uid === valid);
    const { ref = sent?.ref, id = sent?.queueId, overdueAfterMs = sent?.overdueAfterMs } = more;
    const last = this.statuses.get(valid);
    if (overdueAfterMs === undefined || last?.final || this.overdue.has(valid)) return undefined;
    this.overdue.add(valid);
    const event = defined({ account: this.account, uid: valid, id, ref, lastStatus: last?.status, overdueAfterMs });
    await this.emitter?.emitAsync(RtSmsEvents.overdue, event);
    return event;
  }

  async send(message: SmsMessage, options: CallOptions = {}): Promise<SentSms> {
    return this.sendVia('send', message, options);
  }

  private async sendVia(via: SendVia, message: SmsMessage, options: CallOptions): Promise<SentSms> {
    const checked = this.input.message(message, options);
    const post = () => this.post(checked, options);
    return this.policy ? this.policy.send(checked, via, options, post) : post();
  }

  private async post(checked: CheckedSmsMessage, options: CallOptions): Promise<SentSms> {
    if (options.signal?.aborted)
      throw new RtSmsAbortedError("The caller's signal ended the call before anything was sent", 'not_sent', {
        account: this.account,
      });
    this.fail();
    const { msisdn, shortcode, segments, uid, attempts } = this.record(checked);
    return { uid, msisdn, shortcode, segments, attempts };
  }

  sendMany(
    messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
    options: { concurrency?: number; signal?: AbortSignal } = {},
  ): AsyncIterable<SendResult> {
    return sendAll(messages, (message) => this.sendVia('sendMany', message, {}), options, { account: this.account });
  }

  async enqueue(message: SmsMessage, options: EnqueueOptions = {}): Promise<QueuedSms> {
    const [queued] = await this.queue([this.input.queued(message, options)]);
    return queued!;
  }

  async enqueueMany(
    items: Iterable<{ message: SmsMessage } & EnqueueItemOptions>,
    options: Pick<EnqueueOptions, 'tx'> = {},
  ): Promise<QueuedSms[]> {
    return this.queue(this.input.items(items, options));
  }

  private async queue(checked: Items): Promise<QueuedSms[]> {
    const enqueue = () => this.enqueueAll(checked);
    await (this.policy ? this.policy.enqueue(checked, enqueue) : enqueue());
    return checked.map(({ id }) => ({ id }));
  }

  private async enqueueAll(checked: Items): Promise<void> {
    const fresh = new Map<string, (typeof checked)[number]>();
    for (const item of checked) {
      const earlier = this.sent.find(({ queueId }) => queueId === item.id) ?? fresh.get(item.id);
      if (!earlier) fresh.set(item.id, item);
      else if (earlier.text !== item.text || earlier.msisdn !== item.msisdn || earlier.shortcode !== item.shortcode) {
        throw new RtSmsValidationError([idTaken(item.id)], { account: this.account });
      }
    }
    this.fail();
    for (const [id, item] of fresh) {
      const { uid, ref } = this.record(item, id);
      this.states.set(id, defined({ id, state: 'accepted' as const, uid, ref }));
      await this.emitter?.emitAsync(RtSmsEvents.accepted, defined({ id, account: this.account, uid, ref }));
    }
  }

  async find(id: string): Promise<QueuedSmsState | undefined> {
    return this.states.get(id);
  }

  async cancel(): Promise<boolean> {
    return false;
  }

  async getStatus(uid: string, options: CallOptions = {}): Promise<SmsStatusReport> {
    const known = this.input.uid(uid, 'status');
    this.input.limits(options, 'status');
    const sent = this.sent.find((message) => message.uid === known);
    const event = this.statuses.get(known);
    if (!sent && !event)
      throw new RtSmsNotFoundError('transaction_not_found', { operation: 'status', account: this.account });
    const { status, gatewayStatus, final } = event ?? {
      status: 'awaiting_report',
      gatewayStatus: 'awaiting_report',
      final: false,
    };
    return { uid: known, status, gatewayStatus, final, ...(sent ? { msisdn: sent.msisdn, text: sent.text } : {}) };
  }

  async track(uids: OpenUid | Iterable<OpenUid> | AsyncIterable<OpenUid>): Promise<void> {
    const one = typeof uids !== 'object' || uids === null || 'uid' in uids;
    for await (const item of one ? [uids] : uids) this.tracked.push(this.input.open(item).uid);
  }

  async waitForFinal(uid: string, options: CallOptions = {}): Promise<RtSmsStatusEvent> {
    const known = this.input.uid(uid, 'wait');
    this.input.limits(options, 'wait');
    const event = this.statuses.get(known);
    return this.waiters.wait(known, options, async () => (event?.final ? event : undefined));
  }

  async handleCallback(
    _query: Record<string, unknown> = {},
    request: { secret?: string | undefined; ip?: string | undefined } = {},
  ): Promise<'accepted' | 'refused'> {
    this.input.callback(request);
    return 'accepted';
  }

  async checkHealth(): Promise<RtSmsHealth> {
    return { ok: true, account: this.account, latencyMs: 0, checkedAt: new Date() };
  }

  private fail(): void {
    const failure = this.failures.shift();
    if (failure) throw failure;
  }

  private record(message: CheckedSmsMessage, queueId?: string): RecordedSms {
    const { msisdn, shortcode, text, segments, ref, overdueAfterMs } = message;
    const uid = `message-id-test${String(this.sent.length + 1).padStart(8, '0')}`;
    const recorded = defined({ uid, msisdn, shortcode, text, segments, ref, overdueAfterMs, attempts: 1, queueId });
    this.sent.push(recorded);
    return recorded;
  }
}
