import { inspect } from 'node:util';
import type { BeforeApplicationShutdown, Logger, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import type { EventEmitter2 } from '@nestjs/event-emitter';
import type { HttpService } from '@nestjs/axios';
import type { Observable } from 'rxjs';
import { Arguments } from './arguments.js';
import { BootstrapWarning } from './bootstrap-warning.js';
import { CallbackReceiver } from './callback/callback-receiver.js';
import { AuthGate } from './delivery/auth-gate.js';
import {
  PENDING_SENDS_WAIT_MS,
  type DeliveryTracker,
  type EngineEvents,
  type EngineHost,
  type EnqueueOptions,
  type QueuedSms,
  type QueuedSmsState,
  type SmsEngine,
} from './delivery/engine.js';
import { FinalWaits } from './delivery/final-waits.js';
import { InFlight } from './delivery/in-flight.js';
import { MemoryEngine } from './delivery/memory-engine.js';
import { sendAll, type SendResult } from './delivery/send-many.js';
import { followOpen, MemoryTracker } from './delivery/tracker.js';
import { RtSmsEvents, type RtSmsStatusEvent } from './events/events.js';
import { Publisher } from './events/publisher.js';
import type { CallOptions } from './gateway/calls.js';
import { Gateway } from './gateway/gateway.js';
import type { Transport } from './gateway/transport.js';
import type { SmsStatusReport } from './gateway/wire.js';
import type { SentSms, SmsMessage } from './message/sms-message.js';
import {
  isRtSmsError,
  RtSmsAuthError,
  RtSmsConfigError,
  RtSmsNotFoundError,
  type RtSmsError,
  type RtSmsRejectedError,
} from './rt-sms.errors.js';
import { defined } from './defined.js';
import { hideFields } from './hide-fields.js';
import { messageOf, redact } from './redact.js';
import { Telemetry } from './telemetry.js';
import { isObject } from './options/option-rules.js';
import { TRACKING, type ResolvedOptions } from './options/resolve-options.js';
import type { OpenUid } from './options/rt-sms.options.js';

/** The result of a health check: can the gateway be reached, and does it accept this account from this address? */
export interface RtSmsHealth {
  /** True if the gateway accepts this account from this address. */
  ok: boolean;
  /** The account's name. */
  account: string;
  /** Why `ok` is false: the reason of the gateway (§1.6.1), or the stable `code` of the error. */
  reason?: string;
  /** Duration of the request in milliseconds. */
  latencyMs: number;
  /** When the gateway was asked. */
  checkedAt: Date;
}

const ENGINE_METHODS = ['enqueue', 'find', 'cancel', 'start', 'stop'] as const;
/** A promise of one is not an engine, either. */
const isEngine = (made: unknown) =>
  isObject(made) && ENGINE_METHODS.every((method) => typeof (made as Partial<SmsEngine>)[method] === 'function');

const HEALTH_TTL_MS = 30_000;
/** Well formed, and too regular to be anybody's. */
const NOBODYS_UID = 'message-id-000000000000';
/** Handlers that run when the application ends may take so long. */
const HANDLERS_GRACE_MS = 10_000;

/** The accounts of each application: those that share its emitter. */
const accountsOf = new WeakMap<EventEmitter2, Set<RtSmsService>>();

/** Sends SMS through one account of the gateway, and knows what became of them. */
export class RtSmsService implements OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown {
  /** The name of the account. */
  readonly account: string;
  private readonly given: Arguments;
  private readonly gateway: Gateway;
  private readonly publisher: Publisher;
  private readonly tracker: DeliveryTracker;
  private readonly engine: SmsEngine;
  private readonly gate: AuthGate;
  private readonly telemetry: Telemetry;
  private readonly callbacks: CallbackReceiver;
  private readonly waits: FinalWaits;
  private readonly bootstrap: BootstrapWarning;
  private readonly inFlight = new InFlight();
  private readonly ending = new AbortController();
  private health: Promise<RtSmsHealth> | undefined;
  private healthUntil = 0;

  /** @internal Made by `RtSmsModule`; `ready` resolves once the application’s listeners are bound. */
  constructor(
    private readonly options: ResolvedOptions,
    http: HttpService,
    transport: Transport,
    private readonly emitter: EventEmitter2,
    ready: Promise<void>,
    private readonly logger: Logger,
  ) {
    this.account = options.account;
    this.given = new Arguments(options.account, options.shortcode);
    // A logger that is given the service must not show its options: the password is one.
    const shown = { value: () => `RtSmsService { account: '${this.account}' }` };
    Object.defineProperties(this, { [inspect.custom]: shown, toJSON: shown });
    this.telemetry = new Telemetry(options, {
      inFlight: () => this.gateway.inFlight,
      queued: () => this.engine.waiting?.(),
      followed: () => this.tracker.size,
      handlerFailures: () => this.publisher.failures,
    });
    this.gateway = new Gateway(options, http, transport, this.telemetry, (error) => this.learn(error));
    this.publisher = new Publisher(emitter, ready, this.logger);
    this.bootstrap = new BootstrapWarning(ready, this.logger);
    this.gate = new AuthGate(() => this.gateway.status(NOBODYS_UID), this.logger);
    this.waits = new FinalWaits(this.account, (options.tracking || TRACKING).maxAgeMs);
    const host = this.engineHost();
    this.engine = options.engine ? options.engine(host) : new MemoryEngine(host);
    if (!isEngine(this.engine))
      throw new RtSmsConfigError(['engine: must return an engine, such as that of bullMq(…)'], this.account);
    this.tracker = this.engine.tracker ?? new MemoryTracker(host);
    const isDurable = this.engine.tracker !== undefined;
    this.callbacks = new CallbackReceiver(
      options,
      this.gateway.secrets,
      this.tracker,
      isDurable,
      this.inFlight,
      this.telemetry,
      this.logger,
    );
    hideFields(this, ['account']);
    const accounts = accountsOf.get(emitter) ?? new Set();
    accountsOf.set(emitter, accounts.add(this));
    ready
      .then(
        async () => {
          await this.engine.start();
          this.tracker.start?.();
          if (options.tracking) await followOpen(options.tracking.open, this.tracker, this.logger, this.ending.signal);
        },
        (error: unknown) => {
          const why = redact(messageOf(error));
          this.logger.error(`The listeners of this application could not be bound, no event is emitted: ${why}`);
        },
      )
      .catch((error: unknown) => this.logger.error(`The engine could not be started: ${redact(messageOf(error))}`));
  }

  /** The events of this account's statuses as an Observable. A subscriber that throws harms nobody. */
  get statuses$(): Observable<RtSmsStatusEvent> {
    return this.publisher.statuses$;
  }

  /**
   * Sends a message now (§2.1), and follows it. Resolves once the gateway has taken it.
   * @throws RtSmsError with `outcome`: `not_sent`, `rejected`, or `unknown` where nobody can know; never repeat that blindly
   */
  async send(message: SmsMessage, options: CallOptions = {}): Promise<SentSms> {
    const checked = this.given.message(message, options);
    this.bootstrap.onUse();
    const leave = this.inFlight.enter();
    try {
      const { uid, attempts, requestId } = await this.gateway.send(checked, options);
      await this.tracker.follow(uid, checked);
      const { msisdn, shortcode, segments } = checked;
      return { uid, msisdn, shortcode, segments, attempts, ...(requestId === undefined ? {} : { requestId }) };
    } finally {
      this.inFlight.leave(leave);
    }
  }

  /**
   * Sends many messages, `concurrency` (10) at a time, and yields each result as it comes; never stops at a message that
   * failed. No more messages than that are taken from the source ahead of the consumer.
   * @throws RtSmsAuthError after the results in flight, when login, password or address are refused
   * @throws RtSmsAbortedError after the results in flight, when `signal` fires; RtSmsOverloadedError, when the application
   * ends; what the source throws, likewise
   */
  sendMany(
    messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
    options: { concurrency?: number; signal?: AbortSignal } = {},
  ): AsyncIterable<SendResult> {
    return sendAll(messages, (message) => this.send(message), options, {
      ending: this.ending.signal,
      account: this.account,
    });
  }

  /**
   * Hands a message to the engine, which sends it as soon as it may; what becomes of it comes as exactly one event:
   * accepted, refused, outcome-unknown, expired or cancelled.
   * @throws RtSmsValidationError if the message or an option is wrong, or the id stands for another message
   * @throws RtSmsOverloadedError if the engine is full or its store is down: it was not queued
   */
  async enqueue(message: SmsMessage, options: EnqueueOptions = {}): Promise<QueuedSms> {
    const item = this.given.queued(message, options);
    this.bootstrap.onUse();
    await this.engine.enqueue([item]);
    return { id: item.id };
  }

  /** `enqueue` of many, all or none: one that is wrong is named by its place, and nothing is queued. */
  async enqueueMany(items: Iterable<{ message: SmsMessage } & EnqueueOptions>): Promise<QueuedSms[]> {
    const checked = this.given.items(items);
    this.bootstrap.onUse();
    await this.engine.enqueue(checked);
    return checked.map(({ id }) => ({ id }));
  }

  /** What became of a queued message; nothing if the id is not known (any more). */
  find(id: string): Promise<QueuedSmsState | undefined> {
    return this.engine.find(id);
  }

  /** Takes a queued message back. True only if it will not be sent. */
  cancel(id: string): Promise<boolean> {
    return this.engine.cancel(id);
  }

  /**
   * Asks for the status of a message (§2.2). Emits nothing by itself, but if the message is followed its event may come of it.
   * @throws RtSmsNotFoundError if the gateway does not know the uid; any other RtSmsError of operation `status`
   */
  async getStatus(uid: string, options: CallOptions = {}): Promise<SmsStatusReport> {
    const known = this.given.uid(uid, 'status');
    this.given.limits(options, 'status');
    const report = await this.gateway.status(known, options);
    if (this.tracker.follows(known)) await this.tracker.observe(report, 'poll', true);
    return report;
  }

  /** Follows messages of an earlier run, or of another process, until their final status. */
  async track(uids: OpenUid | Iterable<OpenUid> | AsyncIterable<OpenUid>): Promise<void> {
    this.bootstrap.onUse();
    const one = typeof uids !== 'object' || uids === null || 'uid' in uids;
    for await (const item of one ? [uids] : uids) {
      const { uid, ...about } = this.given.open(item);
      await this.tracker.follow(uid, about);
    }
  }

  /**
   * Waits for the final status of a message; one that is not followed is from now on.
   * @throws RtSmsTimeoutError of operation `wait` after `timeoutMs`, or when it is given up (`tracking.maxAgeMs`)
   */
  async waitForFinal(uid: string, options: CallOptions = {}): Promise<RtSmsStatusEvent> {
    const known = this.given.uid(uid, 'wait');
    this.given.limits(options, 'wait');
    this.bootstrap.onUse();
    return this.waits.wait(known, options, (...given) => this.tracker.seek(...given));
  }

  /**
   * Takes a callback (§3.1) from a controller of your own (`callbackPath: false`). Refuses one whose secret is wrong, or
   * whose sender is not in `allowFrom`: answer it like an unknown route. Anything else gets a quick 200.
   * @throws RtSmsValidationError if `request` has another key than `secret` and `ip`
   */
  async handleCallback(
    query: Record<string, unknown>,
    request: { secret?: string | undefined; ip?: string | undefined } = {},
  ): Promise<'accepted' | 'refused'> {
    this.given.callback(request);
    return this.callbacks.receive(query, request);
  }

  /**
   * Asks for a message that cannot exist: free of charge, and the answer proves address, login and IP list. Kept for 30 s.
   * For readiness, not liveness: a new process mends nothing here. Never throws.
   */
  checkHealth(): Promise<RtSmsHealth> {
    if (!this.health || performance.now() >= this.healthUntil) {
      this.healthUntil = Infinity;
      this.health = this.probe().finally(() => (this.healthUntil = performance.now() + HEALTH_TTL_MS));
    }
    return this.health;
  }

  /** Called by Nest: lets the engine see whether it can work. */
  async onModuleInit(): Promise<void> {
    // Its series are there before the first message.
    void this.telemetry.on;
    await this.engine.prepare?.();
  }

  /** Called by Nest: nothing new is begun, what was begun is let finish. */
  async beforeApplicationShutdown(): Promise<void> {
    this.bootstrap.close();
    const stopped = this.engine.stop();
    this.ending.abort();
    // What has not left yet is told so at once, in the queue as elsewhere; what has left has one grace for all.
    await Promise.all([stopped, this.gateway.stop()]);
    // A believed callback that waited for them comes only this once.
    await new Promise<void>((go) => this.inFlight.settled(PENDING_SENDS_WAIT_MS, go));
    await this.tracker.stop();
    this.waits.stop();
    this.gate.close();
    await this.publisher.close(HANDLERS_GRACE_MS);
  }

  /** Called by Nest: the connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.gateway.close();
    await this.engine.close?.();
  }

  private async probe(): Promise<RtSmsHealth> {
    const began = performance.now();
    let reason: string | undefined;
    try {
      await this.gateway.status(NOBODYS_UID);
    } catch (error) {
      if (!isRtSmsError(error)) throw error;
      if (!(error instanceof RtSmsNotFoundError)) reason = (error as RtSmsRejectedError).reason ?? error.code;
    }
    const latencyMs = Math.round(performance.now() - began);
    return defined({ ok: reason === undefined, account: this.account, reason, latencyMs, checkedAt: new Date() });
  }

  /** True if this account sent `uid`; sends in flight settle first. */
  private async knows(uid: string): Promise<boolean> {
    await new Promise<void>((go) => this.inFlight.settled(PENDING_SENDS_WAIT_MS, go));
    return this.tracker.knows(uid);
  }

  private sentByAnother(uid: string): Promise<boolean> | false {
    const others = [...accountsOf.get(this.emitter)!].filter((account) => account !== this);
    if (others.length === 0) return false;
    return Promise.all(others.map((account) => account.knows(uid))).then((known) => known.includes(true));
  }

  /** Whatever is asked tells whether the gateway takes this process; what was known of its health ends with a refusal. */
  private learn(error: RtSmsError | undefined): void {
    this.gate.learn(error);
    if (error instanceof RtSmsAuthError) this.healthUntil = 0;
  }

  private engineHost(): EngineHost {
    const { account, publisher } = this;
    /** `id` stands for the event in the log. */
    const tell = (name: string, id: string, payload: object) =>
      publisher.publish([name], defined({ account, ...payload }), id);
    const emit: EngineEvents = {
      status: (event) => {
        this.telemetry.on?.status(event);
        this.waits.learn(event);
        return publisher.status(event);
      },
      accepted: (id, uid, ref) => tell(RtSmsEvents.accepted, id, { id, uid, ref }),
      refused: (id, error, ref) => tell(RtSmsEvents.refused, id, { id, error, ref }),
      outcomeUnknown: (id, error, ref) => tell(RtSmsEvents.outcomeUnknown, id, { id, error, ref }),
      expired: (id, ref) => tell(RtSmsEvents.expired, id, { id, ref }),
      cancelled: (id, ref) => tell(RtSmsEvents.cancelled, id, { id, ref }),
      unresolved: (uid, { ref, lastStatus }) => {
        this.waits.giveUp(uid);
        return tell(RtSmsEvents.unresolved, uid, { uid, ref, lastStatus });
      },
    };
    return {
      options: this.options,
      logger: this.logger,
      gate: this.gate,
      slot: (go) => this.gateway.slot(go),
      send: (message, limits) => this.gateway.send(message, limits),
      status: (uid) => this.gateway.status(uid),
      job: (work) => this.telemetry.on?.job(work) ?? work(),
      during: (work) => this.inFlight.during(work),
      follow: (uid, ref) => void this.tracker.follow(uid, { ref }),
      sentByAnother: (uid) => this.sentByAnother(uid),
      emit,
    };
  }
}
