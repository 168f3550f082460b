import type { Logger } from '@nestjs/common';
import type { CallFacts, CheckedMessage, RateTicket, SendOptions } from '../gateway/calls.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import type { DeliveryReport } from '../message/status.js';
import type { RtSmsError } from '../rt-sms.errors.js';
import type { RtSmsStatusEvent } from '../events/events.js';
import { redact } from '../redact.js';

/** The values of `SmsPriority`, the first goes first. */
export const SMS_PRIORITIES = ['otp', 'normal', 'bulk'] as const;
/** Which of the waiting messages goes first. */
export type SmsPriority = (typeof SMS_PRIORITIES)[number];

/** How a message is to be queued. */
export interface EnqueueOptions {
  /** Yours, 1 to 128 characters: the same id is the same message and is sent once. @default a random one */
  id?: string;
  /** Not before so many milliseconds from now. @default 0 */
  delayMs?: number;
  /** A message that could not be sent by then is not sent at all: `rt-sms.expired`. */
  expiresAt?: Date;
  /** Which of the waiting messages goes first. @default 'normal' */
  priority?: SmsPriority;
}

/** What `enqueue` gives back. */
export interface QueuedSms {
  /** Of the message: given by the caller, or made up. */
  id: string;
}

/** What can have become of a queued message. */
export const QUEUED_STATES = ['queued', 'accepted', 'refused', 'unknown', 'expired', 'cancelled'] as const;

/** What became of a queued message so far. */
export interface QueuedSmsState {
  /** That of `enqueue`. */
  id: string;
  /** `queued` until its outcome is known. */
  state: (typeof QUEUED_STATES)[number];
  /** Once it is `accepted`. */
  uid?: string;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
  /** Why it is `refused` or `unknown`: the stable code of the error. */
  errorCode?: string;
}

/** A message as an engine takes it: checked, and with its id. */
export interface EngineItem extends CheckedMessage {
  /** Given by the caller, or made up. */
  id: string;
  /** Yours, from `SmsMessage.ref`. */
  ref?: string;
  /** The id was made up for this call: no engine can know it yet. */
  fresh?: boolean;
  /** Unix time in milliseconds before which it must not be sent. */
  notBefore: number;
  /** Unix time in milliseconds after which it must not be sent. */
  expiresAt?: number;
  /** Which of the waiting messages goes first. */
  priority: SmsPriority;
}

/** The problem with an id that is used again for something else. */
export const idTaken = (id: string): string =>
  `id: '${redact(id)}' is already used by a different message (another text, number or sender)`;

/**
 * Uids that only callbacks have named are remembered up to this number: anyone who knows the callback's secret can invent any
 * number of them.
 */
export const MAX_UNKNOWN_UIDS = 10_000;
/** A callback about an unknown uid waits at most this long for pending sends, in milliseconds: its message may be one of them. */
export const PENDING_SENDS_WAIT_MS = 2_000;

/** Follows uids until their final status. */
export interface DeliveryTracker {
  /** How many are followed, if it is known here; for metrics. */
  readonly size?: number;
  /** True if `uid` is followed here; then its callbacks need not wait for sends on their way. */
  follows(uid: string): boolean;
  /** True if this account sent `uid`, or was asked to follow it, as far as the records go back. */
  knows(uid: string): Promise<boolean> | boolean;
  /** From now on, or with the age that `sentAt` says. Never throws. */
  follow(uid: string, about?: { ref?: string | undefined; sentAt?: Date | undefined }): Promise<void> | void;
  /**
   * Takes a status: from a believed callback, or from the gateway's own answer. A callback about a uid that is not known is
   * emitted once, unless another account of the application sent the message; the gateway is not asked for such a uid.
   */
  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> | void;
  /**
   * Something may have happened to `uid`: asks the gateway soon if the message is followed. With `ask` once also if it is not.
   * Without `ask` anybody can have sent the hint, so the engine must not make the caller wait for a store.
   */
  hint(uid: string, ask: boolean): Promise<void> | void;
  /**
   * The final event of `uid`, if it is known; else it is followed and asked for once, and its event comes by `emit`. Where
   * it may come on another replica, this looks for it until the wait `isOver`. What the request failed with may be returned.
   */
  seek(uid: string, isOver: () => boolean): Promise<RtSmsStatusEvent | Error | undefined>;
  /** Once the application listens. */
  start?(): void;
  /** Emits nothing any more. */
  stop(): Promise<void> | void;
}

/** Queues messages and sends them; each id ends in exactly one outcome event. */
export interface SmsEngine {
  /** Takes all of them or none. @throws RtSmsOverloadedError */
  enqueue(items: EngineItem[]): Promise<void>;
  /** What became of it; nothing if the id is not known. */
  find(id: string): Promise<QueuedSmsState | undefined>;
  /** True only if it will not be sent. */
  cancel(id: string): Promise<boolean>;
  /** Before the application listens. @throws RtSmsConfigError if it can never work: then the application does not start */
  prepare?(): Promise<void>;
  /** Once the application listens. */
  start(): Promise<void> | void;
  /** How many messages wait to be sent, for metrics. */
  waiting?(): Promise<number> | number;
  /** Takes no more, lets what is on its way finish, and says honestly what becomes of the rest. */
  stop(): Promise<void> | void;
  /** Lets go of everything: no callback can arrive any more. */
  close?(): Promise<void> | void;
  /** Replaces the tracking in memory, where the engine keeps its own record of deliveries. */
  readonly tracker?: DeliveryTracker;
}

/** The options of an account that concern an engine, checked, with their defaults. */
export interface EngineSettings {
  /** The account's name, `'default'` without one. */
  readonly account: string;
  /** Login of the HTTP connection in the cabinet (§1.2). */
  readonly login: string;
  /** Password of the HTTP connection in the cabinet (§1.2). */
  readonly password: string;
  /** Connections to the gateway: more requests than that only wait for one. */
  readonly connections: number;
  /** Sends that may start in any sliding second; absent without a limit. */
  readonly rate?: { readonly perSecond: number } | undefined;
  /** Unsent messages that the engine in memory holds. */
  readonly engineLimit: number;
  /** For how many milliseconds after it settled an `id` of `enqueue` means the same message. */
  readonly idempotencyMs: number;
  /** How messages are followed until their final status; `false`: not at all. */
  readonly tracking:
    | false
    | {
        /** Milliseconds between status requests; the last repeats. */
        readonly schedule: readonly number[];
        /** Milliseconds after which a message without a final status is given up. */
        readonly maxAgeMs: number;
        /** Uids followed at once. */
        readonly limit: number;
        /** Settled uids kept. */
        readonly remember: number;
        /** Status requests that may start in any second. */
        readonly perSecond: number;
      };
}

/** What an account gives to its engine. */
export interface EngineHost {
  /** Those of the account, checked, with defaults. */
  readonly options: EngineSettings;
  /** The account's. */
  readonly logger: Logger;
  /** Shut while the gateway refuses this account here. */
  readonly gate: {
    /** Why it is shut. */
    readonly error: RtSmsError | undefined;
    /** Calls `go` each time it opens. */
    onOpen(go: () => void): void;
  };
  /** Waits for a start under `rate`; the returned function gives the place up. */
  slot(go: (ticket: RateTicket | undefined) => void): () => void;
  /** One POST, repeated only where it provably never left. Rejects with an `RtSmsError`. */
  send(message: CheckedMessage, limits: SendOptions): Promise<CallFacts & { uid: string }>;
  /** One status request. Rejects with an `RtSmsError`. */
  status(uid: string): Promise<SmsStatusReport>;
  /** Runs what is done for one queued message, as the operator's telemetry sees it. */
  job<T>(work: () => Promise<T>): Promise<T>;
  /** Runs as a send in flight: statuses of unknown uids wait for it, so that `accepted` comes before them. */
  during<T>(work: () => Promise<T>): Promise<T>;
  /** Gives an accepted message to the tracker. */
  follow(uid: string, ref: string | undefined): void;
  /** Whether another account of this application sent `uid`; at once `false` where there is no other account. */
  sentByAnother(uid: string): Promise<boolean> | false;
  /** The account's events. */
  readonly emit: EngineEvents;
}

/** The outcome events; each resolves to true if every handler succeeded. */
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
}

/** The value of the option `engine`: makes the engine of an account. */
export type SmsEngineFactory = (host: EngineHost) => SmsEngine;
