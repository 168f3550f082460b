import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SimulatedExchange } from '../exchange.js';
import { type Fault, type FaultDetails, TRANSPORT_FAULTS } from '../faults.js';
import { inboxRejection } from '../guard.js';
import { MAGIC_NUMBERS } from '../magic-numbers.js';
import type { MessageStatus, SimulatedCallback, SimulatedMessage, StatusDetails } from '../messages.js';
import type { RtSmsSimulatorAdjustments } from '../options.js';
import { type JsonObject, readBody, REASONS, STATUSES } from '../protocol.js';
import type { Schedule } from '../schedule.js';
import { Journal, rowOf } from './journal.js';
import { readPage } from './page.js';

/** The simulator's methods that the inbox uses; all of them are open to tests as well. */
interface Gateway {
  readonly url: string;
  readonly seed: number;
  readonly callbackUrl: string | undefined;
  readonly adjustments: Required<RtSmsSimulatorAdjustments>;
  readonly faults: Readonly<
    Record<'send' | 'status', readonly { readonly fault: FaultDetails; readonly times: number | null }[]>
  >;
  readonly exchanges: readonly SimulatedExchange[];
  report(uid: string, status: MessageStatus, details: StatusDetails): Promise<SimulatedCallback | undefined>;
  resend(uid: string): Promise<SimulatedCallback | undefined>;
  nextSend(fault: Fault, times?: number): void;
  nextStatus(fault: Fault, times?: number): void;
  clearFaults(): void;
  callTo(url: string | undefined): void;
  adjust(changes: RtSmsSimulatorAdjustments): void;
}

type Answer = { readonly code: number; readonly json: object };

const MAX_BODY_BYTES = 65_536;
const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

/** Serves the page at `/` that shows the messages, and its JSON under `/inbox/`. */
export class Inbox {
  readonly #gateway: Gateway;
  readonly #hosts: readonly string[];
  readonly #journal: Journal;
  readonly #notice: string | null;
  readonly #page = readPage();

  /**
   * @param hosts names under which other machines may open the inbox
   * @param notice text in the head of the page
   */
  constructor(gateway: Gateway, hosts: readonly string[], schedule: Schedule, notice?: string) {
    this.#gateway = gateway;
    this.#notice = notice ?? null;
    this.#hosts = hosts;
    this.#journal = new Journal(
      schedule,
      () => this.#settings(),
      () => gateway.exchanges,
    );
  }

  arrived(message: SimulatedMessage): void {
    this.#journal.arrived(message);
  }

  called(callback: SimulatedCallback): void {
    this.#journal.called(callback);
  }

  exchanged(exchange: SimulatedExchange): void {
    this.#journal.exchanged(exchange);
  }

  changed(uid: string): void {
    this.#journal.changed(uid);
  }

  settingsChanged(): void {
    this.#journal.settingsChanged();
  }

  /** Answers a request to the inbox; returns false for any other request. */
  visit(request: IncomingMessage, response: ServerResponse): boolean {
    const target = request.url ?? '';
    if (target !== '/' && !target.startsWith('/inbox/') && !target.startsWith('/?')) return false;
    const rejection = inboxRejection(request, this.#hosts);
    if (rejection !== undefined) {
      request.resume();
      this.#send(response, { code: 403, json: { error: rejection } });
      return true;
    }
    const { pathname, searchParams } = new URL(target, 'http://inbox');
    const asset = this.#page.get(pathname);
    if (request.method === 'POST') void this.#post(request, response, pathname);
    else if (request.method !== 'GET')
      this.#send(response, { code: 405, json: { error: 'Only GET and POST are supported.' } });
    else if (asset) response.writeHead(200, { ...HEADERS, 'Content-Type': asset.type }).end(asset.body);
    else if (pathname === '/inbox/events') this.#journal.watch(response);
    else this.#send(response, this.#get(pathname, searchParams));
    return true;
  }

  #get(path: string, query: URLSearchParams): Answer {
    const [, kind, id = ''] = /^\/inbox\/(messages|exchanges)\/([^/]+)$/.exec(path) ?? [];
    if (kind === 'messages') {
      const entry = this.#journal.find(id);
      if (entry) return { code: 200, json: { ...rowOf(entry), ...entry } };
    } else if (kind === 'exchanges') {
      const exchange = this.#journal.exchange(id, query.get('uid'));
      if (exchange) return { code: 200, json: exchange };
    }
    return notFound(path);
  }

  async #post(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    try {
      this.#send(response, await this.#act(path, await bodyOf(request)));
    } catch (error) {
      const code = error instanceof RangeError ? 404 : error instanceof TypeError ? 400 : 500;
      this.#send(response, { code, json: { error: error instanceof Error ? error.message : String(error) } });
    }
  }

  async #act(path: string, body: JsonObject): Promise<Answer> {
    const [, uid, act] = /^\/inbox\/messages\/([^/]+)\/(report|resend)$/.exec(path) ?? [];
    if (uid !== undefined) {
      const callback =
        act === 'resend' ? await this.#gateway.resend(uid) : await this.#gateway.report(uid, ...reportOf(body));
      return { code: 200, json: { callback: callback ?? null } };
    }
    switch (path) {
      case '/inbox/faults': {
        const { on, fault, times } = body;
        if (on !== 'send' && on !== 'status') throw new TypeError('on must be "send" or "status"');
        if (fault === undefined || fault === null) throw new TypeError('fault is missing');
        const add = on === 'send' ? 'nextSend' : 'nextStatus';
        this.#gateway[add](fault, times === null ? Infinity : ((times as number | undefined) ?? 1));
        break;
      }
      case '/inbox/faults/clear':
        this.#gateway.clearFaults();
        break;
      case '/inbox/settings': {
        const { callbackUrl, ...changes } = body;
        this.#gateway.adjust(changes);
        if (callbackUrl !== undefined) this.#gateway.callTo((callbackUrl as string | null) ?? undefined);
        break;
      }
      default:
        return notFound(path);
    }
    return { code: 200, json: this.#settings() };
  }

  #settings() {
    return { ...settingsOf(this.#gateway), notice: this.#notice };
  }

  #send(response: ServerResponse, { code, json }: Answer): void {
    response
      .writeHead(code, { ...HEADERS, 'Content-Type': 'application/json; charset=utf-8' })
      .end(JSON.stringify(json));
  }
}

/** Settings that the page shows, and the choices that it offers. */
export type InboxSettings = ReturnType<typeof settingsOf> & { readonly notice: string | null };

function settingsOf({ url, seed, callbackUrl, adjustments, faults }: Gateway) {
  const choices = { statuses: STATUSES, reasons: REASONS, transportFaults: TRANSPORT_FAULTS, magic: MAGIC_NUMBERS };
  return { url, seed, callbackUrl: callbackUrl ?? null, ...adjustments, faults, choices };
}

function notFound(path: string): Answer {
  return {
    code: 404,
    json: { error: `Not found: ${path}. It may have been deleted, because only the newest entries are kept.` },
  };
}

function reportOf({ status, err, parts, lost }: JsonObject): [MessageStatus, StatusDetails] {
  if (typeof status !== 'string') throw new TypeError('status must be a string');
  if (err !== undefined && typeof err !== 'string') throw new TypeError('err must be a string');
  if (parts !== undefined && typeof parts !== 'number') throw new TypeError('parts must be a number');
  return [status, { ...(err && { err }), ...(parts !== undefined && { parts }), lost: lost === true }];
}

/** Requires the Content-Type of JSON, which a form on a page of another origin cannot send. */
async function bodyOf(request: IncomingMessage): Promise<JsonObject> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new TypeError('The Content-Type must be application/json');
  }
  const body = size <= MAX_BODY_BYTES ? readBody(Buffer.concat(chunks).toString()) : undefined;
  if (!body) throw new TypeError(`The body must be a JSON object of at most ${MAX_BODY_BYTES} bytes`);
  return body;
}
