import type { ServerResponse } from 'node:http';
import type { SimulatedExchange } from '../exchange.js';
import type { SimulatedCallback, SimulatedMessage } from '../messages.js';
import type { Schedule } from '../schedule.js';
import { countParts } from '../segments.js';

/** A message with its callbacks, requests and answers. */
export interface Entry {
  readonly message: SimulatedMessage;
  readonly callbacks: SimulatedCallback[];
  readonly exchanges: SimulatedExchange[];
}

/** A message in the list of the page. */
export type MessageRow = ReturnType<typeof rowOf>;
/** A request in the list of the page. */
export type RequestRow = ReturnType<typeof requestRowOf>;

/** Data of the events `state`, `older` and `change`. */
export interface JournalUpdate {
  readonly messages: readonly MessageRow[];
  readonly exchanges?: readonly RequestRow[];
  readonly settings?: object;
  /** Number of messages that are kept; in `state` only. */
  readonly keeps?: number;
}

/** An open page, and the changes that have not been sent to it yet. */
interface Viewer {
  readonly response: ServerResponse;
  readonly uids: Set<string>;
  readonly exchanges: SimulatedExchange[];
  settings: boolean;
}

const KEPT_MESSAGES = 10_000;
const KEPT_OF_ONE = 50;
const KEPT_EXCHANGES = 200;
/** Length of the text in the list; the view of one message has the full text. */
const SHOWN_CHARACTERS = 1_000;
/** A page shows the newest messages at once; the others follow in pieces small enough to keep it responsive. */
const FIRST_MESSAGES = 200;
const PIECE_MESSAGES = 2_000;
const FLUSH_MS = 50;
const HEARTBEAT_MS = 15_000;

/** Keeps the last 10 000 messages and reports them as server-sent events. Without an open page its cost is negligible. */
export class Journal {
  readonly #entries = new Map<string, Entry>();
  /** One iterator for the whole run: a new one would first step over the holes that earlier deletions left. */
  readonly #oldestFirst = this.#entries.keys();
  readonly #viewers = new Set<Viewer>();
  readonly #schedule: Schedule;
  readonly #settings: () => object;
  readonly #recent: () => readonly SimulatedExchange[];
  #flushing = false;
  #beating = false;

  constructor(schedule: Schedule, settings: () => object, recent: () => readonly SimulatedExchange[]) {
    this.#schedule = schedule;
    this.#settings = settings;
    this.#recent = recent;
  }

  find(uid: string): Entry | undefined {
    return this.#entries.get(uid);
  }

  /** Finds one of the last 200 requests, or a request of a kept message. */
  exchange(requestId: string, uid: string | null): SimulatedExchange | undefined {
    const known = (uid === null ? undefined : this.find(uid)?.exchanges) ?? this.#recent();
    return known.findLast((exchange) => exchange.requestId === requestId);
  }

  arrived(message: SimulatedMessage): void {
    this.#entries.set(message.uid, { message, callbacks: [], exchanges: [] });
    if (this.#entries.size > KEPT_MESSAGES) {
      const oldest = this.#oldestFirst.next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.changed(message.uid);
  }

  called(callback: SimulatedCallback): void {
    keep(this.#entries.get(callback.uid)?.callbacks, callback);
    this.changed(callback.uid);
  }

  exchanged(exchange: SimulatedExchange): void {
    const { uid } = exchange;
    if (uid !== undefined) keep(this.#entries.get(uid)?.exchanges, exchange);
    for (const viewer of this.#viewers) {
      if (uid !== undefined) viewer.uids.add(uid);
      if (viewer.exchanges.push(exchange) > KEPT_EXCHANGES * 2) viewer.exchanges.splice(0, KEPT_EXCHANGES);
      // The request may have used up one of the set faults, which are part of the settings.
      viewer.settings ||= exchange.fault !== undefined;
    }
    this.#flushSoon();
  }

  changed(uid: string): void {
    for (const viewer of this.#viewers) viewer.uids.add(uid);
    this.#flushSoon();
  }

  settingsChanged(): void {
    for (const viewer of this.#viewers) viewer.settings = true;
    this.#flushSoon();
  }

  /**
   * Sends the newest messages as the event `state`, the earlier ones as `older` (newest piece first), and from then on
   * all changes as `change`.
   */
  watch(response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const rows = Array.from(this.#entries.values(), rowOf);
    write(response, 'state', {
      messages: rows.slice(-FIRST_MESSAGES),
      exchanges: this.#recent().map(requestRowOf),
      settings: this.#settings(),
      keeps: KEPT_MESSAGES,
    });
    for (let end = rows.length - FIRST_MESSAGES; end > 0; end -= PIECE_MESSAGES) {
      write(response, 'older', { messages: rows.slice(Math.max(0, end - PIECE_MESSAGES), end) });
    }
    const viewer: Viewer = { response, uids: new Set(), exchanges: [], settings: false };
    this.#viewers.add(viewer);
    response.on('drain', () => this.#flushSoon());
    response.on('close', () => this.#viewers.delete(viewer));
    if (!this.#beating) this.#sendHeartbeats();
  }

  #flushSoon(): void {
    if (this.#flushing || this.#viewers.size === 0) return;
    this.#flushing = true;
    this.#schedule.after(FLUSH_MS, () => {
      this.#flushing = false;
      for (const viewer of this.#viewers) this.#sendChanges(viewer);
    });
  }

  #sendChanges(viewer: Viewer): void {
    const { response, uids, exchanges, settings } = viewer;
    // A slow reader gets the sum of the changes after it has drained.
    if (response.writableNeedDrain || (uids.size === 0 && exchanges.length === 0 && !settings)) return;
    const messages = Array.from(uids, (uid) => this.#entries.get(uid)).filter((entry) => entry !== undefined);
    write(response, 'change', {
      messages: messages.map(rowOf),
      exchanges: exchanges.slice(-KEPT_EXCHANGES).map(requestRowOf),
      ...(settings && { settings: this.#settings() }),
    });
    uids.clear();
    exchanges.length = 0;
    viewer.settings = false;
  }

  /** Keeps idle connections open and detects the broken ones. */
  #sendHeartbeats(): void {
    this.#beating = this.#viewers.size > 0;
    if (!this.#beating) return;
    this.#schedule.after(HEARTBEAT_MS, () => {
      for (const { response } of this.#viewers) response.write(':\n\n');
      this.#sendHeartbeats();
    });
  }
}

/** A message as a row of the list. Times are milliseconds since 1970. */
export function rowOf({ message, callbacks }: Entry) {
  return {
    uid: message.uid,
    at: message.createdAt.getTime(),
    changedAt: message.updatedAt.getTime(),
    msisdn: message.msisdn,
    shortcode: message.shortcode,
    text: message.text.slice(0, SHOWN_CHARACTERS),
    segments: message.parts ?? countParts(message.text),
    status: message.status,
    err: message.err,
    // A callback in flight is not lost, does not have a code and has not failed.
    callbacks: callbacks.map(({ status, code, error, lost }) => ({ status, code, failed: error !== undefined, lost })),
  };
}

function requestRowOf({ requestId, at, method, path, status, responseBody, uid, fault }: SimulatedExchange) {
  const reason = /"reason":"(\w+)"/.exec(responseBody ?? '')?.[1];
  return { requestId, at: at.getTime(), method, path, code: status, reason, uid, fault };
}

function keep<T>(list: T[] | undefined, item: T): void {
  if (list && list.push(item) > KEPT_OF_ONE) list.shift();
}

function write(response: ServerResponse, event: 'state' | 'older' | 'change', data: JournalUpdate): void {
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}
