import { randomBytes } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { maskCredentials, maskPassword, type SimulatedExchange } from './exchange.js';
import { faultAnswer, type FaultPlan, FaultQueue, planFault, playFault } from './faults.js';
import { apiRejection } from './guard.js';
import { type MagicNumber, magicOf } from './magic-numbers.js';
import type { Settings } from './options.js';
import {
  accepted,
  type Answer,
  type CredentialsPlace,
  described,
  isUid,
  type JsonObject,
  checkCredentials,
  nginxPage,
  readBody,
  readSms,
  type Reason,
  refused,
  SEND_PATH,
  type Sms,
} from './protocol.js';
import type { Schedule } from './schedule.js';

/** The parts of the simulator that the HTTP side uses. */
export interface Backend {
  accept(
    sms: Sms,
    magic: MagicNumber | undefined,
    origin: { readonly requestId: string; readonly credentials: CredentialsPlace },
  ): { readonly uid: string; readonly ready: Promise<void> | undefined };
  /** Called when the POST was answered, or when it is clear that it never will be. */
  answered(uid: string): void;
  find(uid: string): Parameters<typeof described>[0] | undefined;
  exchange(exchange: SimulatedExchange): void;
  /** Handles a request to the inbox; returns false for any other request. */
  readonly visit: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

/** The answer to one request, and how to give it. */
interface Decision {
  readonly answer: Answer;
  readonly fault?: FaultPlan | undefined;
  readonly uid?: string;
  /** The answer is sent after it resolves. */
  readonly ready?: Promise<void> | undefined;
  /** Set if the message was accepted: the lifecycle is notified after the answer. */
  readonly accepted?: true;
}

/** The body of a request; `flaw` is set if it could not be read in full. */
interface Body {
  readonly text: string;
  readonly flaw?: 'too_large' | 'not_utf8' | undefined;
}

/** The default limit of nginx. */
const MAX_BODY_BYTES = 1_048_576;
/** nginx keeps an idle connection for 75 s. */
const KEEP_ALIVE_MS = 75_000;
const NO_ANSWER = nginxPage(502);

/** The HTTP side of the gateway: reads requests, checks them, answers or plays a fault. */
export class GatewayHttp {
  /** Number of requests that were read to their end, by method. */
  readonly requests = { post: 0, get: 0 };
  readonly sendFaults = new FaultQueue();
  readonly statusFaults = new FaultQueue();
  readonly #settings: Settings;
  readonly #schedule: Schedule;
  readonly #backend: Backend;
  readonly #allowed: BlockList | undefined;
  /** Names under which the API is served, in addition to addresses and names of private networks. */
  readonly #hosts: readonly string[];
  readonly #server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) =>
    this.#read(request, response),
  );
  /** Numbers with `everyOther` whose next POST succeeds. */
  readonly #nextSucceeds = new Set<string>();
  /** Time at which `perSecond` allows the next answer. */
  #nextTurn = 0;
  #date = '';
  #dateSecond = 0;

  constructor(settings: Settings, schedule: Schedule, backend: Backend) {
    this.#settings = settings;
    this.#schedule = schedule;
    this.#backend = backend;
    this.#hosts = [settings.host.toLowerCase(), ...(settings.inbox ? settings.inbox.hosts : [])];
    this.#allowed = settings.allowFrom && new BlockList();
    for (const entry of settings.allowFrom ?? []) this.#allowed?.addAddress(...typedAddress(entry));
  }

  /** Resolves with the port. */
  listen(): Promise<number> {
    const { host, port } = this.#settings;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'EADDRINUSE' ? 'the port is already in use' : cause.message;
        reject(new Error(`RtSmsSimulator cannot listen on port ${port} of ${host}: ${why}`, { cause }));
      });
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address ? address.port : port);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    if (this.#backend.visit?.(request, response)) return;
    if (request.method === 'GET') {
      this.requests.get += 1;
      this.#handle(request, response, { text: '' });
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) chunks.push(chunk);
      else chunks.length = 0;
    });
    request.on('end', () => {
      if (request.method === 'POST') this.requests.post += 1;
      const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
      const flaw = size > MAX_BODY_BYTES ? 'too_large' : isUtf8(bytes) ? undefined : 'not_utf8';
      this.#handle(request, response, { text: bytes.toString(), flaw });
    });
  }

  #handle(request: IncomingMessage, response: ServerResponse, body: Body): void {
    const requestId = randomBytes(16).toString('hex');
    const url = request.url ?? '';
    const query = url.indexOf('?');
    const path = query < 0 ? url : url.slice(0, query);
    const decision = this.#decide(request, path, body, requestId);
    const delayMs = this.#settings.latencyMs + (decision.fault?.delayMs ?? 0) + this.#waitForTurnMs();
    const reply = (): void => this.#reply(request, response, path, body, requestId, decision);
    const replyInTime = (): void => (delayMs > 0 ? this.#schedule.after(delayMs, reply) : reply());
    if (decision.ready) void decision.ready.then(replyInTime);
    else replyInTime();
  }

  #waitForTurnMs(): number {
    const { perSecond } = this.#settings;
    if (perSecond === 0) return 0;
    const now = performance.now();
    const turn = Math.max(now, this.#nextTurn);
    this.#nextTurn = turn + 1_000 / perSecond;
    return turn - now;
  }

  #decide(request: IncomingMessage, path: string, body: Body, requestId: string): Decision {
    const rejection = apiRejection(request, this.#hosts);
    // Plain text, because a 403 in the gateway's own form is about credentials and addresses.
    if (rejection !== undefined) return { answer: { status: 403, type: 'text/plain; charset=utf-8', body: rejection } };
    const isStatus = path.startsWith(`${SEND_PATH}/`);
    if (path !== SEND_PATH && !isStatus) return { answer: nginxPage(404) };
    if (request.method !== (isStatus ? 'GET' : 'POST')) return { answer: nginxPage(405) };
    if (body.flaw === 'too_large') return { answer: nginxPage(413) };
    const fault = (isStatus ? this.statusFaults : this.sendFaults).take();
    if (fault && !fault.accepted) return { answer: faultAnswer(fault) ?? NO_ANSWER, fault };
    const decision = isStatus
      ? this.#status(request, path.slice(SEND_PATH.length + 1))
      : this.#send(request, body, requestId);
    if (!fault) return decision;
    return { ...decision, fault, answer: faultAnswer(fault) ?? decision.answer };
  }

  #send(request: IncomingMessage, { text, flaw }: Body, requestId: string): Decision {
    const body = flaw ? undefined : readBody(text);
    const checked = this.#authenticate(request, body);
    if (typeof checked === 'string') return { answer: refused(checked) };
    if (!body) return { answer: refused('invalid_request_body') };
    const sms = readSms(body, this.#settings.shortcodes);
    if (typeof sms === 'string') return { answer: refused(sms) };
    const magic = magicOf(sms.msisdn);
    const fault = magic && this.#magicFault(magic);
    const answer = fault && faultAnswer(fault);
    if (fault && !fault.accepted) return { answer: answer ?? NO_ANSWER, fault };
    const { uid, ready } = this.#backend.accept(sms, magic, { requestId, credentials: checked.place });
    return { answer: answer ?? accepted(uid), fault, uid, ready, accepted: true };
  }

  #status(request: IncomingMessage, encodedUid: string): Decision {
    const checked = this.#authenticate(request, undefined);
    if (typeof checked === 'string') return { answer: refused(checked) };
    const uid = decoded(encodedUid);
    // §1.6.1 gives transaction_not_found for well-formed uids only; of its other reasons, this one fits a malformed uid.
    if (!isUid(uid)) return { answer: refused('invalid_request_body') };
    const message = this.#backend.find(uid);
    return {
      answer: message ? described(message, this.#settings.errorCodeIn) : refused('transaction_not_found'),
      uid,
    };
  }

  /** Checks credentials before the address, because the list of addresses belongs to the account (§1.2). */
  #authenticate(request: IncomingMessage, body: JsonObject | undefined): { place: CredentialsPlace } | Reason {
    const checked = checkCredentials(this.#settings, request.headers.authorization, body);
    if ('reason' in checked) return checked.reason;
    if (this.#allowed?.check(...typedAddress(request.socket.remoteAddress ?? '')) === false) return 'wrong_ip';
    return checked;
  }

  #magicFault(magic: MagicNumber): FaultPlan | undefined {
    if (magic.everyOther) {
      if (this.#nextSucceeds.delete(magic.msisdn)) return undefined;
      this.#nextSucceeds.add(magic.msisdn);
    }
    return magic.fault && planFault(magic.fault);
  }

  #reply(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    body: Body,
    requestId: string,
    { answer, fault, uid, accepted: isAccepted }: Decision,
  ): void {
    if (isAccepted && uid !== undefined) {
      // "timeout" never ends the response, so there is no event to wait for.
      if (fault?.fault === 'timeout' || response.destroyed) this.#backend.answered(uid);
      else response.on('close', () => this.#backend.answered(uid));
    }
    // Flat, in the order of §1.5 (prettier would put one element a line).
    // prettier-ignore
    const head = [
      'Server', 'nginx',
      'Date', this.#now(),
      'Content-Type', answer.type,
      'Content-Length', String(Buffer.byteLength(answer.body)),
      'Connection', response.shouldKeepAlive ? 'keep-alive' : 'close',
      'x-request-id', requestId,
    ];
    if (fault?.headers) head.push(...Object.entries(fault.headers).flat());
    const unanswered = fault?.fault === 'timeout' || fault?.fault === 'reset' || fault?.fault === 'close';
    if (!fault || !playFault(fault, response, answer, head, this.#schedule)) {
      response.writeHead(answer.status, head).end(answer.body);
    }
    this.#backend.exchange({
      at: new Date(),
      method: request.method ?? '',
      path,
      from: request.socket.remoteAddress ?? '',
      requestHeaders: maskCredentials(request.rawHeaders),
      requestBody: maskPassword(body.text),
      status: unanswered ? undefined : answer.status,
      responseHeaders: unanswered ? undefined : head,
      responseBody: unanswered ? undefined : answer.body,
      requestId,
      uid,
      fault,
    });
  }

  /** The Date header, formatted once a second. */
  #now(): string {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#date = new Date(second * 1000).toUTCString();
    }
    return this.#date;
  }
}

/** A dual-stack socket reports IPv4 addresses in IPv6 form (`::ffff:…`), which BlockList does not match with IPv4. */
function typedAddress(address: string): [address: string, family: 'ipv4' | 'ipv6'] {
  const bare = address.replace(/^::ffff:(?=\d+\.)/i, '');
  return [bare, isIPv6(bare) ? 'ipv6' : 'ipv4'];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
