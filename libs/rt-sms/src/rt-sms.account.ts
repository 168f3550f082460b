import type { Logger } from '@nestjs/common';
import type { EventEmitter2 } from '@nestjs/event-emitter';
import type { HttpService } from '@nestjs/axios';
import { BootstrapWarning } from './bootstrap-warning.js';
import { CallbackReceiver } from './callback/callback-receiver.js';
import { defined } from './defined.js';
import { PENDING_SENDS_WAIT_MS, type DeliveryTracker } from './delivery/delivery-tracker.js';
import type { EngineEvents, EngineHost, SmsEngine } from './delivery/engine.js';
import { FinalStatusWaiters } from './delivery/final-status-waiters.js';
import { MemoryEngine } from './delivery/memory-engine.js';
import { MemoryTracker } from './delivery/memory-tracker.js';
import { trackOpenUids } from './delivery/open-uids.js';
import { PendingSends } from './delivery/pending-sends.js';
import { EventPublisher } from './events/event-publisher.js';
import { RtSmsEvents } from './events/events.js';
import { AuthCircuitBreaker } from './gateway/auth-circuit-breaker.js';
import { GatewayClient } from './gateway/gateway-client.js';
import type { Transport } from './gateway/transport.js';
import { isObject } from './options/option-rules.js';
import { TRACKING, type ResolvedOptions } from './options/resolve-options.js';
import { checkMessage } from './message/sms-message.js';
import { readUid } from './message/status.js';
import { describePolicy } from './policy/describe-policy.js';
import { MemoryLimits } from './policy/memory-limits.js';
import { SendPolicy } from './policy/send-policy.js';
import { messageOf, redact } from './redact.js';
import { RtSmsAuthError, RtSmsConfigError, RtSmsValidationError, type RtSmsError } from './rt-sms.errors.js';
import { AccountHealth } from './rt-sms.health.js';
import { Telemetry } from './telemetry.js';

/** Milliseconds for which event handlers may still run during shutdown. */
const HANDLERS_GRACE_MS = 10_000;

const ENGINE_METHODS = ['enqueue', 'find', 'cancel', 'start', 'stop'] as const;
/** A promise of an engine is not an engine. */
const isEngine = (made: unknown) =>
  isObject(made) && ENGINE_METHODS.every((method) => typeof (made as Partial<SmsEngine>)[method] === 'function');

/** Accounts by application: those that share an emitter. */
const accountsOf = new WeakMap<EventEmitter2, Set<RtSmsAccount>>();

/** Composition of one account: creates its parts, connects them, starts and stops them. */
export class RtSmsAccount {
  readonly name: string;
  readonly gateway: GatewayClient;
  readonly publisher: EventPublisher;
  readonly tracker: DeliveryTracker;
  readonly engine: SmsEngine;
  readonly callbacks: CallbackReceiver;
  readonly health: AccountHealth;
  readonly waiters: FinalStatusWaiters;
  /** Absent without a rule. */
  readonly policy: SendPolicy | undefined;
  readonly bootstrap: BootstrapWarning;
  readonly pendingSends = new PendingSends();
  private readonly breaker: AuthCircuitBreaker;
  private readonly telemetry: Telemetry;
  private readonly shutdown = new AbortController();

  /** `ready` resolves once the application's listeners are bound. */
  constructor(
    readonly options: ResolvedOptions,
    http: HttpService,
    transport: Transport,
    private readonly emitter: EventEmitter2,
    ready: Promise<void>,
    private readonly logger: Logger,
  ) {
    this.name = options.account;
    this.telemetry = new Telemetry(options, {
      inFlight: () => this.gateway.inFlight,
      queued: () => this.engine.waiting?.(),
      emptied: () => this.engine.emptied?.(),
      tracked: () => this.tracker.size,
      authOpen: () => Number(this.breaker.error !== undefined),
      segmentsPerDay: () => options.policy?.limits.find(({ rule }) => rule === 'segmentsPerDay')?.max,
      handlerFailures: () => this.publisher.failures,
    });
    this.gateway = new GatewayClient(options, http, transport, this.telemetry, (error) => this.onOutcome(error));
    this.health = new AccountHealth(
      this.name,
      (uid) => this.gateway.status(uid),
      options.policy && describePolicy(options.policy),
    );
    this.breaker = new AuthCircuitBreaker(
      () => this.health.probe(),
      logger,
      (onChange) => this.gateway.password.watch(onChange),
    );
    this.publisher = new EventPublisher(emitter, ready, logger);
    this.bootstrap = new BootstrapWarning(ready, logger);
    this.waiters = new FinalStatusWaiters(this.name, (options.tracking || TRACKING).maxAgeMs);
    const host = this.engineHost();
    this.engine = options.engine ? options.engine(host) : new MemoryEngine(host);
    if (!isEngine(this.engine))
      throw new RtSmsConfigError(['engine: must return an engine, such as that of bullMq(…)'], this.name);
    if (this.engine.handlerTimeoutMs !== undefined) this.publisher.handlerTimeoutMs = this.engine.handlerTimeoutMs;
    const { limits } = this.engine;
    this.policy =
      options.policy &&
      new SendPolicy(options.policy, {
        account: this.name,
        limits: limits ?? new MemoryLimits(options.idempotencyMs),
        sendMs: options.timeouts.sendMs,
        isQueued: limits ? undefined : async (id) => (await this.engine.find(id)) !== undefined,
        onRefusal: (rule) => this.telemetry.active?.refusal(rule),
      });
    this.tracker = this.engine.tracker ?? new MemoryTracker(host);
    this.callbacks = new CallbackReceiver({
      options,
      secrets: () => this.gateway.secrets,
      tracker: this.tracker,
      isDurable: this.engine.tracker !== undefined,
      pendingSends: this.pendingSends,
      telemetry: this.telemetry,
      logger,
    });
    const accounts = accountsOf.get(emitter) ?? new Set();
    accountsOf.set(emitter, accounts.add(this));
    ready
      .then(
        () => this.start(),
        (error: unknown) =>
          logger.error(`Event listeners failed to register; no events will be emitted: ${redact(messageOf(error))}`),
      )
      .catch((error: unknown) => logger.error(`The engine failed to start: ${redact(messageOf(error))}`));
  }

  /** Fires during shutdown. Nothing is sent afterwards. */
  get ending(): AbortSignal {
    return this.shutdown.signal;
  }

  /** Called by Nest before the application listens. */
  async prepare(): Promise<void> {
    // Creates the instruments, so that their series exist before the first message.
    void this.telemetry.active;
    await this.engine.prepare?.();
  }

  /** Starts nothing new and lets everything in flight finish. */
  async stop(): Promise<void> {
    this.bootstrap.close();
    this.publisher.limit(HANDLERS_GRACE_MS);
    const stopped = this.engine.stop();
    this.shutdown.abort();
    // Unsent messages are settled at once, in the queue as elsewhere. Started sends share one grace period.
    await Promise.all([stopped, this.gateway.stop()]);
    // An authenticated callback that waits for pending sends arrives only once.
    await this.pendingSendsSettled();
    await this.tracker.stop();
    this.waiters.stop();
    this.breaker.close();
    await this.publisher.close();
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await this.gateway.close();
    await this.engine.close?.();
  }

  private async start(): Promise<void> {
    const { options, tracker } = this;
    await this.engine.start();
    tracker.start?.();
    if (options.tracking) await trackOpenUids(options.tracking.open, tracker, this.logger, this.ending);
  }

  private onOutcome(error: RtSmsError | undefined): void {
    this.breaker.onOutcome(error);
    if (error instanceof RtSmsAuthError) this.health.invalidate();
  }

  private pendingSendsSettled(): Promise<void> {
    return new Promise((go) => this.pendingSends.settled(PENDING_SENDS_WAIT_MS, go));
  }

  /** True if this account sent `uid`. Waits for pending sends first. */
  private async sent(uid: string): Promise<boolean> {
    await this.pendingSendsSettled();
    return this.tracker.isKnown(uid);
  }

  private sentByAnother(uid: string): Promise<boolean> | false {
    const others = [...accountsOf.get(this.emitter)!].filter((account) => account !== this);
    if (others.length === 0) return false;
    return Promise.all(others.map((account) => account.sent(uid))).then((sent) => sent.includes(true));
  }

  private engineHost(): EngineHost {
    return {
      options: this.options,
      logger: this.logger,
      breaker: this.breaker,
      acquirePermit: (go) => this.gateway.acquirePermit(go),
      // An engine may have read the message from a store that others can write to.
      send: async (message, limits) => {
        const checked = checkMessage({ ...message, msisdn: `+${message.msisdn}` });
        if (!('problems' in checked)) return this.gateway.send(checked, limits);
        limits.permit?.release();
        throw new RtSmsValidationError(checked.problems, { account: this.name });
      },
      status: async (uid) => {
        if (readUid(uid) === uid) return this.gateway.status(uid);
        throw new RtSmsValidationError(['not a uid of the gateway'], { operation: 'status', account: this.name });
      },
      traceJob: (work) => this.telemetry.active?.job(work) ?? work(),
      trackSend: (work) => this.pendingSends.track(work),
      follow: (uid, ref, overdue) => void this.tracker.follow(uid, { ref, overdue }),
      sentByAnother: (uid) => this.sentByAnother(uid),
      emit: this.engineEvents(),
    };
  }

  private engineEvents(): EngineEvents {
    const { name: account, publisher, waiters } = this;
    /** `id` is the id of the event in the log. */
    const publish = (name: string, id: string, payload: object) =>
      publisher.publish([name], defined({ account, ...payload }), id);
    /** Gives back a message that was not sent before it is announced. */
    const notSent = (id: string, isCertain: boolean, announce: () => Promise<boolean>) =>
      this.policy && isCertain ? this.policy.giveBackQueued(id).then(announce) : announce();
    return {
      status: (event) => {
        this.telemetry.active?.status(event);
        waiters.notify(event);
        return publisher.status(event);
      },
      accepted: (id, uid, ref) => publish(RtSmsEvents.accepted, id, { id, uid, ref }),
      refused: (id, error, ref) =>
        notSent(id, error.outcome === 'not_sent', () => publish(RtSmsEvents.refused, id, { id, error, ref })),
      outcomeUnknown: (id, error, ref) => publish(RtSmsEvents.outcomeUnknown, id, { id, error, ref }),
      expired: (id, ref) => notSent(id, true, () => publish(RtSmsEvents.expired, id, { id, ref })),
      cancelled: (id, ref) => notSent(id, true, () => publish(RtSmsEvents.cancelled, id, { id, ref })),
      unresolved: (uid, { ref, lastStatus }) => {
        waiters.giveUp(uid);
        this.telemetry.active?.unresolved();
        return publish(RtSmsEvents.unresolved, uid, { uid, ref, lastStatus });
      },
      overdue: (about) => publish(RtSmsEvents.overdue, `${about.uid ?? about.id}:overdue`, about),
    };
  }
}
