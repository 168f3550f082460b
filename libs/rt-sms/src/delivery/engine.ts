import type { Logger } from '@nestjs/common';
import type { RtSmsStatusEvent } from '../events/events.js';
import type { CallFacts, RatePermit, SendOptions } from '../gateway/call-options.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import type { CheckedMessage } from '../message/sms-message.js';
import { redact } from '../redact.js';
import type { LimitStore } from '../policy/limit-store.js';
import type { RtSmsError } from '../rt-sms.errors.js';
import type { DeliveryTracker } from './delivery-tracker.js';
import type { Overdue } from './overdue-timers.js';

/** Values of `SmsPriority`, the most urgent first. */
export const SMS_PRIORITIES = ['otp', 'normal', 'bulk'] as const;
/** Priority of a queued message. */
export type SmsPriority = (typeof SMS_PRIORITIES)[number];

/** Options of one message of `enqueueMany`. */
export interface EnqueueItemOptions {
  /** Your id of the message, 1 to 128 characters. A message with the same id is sent once. @default a random UUID */
  id?: string;
  /** Delay in milliseconds before the message may be sent, 0 to one year. @default 0 */
  delayMs?: number;
  /** Time after which the message is no longer sent; the event is `rt-sms.expired`. @default never */
  expiresAt?: Date;
  /** Priority among the queued messages. @default 'normal' */
  priority?: SmsPriority;
}

/** Options of `enqueue`. */
export interface EnqueueOptions extends EnqueueItemOptions {
  /** Transaction that queues the message if and only if it commits. @default none: the message is queued at once */
  tx?: SqlTransaction | undefined;
}

/**
 * A transaction of the application's PostgreSQL: a client of `pg` after `BEGIN`, or what an adapter of `nestjs-rt-sms-bullmq`
 * returns, such as `fromKnex(trx)`.
 */
export interface SqlTransaction {
  /** Runs one statement with the parameters `$1`, `$2`, … Resolves to the rows, or to an object with `rows`. */
  query(sql: string, values: unknown[]): Promise<unknown>;
}

/** Result of `enqueue`. */
export interface QueuedSms {
  /** Id of the message: yours, or the generated one. */
  id: string;
}

/** Values of `QueuedSmsState.state`. */
export const QUEUED_STATES = ['queued', 'accepted', 'refused', 'unknown', 'expired', 'cancelled'] as const;

/** Current state of a queued message. */
export interface QueuedSmsState {
  /** Id of the message, as in `enqueue`. */
  id: string;
  /** `queued` until its outcome is known. */
  state: (typeof QUEUED_STATES)[number];
  /** The gateway's uid, once the state is `accepted`. */
  uid?: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
  /** Stable code of the error, if the state is `refused` or `unknown`. */
  errorCode?: string;
}

/** A validated message with its id, as an engine takes it. */
export interface EngineItem extends CheckedMessage {
  /** Id of the message: the caller's, or the generated one. */
  id: string;
  /** Your reference, from `SmsMessage.ref`. */
  ref?: string;
  /** Milliseconds after `notBefore` at which `rt-sms.overdue` is due, from `SmsMessage.overdueAfterMs`. */
  overdueAfterMs?: number;
  /** True if the id was generated for this call, so it cannot be in the store yet. */
  hasGeneratedId?: boolean;
  /** Unix time in milliseconds before which it must not be sent. */
  notBefore: number;
  /** Unix time in milliseconds after which it must not be sent. */
  expiresAt?: number;
  /** Priority among the queued messages. */
  priority: SmsPriority;
}

/** Problem text for an id that already belongs to a different message. */
export const idTaken = (id: string): string =>
  `id: '${redact(id)}' is already used by a different message (another text, number or sender)`;

/** Port: queues messages and sends them. Each id ends in exactly one outcome event. */
export interface SmsEngine {
  /** Queues all items or none. @throws RtSmsOverloadedError if nothing was queued */
  enqueue(items: EngineItem[]): Promise<void>;
  /**
   * Queues all items or none inside `tx`: they exist once it commits. Absent if the engine has no SQL database.
   * @throws RtSmsValidationError if `tx` cannot be used; it still can be by the application
   */
  readonly enqueueIn?: ((tx: SqlTransaction, items: EngineItem[]) => Promise<void>) | undefined;
  /** Returns the state of a message, or `undefined` for an unknown id. */
  find(id: string): Promise<QueuedSmsState | undefined>;
  /** Cancels a message. True only if it will not be sent. */
  cancel(id: string): Promise<boolean>;
  /** Called before the application listens. @throws RtSmsConfigError if the engine cannot work; the application does not start */
  prepare?(): Promise<void>;
  /** Called once the application's listeners are bound. */
  start(): Promise<void> | void;
  /** Number of messages that wait to be sent, for metrics. */
  waiting?(): Promise<number> | number;
  /** Number of times that this process has found the store of the engine emptied, for metrics. */
  emptied?(): number;
  /** Stops during shutdown: takes no more messages, lets sends in flight finish, and settles or keeps the rest. */
  stop(): Promise<void> | void;
  /** Releases all resources. No callback arrives after this. */
  close?(): Promise<void> | void;
  /** Tracker of the engine, if its store also holds the deliveries. @default tracking in memory */
  readonly tracker?: DeliveryTracker;
  /** Counters of the send policy, if the store of the engine also holds them. @default counters in memory */
  readonly limits?: LimitStore;
  /** Milliseconds after which event handlers that have not settled count as failed. @default 30000 */
  readonly handlerTimeoutMs?: number;
}

/** Options of the account that an engine needs: validated, with defaults. */
export interface EngineSettings {
  /** The account's name, `'default'` without one. */
  readonly account: string;
  /** Login of the HTTP connection in the cabinet (§1.2). */
  readonly login: string;
  /** Connections to the gateway. More requests at once only wait for a connection. */
  readonly connections: number;
  /** Rate limit: sends that may start in any sliding second. Absent without a limit. */
  readonly rate?: { readonly perSecond: number } | undefined;
  /** Send policy: its rules that count. Absent without a policy. */
  readonly policy?: { readonly limits: readonly unknown[] } | undefined;
  /** Unsent messages that the engine in memory holds at most. */
  readonly engineLimit: number;
  /** Milliseconds for which an id is remembered after its message has settled. */
  readonly idempotencyMs: number;
  /** Tracking of messages until their final status; `false` to turn it off. */
  readonly tracking:
    | false
    | {
        /** Milliseconds between status requests; the last repeats. */
        readonly schedule: readonly number[];
        /** Milliseconds after which a message without a final status becomes unresolved. */
        readonly maxAgeMs: number;
        /** Messages tracked at once. */
        readonly limit: number;
        /** Settled uids remembered. */
        readonly remember: number;
        /** Polls that may start in any second. */
        readonly perSecond: number;
      };
}

/** Services of the account that its engine uses. */
export interface EngineHost {
  /** Options of the account. */
  readonly options: EngineSettings;
  /** Logger of the account. */
  readonly logger: Logger;
  /** Circuit breaker: open while the gateway rejects this process. */
  readonly breaker: {
    /** The rejection, while the breaker is open. */
    readonly error: RtSmsError | undefined;
    /** Calls `listener` each time access is restored. */
    onRestored(listener: () => void): void;
  };
  /** Calls `go` once a send may start under `rate`. The returned function cancels the wait. */
  acquirePermit(go: (permit: RatePermit | undefined) => void): () => void;
  /** Sends one message; retries only if the request certainly never left. Rejects with an `RtSmsError`. */
  send(message: CheckedMessage, limits: SendOptions): Promise<CallFacts & { uid: string }>;
  /** Makes one status request. Rejects with an `RtSmsError`. */
  status(uid: string): Promise<SmsStatusReport>;
  /** Runs the work for one queued message in a span. */
  traceJob<T>(work: () => Promise<T>): Promise<T>;
  /** Counts `work` as a pending send. Callbacks with unknown uids wait for it, so that `accepted` is emitted first. */
  trackSend<T>(work: () => Promise<T>): Promise<T>;
  /** Starts tracking an accepted message. */
  follow(uid: string, ref: string | undefined, overdue?: Overdue): void;
  /** Resolves to true if another account of this application sent `uid`; `false` at once without another account. */
  sentByAnother(uid: string): Promise<boolean> | false;
  /** Emits the events of the account. */
  readonly emit: EngineEvents;
}

/** Emitters of the events. Each resolves to true if every handler succeeded. */
export interface EngineEvents {
  /** `rt-sms.status` and `rt-sms.status.<status>`. */
  status(event: RtSmsStatusEvent): Promise<boolean>;
  /** `rt-sms.accepted`. */
  accepted(id: string, uid: string, ref: string | undefined): Promise<boolean>;
  /** `rt-sms.refused`. */
  refused(id: string, error: RtSmsError, ref: string | undefined): Promise<boolean>;
  /** `rt-sms.outcome-unknown`. */
  outcomeUnknown(id: string, error: RtSmsError, ref: string | undefined): Promise<boolean>;
  /** `rt-sms.expired`. */
  expired(id: string, ref: string | undefined): Promise<boolean>;
  /** `rt-sms.cancelled`. */
  cancelled(id: string, ref: string | undefined): Promise<boolean>;
  /** `rt-sms.unresolved`. */
  unresolved(
    uid: string,
    about: { ref?: string | undefined; lastStatus?: RtSmsStatusEvent['status'] | undefined },
  ): Promise<boolean>;
  /** `rt-sms.overdue`. */
  overdue(about: {
    uid?: string | undefined;
    id?: string | undefined;
    ref?: string | undefined;
    lastStatus?: RtSmsStatusEvent['status'] | undefined;
    overdueAfterMs: number;
  }): Promise<boolean>;
}

/** Value of the option `engine`: creates the engine of an account. */
export type SmsEngineFactory = (host: EngineHost) => SmsEngine;
