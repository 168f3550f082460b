import { CallbackClient } from './callback-client.js';
import type { MagicNumber } from './magic-numbers.js';
import type { Settings } from './options.js';
import type { CredentialsPlace, Sms, SmsStatus } from './protocol.js';
import { fateOf, uidsOf } from './random.js';
import type { Schedule } from './schedule.js';
import { countParts } from './segments.js';

/**
 * `accepted` is the time between the answer to the POST and the operator; the document has no word for it, and a status
 * request then says `awaiting_report`. Any other string may be reported to try a status that is not in the document.
 */
export type MessageStatus = 'accepted' | SmsStatus | (string & Record<never, never>);

/** A message that the gateway accepted. The object lives: its status changes. */
export interface SimulatedMessage {
  /** `message-id-…`. */
  readonly uid: string;
  /** Digits only. */
  readonly msisdn: string;
  /** As it was received. */
  readonly text: string;
  /** The sender name. */
  readonly shortcode: string;
  /** When it was accepted. */
  readonly createdAt: Date;
  /** When its status last changed. */
  readonly updatedAt: Date;
  /** Its status now. */
  readonly status: MessageStatus;
  /** Number of parts, once a status is known. */
  readonly parts: number | undefined;
  /** The error code of a rejected message. */
  readonly err: string | undefined;
  /** The x-request-id of the answer to its POST. */
  readonly requestId: string;
  /** Where the credentials stood. */
  readonly credentials: CredentialsPlace;
}

/** A callback (§3.1.1) that was sent, or would have been had it not been lost. The object lives until it is answered. */
export interface SimulatedCallback {
  /** Of the message. */
  readonly uid: string;
  /** What it said. */
  readonly status: string;
  /** What was asked for, with its query. */
  readonly url: string;
  /** Lost on purpose: nothing was sent. */
  readonly lost: boolean;
  /** The second copy of a doubled callback. */
  readonly copy: boolean;
  /** When it was sent. */
  readonly sentAt: Date;
  /** The HTTP status of the answer. */
  readonly code?: number;
  /** Why there was no answer. */
  readonly error?: string;
}

/** What a report says beside the status. */
export interface StatusDetails {
  /** Number of parts. @default counted from the text */
  readonly parts?: number;
  /** The error code; like the provider, it is kept and sent only with `rejected`. */
  readonly err?: string;
  /** The status changes, but its callback is lost. @default false */
  readonly lost?: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A message and what is not shown of it. */
interface Tracked {
  readonly message: Mutable<SimulatedMessage>;
  readonly ordinal: number;
  readonly magic: MagicNumber | undefined;
  /** Status changes so far. */
  changes: number;
  /** Reported by hand: the automatic lifecycle is over. */
  manual: boolean;
  /** The POST was answered. */
  answered: boolean;
  /** Lets the line begin, where one was formed before the POST was answered. */
  open: (() => void) | undefined;
  /** The callbacks of one message stand in line, or two connections could turn their order round. */
  line: Promise<unknown> | undefined;
  /** Puts a callback that was held back by `reorder` into the line. */
  release: (() => void) | undefined;
}

export interface LifecycleEvents {
  status(message: SimulatedMessage): void;
  sent(callback: SimulatedCallback): void;
  answered(callback: SimulatedCallback): void;
}

/** The longest that a reordered callback waits for a next one, beyond the time the lifecycle takes. */
const HOLD_MS = 1_000;

/** The messages, how their statuses change, and the callbacks that tell of it. */
export class Lifecycle {
  callbackUrl: string | undefined;
  readonly #settings: Settings;
  readonly #schedule: Schedule;
  readonly #events: LifecycleEvents;
  readonly #client: CallbackClient;
  readonly #nextUid: () => string;
  readonly #tracked = new Map<string, Tracked>();
  /** One live iterator for good: a new one would step over the holes of all that was deleted before. */
  readonly #oldestFirst = this.#tracked.keys();
  /** Messages whose callback is held back, so that none is left behind on close. */
  readonly #holding = new Set<Tracked>();
  #accepted = 0;

  constructor(settings: Settings, schedule: Schedule, events: LifecycleEvents) {
    this.callbackUrl = settings.callbackUrl;
    this.#settings = settings;
    this.#schedule = schedule;
    this.#events = events;
    this.#client = new CallbackClient(settings.callbackTimeoutMs);
    this.#nextUid = uidsOf(settings.seed);
  }

  get messages(): SimulatedMessage[] {
    return Array.from(this.#tracked.values(), ({ message }) => message);
  }

  /** Keeps a message; nothing happens to it before `answered()`. */
  accept(
    sms: Sms,
    magic: MagicNumber | undefined,
    origin: { readonly requestId: string; readonly credentials: CredentialsPlace },
  ): SimulatedMessage {
    const now = new Date();
    // Every field from the start, and no spread: twice as small and quick, which tells at 100 000 messages.
    const message: SimulatedMessage = {
      uid: this.#nextUid(),
      msisdn: sms.msisdn,
      text: sms.text,
      shortcode: sms.shortcode,
      createdAt: now,
      updatedAt: now,
      status: 'accepted',
      parts: undefined,
      err: undefined,
      requestId: origin.requestId,
      credentials: origin.credentials,
    };
    this.#tracked.set(message.uid, {
      message,
      ordinal: this.#accepted++,
      magic,
      changes: 0,
      manual: false,
      answered: false,
      open: undefined,
      line: undefined,
      release: undefined,
    });
    if (this.#tracked.size > this.#settings.maxMessages) {
      const oldest = this.#oldestFirst.next();
      if (!oldest.done) this.#tracked.delete(oldest.value);
    }
    return message;
  }

  /** What a status request finds. */
  find(uid: string): SimulatedMessage | undefined {
    const tracked = this.#tracked.get(uid);
    return tracked?.magic?.forgotten ? undefined : tracked?.message;
  }

  /** The POST was answered, or never will be: callbacks may go out, the automatic lifecycle begins. */
  answered(uid: string): void {
    const tracked = this.#tracked.get(uid);
    if (!tracked) return;
    tracked.answered = true;
    tracked.open?.();
    this.#advance(tracked);
  }

  /** Makes the first change of status now, callback included, for `callbackBeforeAnswer`. */
  async begin(uid: string): Promise<void> {
    const tracked = this.#tracked.get(uid);
    if (!tracked) return;
    tracked.answered = true;
    const [first] = this.#settings.lifecycle ? stepsOf(tracked.magic) : [];
    if (first !== undefined) await this.#change(tracked, first, tracked.magic ?? {});
  }

  /** @throws RangeError for a uid that is not kept */
  report(uid: string, status: MessageStatus, details: StatusDetails): Promise<SimulatedCallback | undefined> {
    const tracked = this.#kept(uid);
    tracked.manual = true;
    return this.#change(tracked, status, details);
  }

  /** @throws RangeError for a uid that is not kept, or for a message that has had no status yet */
  resend(uid: string): Promise<SimulatedCallback | undefined> {
    const tracked = this.#kept(uid);
    const { message } = tracked;
    if (message.status === 'accepted') throw new RangeError(`Message ${uid} has had no status yet: nothing to resend`);
    if (this.callbackUrl === undefined) return Promise.resolve(undefined);
    return this.#send(tracked, message.status, this.#addressed(this.callbackUrl, message), false);
  }

  close(): void {
    this.#client.close();
    for (const tracked of this.#holding) tracked.release?.();
    for (const { open } of this.#tracked.values()) open?.();
  }

  #kept(uid: string): Tracked {
    const tracked = this.#tracked.get(uid);
    if (!tracked) throw new RangeError(`No message ${uid} is kept by this simulator`);
    return tracked;
  }

  #advance(tracked: Tracked): void {
    const { lifecycle } = this.#settings;
    const next = stepsOf(tracked.magic)[tracked.changes];
    if (!lifecycle || next === undefined) return;
    this.#schedule.after(tracked.changes === 0 ? lifecycle.awaitingMs : lifecycle.finalMs, () => {
      if (tracked.manual || !this.#settings.lifecycle) return;
      void this.#change(tracked, next, tracked.magic ?? {});
      this.#advance(tracked);
    });
  }

  #change(tracked: Tracked, status: MessageStatus, details: StatusDetails): Promise<SimulatedCallback | undefined> {
    const { message, magic } = tracked;
    message.status = status;
    message.updatedAt = new Date();
    message.parts = details.parts ?? message.parts ?? countParts(message.text);
    message.err = status === 'rejected' ? details.err : undefined;
    const change = tracked.changes++;
    this.#events.status(message);

    if (this.callbackUrl === undefined) return Promise.resolve(undefined);
    const fate = fateOf(this.#settings.seed, tracked.ordinal, change, this.#settings);
    const url = this.#addressed(this.callbackUrl, message);
    const held = tracked.release;
    if (fate.lost || details.lost || magic?.callbacks === 'lost') {
      const callback = { uid: message.uid, status, url, lost: true, copy: false, sentAt: new Date() };
      this.#events.sent(callback);
      this.#events.answered(callback);
      held?.();
      return Promise.resolve(callback);
    }
    const send = () => this.#send(tracked, status, url, fate.doubled || magic?.callbacks === 'doubled');
    // What overtakes a callback that is held back does not wait itself, or the two would be in order again.
    if (!held && (fate.reordered || magic?.callbacks === 'reordered')) return this.#hold(tracked, send);
    const sent = send();
    held?.();
    return sent;
  }

  #hold(tracked: Tracked, send: () => Promise<SimulatedCallback>): Promise<SimulatedCallback> {
    const { lifecycle } = this.#settings;
    return new Promise((resolve) => {
      const release = (): void => {
        if (tracked.release !== release) return;
        tracked.release = undefined;
        this.#holding.delete(tracked);
        resolve(send());
      };
      tracked.release = release;
      this.#holding.add(tracked);
      this.#schedule.after(HOLD_MS + (lifecycle ? lifecycle.finalMs : 0), release);
    });
  }

  #send(tracked: Tracked, status: string, url: string, doubled: boolean): Promise<SimulatedCallback> {
    const { uid } = tracked.message;
    const turn = tracked.line ?? new Promise<void>((open) => (tracked.answered ? open() : (tracked.open = open)));
    const sent = turn.then(async () => {
      const callback = await this.#deliver({ uid, status, url, lost: false, copy: false, sentAt: new Date() });
      if (doubled) await this.#deliver({ uid, status, url, lost: false, copy: true, sentAt: new Date() });
      return callback;
    });
    tracked.line = sent.catch(() => undefined);
    return sent;
  }

  async #deliver(callback: Mutable<SimulatedCallback>): Promise<SimulatedCallback> {
    this.#events.sent(callback);
    Object.assign(callback, await this.#client.get(callback.url));
    this.#events.answered(callback);
    return callback;
  }

  /** §3.1.1: id, status, parts, and err for rejected, behind whatever query the address has. */
  #addressed(address: string, { uid, status, parts, err }: SimulatedMessage): string {
    const id = this.#settings.callbackId === 'bare' ? uid.replace(/^message-id-/, '') : uid;
    const query = new URLSearchParams({ id, status, parts: String(parts), ...(err !== undefined && { err }) });
    const joint = /[?&]$/.test(address) ? '' : address.includes('?') ? '&' : '?';
    return `${address}${joint}${query.toString()}`;
  }
}

/** The statuses that follow by themselves. What never goes to the operator has no `awaiting_report`. */
function stepsOf(magic: MagicNumber | undefined): readonly MessageStatus[] {
  if (magic?.forgotten) return [];
  const final = magic?.status ?? 'delivered';
  return ['awaiting_report', 'rejected', 'insufficient_balance'].includes(final) ? [final] : ['awaiting_report', final];
}
