import { CallbackClient } from './callback-client.js';
import type { MagicNumber } from './magic-numbers.js';
import type { MessageStatus, SimulatedCallback, SimulatedMessage, StatusDetails } from './messages.js';
import type { Settings } from './options.js';
import type { CredentialsPlace, Sms } from './protocol.js';
import { drawCallbackFaults, uidsOf } from './random.js';
import type { Schedule } from './schedule.js';
import { countParts } from './segments.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A message with the simulator's own state of it. */
interface Tracked {
  readonly message: Mutable<SimulatedMessage>;
  readonly ordinal: number;
  readonly magic: MagicNumber | undefined;
  /** Number of status changes so far. */
  changes: number;
  /** True after a status was reported by hand, which ends the automatic lifecycle. */
  manual: boolean;
  /** True after the POST was answered. */
  answered: boolean;
  /** Starts the callback queue, if one was formed before the POST was answered. */
  open: (() => void) | undefined;
  /** End of the callback queue. The callbacks of one message are sent one by one: two connections could reorder them. */
  queue: Promise<unknown> | undefined;
  /** Puts a callback that `reorder` held back into the queue. */
  release: (() => void) | undefined;
}

export interface LifecycleEvents {
  status(message: SimulatedMessage): void;
  sent(callback: SimulatedCallback): void;
  answered(callback: SimulatedCallback): void;
}

/** Longest time that a reordered callback waits for the next one, in addition to `finalMs`. */
const HOLD_MS = 1_000;

/** Keeps the messages, changes their statuses and sends the callbacks. */
export class Lifecycle {
  callbackUrl: string | undefined;
  readonly #settings: Settings;
  readonly #schedule: Schedule;
  readonly #events: LifecycleEvents;
  readonly #client: CallbackClient;
  readonly #nextUid: () => string;
  readonly #tracked = new Map<string, Tracked>();
  /** One iterator for the whole run: a new one would first step over the holes that earlier deletions left. */
  readonly #oldestFirst = this.#tracked.keys();
  /** Messages with a callback that is held back; `close()` releases them. */
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

  /** Stores a message. Its statuses start to change after `answered()`. */
  accept(
    sms: Sms,
    magic: MagicNumber | undefined,
    origin: { readonly requestId: string; readonly credentials: CredentialsPlace },
  ): SimulatedMessage {
    const now = new Date();
    // All fields from the start and no spread: half the memory and time, which matters with 100 000 messages.
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
      queue: undefined,
      release: undefined,
    });
    if (this.#tracked.size > this.#settings.maxMessages) {
      const oldest = this.#oldestFirst.next();
      if (!oldest.done) this.#tracked.delete(oldest.value);
    }
    return message;
  }

  /** The message that a status request finds. */
  find(uid: string): SimulatedMessage | undefined {
    const tracked = this.#tracked.get(uid);
    return tracked?.magic?.forgotten ? undefined : tracked?.message;
  }

  /** Starts callbacks and the automatic lifecycle, because the POST was answered or never will be. */
  answered(uid: string): void {
    const tracked = this.#tracked.get(uid);
    if (!tracked) return;
    tracked.answered = true;
    tracked.open?.();
    this.#advance(tracked);
  }

  /** Makes the first change of status now and sends its callback, for `callbackBeforeAnswer`. */
  async begin(uid: string): Promise<void> {
    const tracked = this.#tracked.get(uid);
    if (!tracked) return;
    tracked.answered = true;
    const [first] = this.#settings.lifecycle ? stepsOf(tracked.magic) : [];
    if (first !== undefined) await this.#change(tracked, first, tracked.magic ?? {});
  }

  /** @throws RangeError if the simulator does not keep a message with this uid */
  report(uid: string, status: MessageStatus, details: StatusDetails): Promise<SimulatedCallback | undefined> {
    const tracked = this.#kept(uid);
    tracked.manual = true;
    return this.#change(tracked, status, details);
  }

  /** @throws RangeError if the simulator does not keep a message with this uid, or if it has not had a status yet */
  resend(uid: string): Promise<SimulatedCallback | undefined> {
    const tracked = this.#kept(uid);
    const { message } = tracked;
    if (message.status === 'accepted')
      throw new RangeError(
        `Message ${uid} has had no status yet, so there is no callback to resend. Fix: report a status first`,
      );
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
    if (!tracked)
      throw new RangeError(
        `No message ${uid} is kept by this simulator. Fix: use a uid of a message in the property messages`,
      );
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
    const drawn = drawCallbackFaults(this.#settings.seed, tracked.ordinal, change, this.#settings);
    const url = this.#addressed(this.callbackUrl, message);
    const held = tracked.release;
    if (drawn.lost || details.lost || magic?.callbacks === 'lost') {
      const callback = { uid: message.uid, status, url, lost: true, copy: false, sentAt: new Date() };
      this.#events.sent(callback);
      this.#events.answered(callback);
      held?.();
      return Promise.resolve(callback);
    }
    const send = () => this.#send(tracked, status, url, drawn.doubled || magic?.callbacks === 'doubled');
    // A callback that overtakes a held one must not be held as well, or the two would be in order again.
    if (!held && (drawn.reordered || magic?.callbacks === 'reordered')) return this.#hold(tracked, send);
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
    const turn = tracked.queue ?? new Promise<void>((open) => (tracked.answered ? open() : (tracked.open = open)));
    const sent = turn.then(async () => {
      const callback = await this.#deliver({ uid, status, url, lost: false, copy: false, sentAt: new Date() });
      if (doubled) await this.#deliver({ uid, status, url, lost: false, copy: true, sentAt: new Date() });
      return callback;
    });
    tracked.queue = sent.catch(() => undefined);
    return sent;
  }

  async #deliver(callback: Mutable<SimulatedCallback>): Promise<SimulatedCallback> {
    this.#events.sent(callback);
    Object.assign(callback, await this.#client.get(callback.url));
    this.#events.answered(callback);
    return callback;
  }

  /** Appends id, status, parts, and err for rejected (§3.1.1) to the query that the address already has. */
  #addressed(address: string, { uid, status, parts, err }: SimulatedMessage): string {
    const id = this.#settings.callbackId === 'bare' ? uid.replace(/^message-id-/, '') : uid;
    const query = new URLSearchParams({ id, status, parts: String(parts), ...(err !== undefined && { err }) });
    const joint = /[?&]$/.test(address) ? '' : address.includes('?') ? '&' : '?';
    return `${address}${joint}${query.toString()}`;
  }
}

/** The statuses that follow automatically. A message that never reaches the operator skips `awaiting_report`. */
function stepsOf(magic: MagicNumber | undefined): readonly MessageStatus[] {
  if (magic?.forgotten) return [];
  const final = magic?.status ?? 'delivered';
  return ['awaiting_report', 'rejected', 'insufficient_balance'].includes(final) ? [final] : ['awaiting_report', final];
}
