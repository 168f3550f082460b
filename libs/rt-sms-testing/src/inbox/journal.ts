import type { ServerResponse } from 'node:http';
import type { SimulatedExchange } from '../gateway-http.js';
import type { SimulatedCallback, SimulatedMessage } from '../lifecycle.js';
import type { Schedule } from '../schedule.js';
import { countParts } from '../segments.js';

/** A message with all that was said about it. */
export interface Entry {
  readonly message: SimulatedMessage;
  readonly callbacks: SimulatedCallback[];
  readonly exchanges: SimulatedExchange[];
}

/** A message, or a request, in the lists of the page. */
export type MessageRow = ReturnType<typeof rowOf>;
export type RequestRow = ReturnType<typeof briefly>;

/** The data of the events `state`, `older` and `change`. */
export interface News {
  readonly messages: readonly MessageRow[];
  readonly exchanges?: readonly RequestRow[];
  readonly settings?: object;
  /** How many messages are kept; with `state` only. */
  readonly keeps?: number;
}

/** One who looks on, and what is still to be told. */
interface Viewer {
  readonly response: ServerResponse;
  readonly uids: Set<string>;
  readonly exchanges: SimulatedExchange[];
  settings: boolean;
}

const KEPT_MESSAGES = 10_000;
const KEPT_OF_ONE = 50;
const KEPT_EXCHANGES = 200;
/** In a list nobody reads more of a text; the view of one message has it all. */
const SHOWN_CHARACTERS = 1_000;
/** A page shows the newest at once and gets the others behind, in pieces that it can swallow without a hitch. */
const FIRST_MESSAGES = 200;
const PIECE_MESSAGES = 2_000;
const FLUSH_MS = 50;
const HEARTBEAT_MS = 15_000;

/** The last 10 000 messages, and the server-sent events that tell of them. With nobody looking on it costs next to nothing. */
export class Journal {
  readonly #entries = new Map<string, Entry>();
  /** One live iterator for good: a new one would step over the holes of all that was deleted before. */
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

  /** A request of the last 200, or of a message that is kept. */
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
      // It may have played one of the faults that were waiting.
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
   * Tells of what there is, the newest as the event `state`, what is before them as `older` (each later one is before the
   * last), and from then on of what changed, as `change`.
   */
  watch(response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const rows = Array.from(this.#entries.values(), rowOf);
    write(response, 'state', {
      messages: rows.slice(-FIRST_MESSAGES),
      exchanges: this.#recent().map(briefly),
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
    if (!this.#beating) this.#beat();
  }

  #flushSoon(): void {
    if (this.#flushing || this.#viewers.size === 0) return;
    this.#flushing = true;
    this.#schedule.after(FLUSH_MS, () => {
      this.#flushing = false;
      for (const viewer of this.#viewers) this.#tell(viewer);
    });
  }

  #tell(viewer: Viewer): void {
    const { response, uids, exchanges, settings } = viewer;
    // One who reads slowly gets the sum of the changes later.
    if (response.writableNeedDrain || (uids.size === 0 && exchanges.length === 0 && !settings)) return;
    const messages = Array.from(uids, (uid) => this.#entries.get(uid)).filter((entry) => entry !== undefined);
    write(response, 'change', {
      messages: messages.map(rowOf),
      exchanges: exchanges.slice(-KEPT_EXCHANGES).map(briefly),
      ...(settings && { settings: this.#settings() }),
    });
    uids.clear();
    exchanges.length = 0;
    viewer.settings = false;
  }

  /** Keeps idle connections open, and finds those that broke without a word. */
  #beat(): void {
    this.#beating = this.#viewers.size > 0;
    if (!this.#beating) return;
    this.#schedule.after(HEARTBEAT_MS, () => {
      for (const { response } of this.#viewers) response.write(':\n\n');
      this.#beat();
    });
  }
}

/** What is shown of a message in the list. Times are milliseconds since 1970. */
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
    // Lost, answered with a code, failed, or none of them yet.
    callbacks: callbacks.map(({ status, code, error, lost }) => ({ status, code, failed: error !== undefined, lost })),
  };
}

export function briefly({ requestId, at, method, path, status, responseBody, uid, fault }: SimulatedExchange) {
  const reason = /"reason":"(\w+)"/.exec(responseBody ?? '')?.[1];
  return { requestId, at: at.getTime(), method, path, code: status, reason, uid, fault };
}

function keep<T>(list: T[] | undefined, item: T): void {
  if (list && list.push(item) > KEPT_OF_ONE) list.shift();
}

function write(response: ServerResponse, event: 'state' | 'older' | 'change', data: News): void {
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}
