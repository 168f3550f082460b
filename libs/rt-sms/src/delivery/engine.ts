import type { Logger } from '@nestjs/common';
import type { CallFacts, CallOptions, CheckedMessage, SendOptions } from '../gateway/gateway.js';
import type { RateTicket } from '../gateway/rate.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import type { DeliveryReport } from '../message/status.js';
import type { RtSmsError } from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../rt-sms.options.js';
import type { RtSmsStatusEvent } from '../events/events.js';
import type { AuthGate } from './auth-gate.js';

export const SMS_PRIORITIES = ['otp', 'normal', 'bulk'] as const;
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

export interface QueuedSms {
  id: string;
}

export const QUEUED_STATES = ['queued', 'accepted', 'refused', 'unknown', 'expired', 'cancelled'] as const;

/** What became of a queued message so far. */
export interface QueuedSmsState {
  id: string;
  state: (typeof QUEUED_STATES)[number];
  /** Once it is `accepted`. */
  uid?: string;
  ref?: string;
  /** Why it is `refused` or `unknown`: the stable code of the error. */
  errorCode?: string;
}

/** A message as an engine takes it: checked, and with its id. */
export interface EngineItem extends CheckedMessage {
  id: string;
  ref?: string;
  /** The id was made up for this call: no engine can know it yet. */
  fresh?: boolean;
  notBefore: number;
  expiresAt?: number;
  priority: SmsPriority;
}

/** Follows uids until their final status. */
export interface DeliveryTracker {
  /** True if `uid` is followed here; then its callbacks need not wait for sends on their way. */
  follows(uid: string): boolean;
  /** From now on, or with the age that `sentAt` says. Never throws. */
  follow(uid: string, about?: { ref?: string | undefined; sentAt?: Date | undefined }): Promise<void> | void;
  /** Takes what is known of a message: believed words of a callback, or the gateway's own answer. */
  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> | void;
  /** Something may have happened to `uid`; `ask` even if it is not followed. */
  hint(uid: string, ask: boolean): Promise<void> | void;
  waitForFinal(uid: string, limits: CallOptions): Promise<RtSmsStatusEvent>;
  start(): Promise<void> | void;
  stop(): Promise<void> | void;
}

/** Queues messages and sends them; each id ends in exactly one outcome event. */
export interface SmsEngine {
  /** @throws RtSmsOverloadedError if it cannot take all of them; then it has taken none */
  enqueue(items: EngineItem[]): Promise<void>;
  find(id: string): Promise<QueuedSmsState | undefined>;
  /** True only if it will not be sent. */
  cancel(id: string): Promise<boolean>;
  /** Before the application listens. @throws RtSmsConfigError if it can never work: then the application does not start */
  prepare?(): Promise<void>;
  start(): Promise<void> | void;
  /** Takes no more, lets what is on its way finish, and says honestly what becomes of the rest. */
  stop(): Promise<void> | void;
  /** Lets go of everything: no callback can arrive any more. */
  close?(): Promise<void> | void;
  /** Replaces the tracking in memory, where the engine keeps its own record of deliveries. */
  readonly tracker?: DeliveryTracker;
}

/** What an account gives to its engine. */
export interface EngineHost {
  readonly options: ResolvedOptions;
  readonly logger: Logger;
  readonly gate: AuthGate;
  /** Waits for a start under `rate`; the returned function gives the place up. */
  slot(go: (ticket: RateTicket | undefined) => void): () => void;
  /** One POST, repeated only where it provably never left. Rejects with an `RtSmsError`. */
  send(message: CheckedMessage, limits: SendOptions): Promise<CallFacts & { uid: string }>;
  status(uid: string): Promise<SmsStatusReport>;
  /** Runs as a send in flight: statuses of unknown uids wait for it, so that `accepted` comes before them. */
  during<T>(work: () => Promise<T>): Promise<T>;
  follow(uid: string, ref: string | undefined): void;
  readonly emit: EngineEvents;
}

/** The outcome events; each resolves to true if every handler succeeded. */
export interface EngineEvents {
  status(event: RtSmsStatusEvent): Promise<boolean>;
  accepted(id: string, uid: string, ref: string | undefined): Promise<boolean>;
  refused(id: string, error: RtSmsError, ref: string | undefined): Promise<boolean>;
  outcomeUnknown(id: string, error: RtSmsError, ref: string | undefined): Promise<boolean>;
  expired(id: string, ref: string | undefined): Promise<boolean>;
  cancelled(id: string, ref: string | undefined): Promise<boolean>;
  unresolved(
    uid: string,
    about: { ref?: string | undefined; lastStatus?: RtSmsStatusEvent['status'] | undefined },
  ): Promise<boolean>;
}

/** The value of the option `engine`: makes the engine of an account. */
export type SmsEngineFactory = (host: EngineHost) => SmsEngine;
