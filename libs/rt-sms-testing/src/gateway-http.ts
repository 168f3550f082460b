import { randomBytes } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { faultAnswer, type FaultDetails, type FaultPlan, FaultQueue, planFault, playFault } from './faults.js';
import { refusalOfApi } from './guard.js';
import { type MagicNumber, magicOf } from './magic-numbers.js';
import type { Settings } from './options.js';
import {
  accepted,
  type Answer,
  type CredentialsPlace,
  described,
  isUid,
  type JsonObject,
  judgeCredentials,
  nginxPage,
  readBody,
  readSms,
  type Reason,
  refused,
  SEND_PATH,
  type Sms,
} from './protocol.js';
import type { Schedule } from './schedule.js';

/** One request and what was said to it, for people who look on. */
export interface SimulatedExchange {
  /** When it was answered. */
  readonly at: Date;
  /** Of the request. */
  readonly method: string;
  /** Of the request, with its query. */
  readonly path: string;
  /** The client's address. */
  readonly from: string;
  /** Flat, as they came: name, value, name, value; but with credentials masked. */
  readonly requestHeaders: readonly string[];
  /** As it came, but with any password in it masked. */
  readonly requestBody: string;
  /** The HTTP status of the answer; none where a fault gave no answer. */
  readonly status: number | undefined;
  /** Flat; those that Node wrote are not among them. */
  readonly responseHeaders: readonly string[] | undefined;
  /** As it was sent, if it was. */
  readonly responseBody: string | undefined;
  /** The `X-Request-Id` of the answer. */
  readonly requestId: string;
  /** The message that was accepted or asked for. */
  readonly uid: string | undefined;
  /** The fault that was played. */
  readonly fault: FaultDetails | undefined;
}

/** What the HTTP side needs of the rest. */
export interface Backend {
  accept(
    sms: Sms,
    magic: MagicNumber | undefined,
    origin: { readonly requestId: string; readonly credentials: CredentialsPlace },
  ): { readonly uid: string; readonly ready: Promise<void> | undefined };
  /** The POST was answered, or never will be. */
  answered(uid: string): void;
  find(uid: string): Parameters<typeof described>[0] | undefined;
  exchange(exchange: SimulatedExchange): void;
  /** Takes a request that is none of the API's; false: it is not for the inbox either. */
  readonly visit: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

/** What is to be done about one request. */
interface Verdict {
  readonly answer: Answer;
  readonly fault?: FaultPlan | undefined;
  readonly uid?: string;
  /** The answer waits for it. */
  readonly ready?: Promise<void> | undefined;
  /** Tells the lifecycle that the answer is out. */
  readonly accepted?: true;
}

/** The body of a request, decoded as well as it could be. */
interface Body {
  readonly text: string;
  readonly flaw?: 'too_large' | 'not_utf8' | undefined;
}

/** nginx takes no larger body unless told to. */
const MAX_BODY_BYTES = 1_048_576;
/** nginx keeps an idle connection for 75 s. */
const KEEP_ALIVE_MS = 75_000;
const NO_ANSWER = nginxPage(502);

/** The wire side of the gateway: reads requests, judges them, answers or plays a fault. */
export class GatewayHttp {
  /** Requests read to their end, by method. */
  readonly requests = { post: 0, get: 0 };
  readonly sendFaults = new FaultQueue();
  readonly statusFaults = new FaultQueue();
  readonly #settings: Settings;
  readonly #schedule: Schedule;
  readonly #backend: Backend;
  readonly #allowed: BlockList | undefined;
  /** The names under which the API is served, beside those that nobody else can have. */
  readonly #hosts: readonly string[];
  readonly #server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) =>
    this.#read(request, response),
  );
  /** Numbers with `everyOther` whose next POST is fine. */
  readonly #forgiven = new Set<string>();
  /** When, under `perSecond`, the next request may be answered. */
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
      this.#take(request, response, { text: '' });
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
      this.#take(request, response, { text: bytes.toString(), flaw });
    });
  }

  #take(request: IncomingMessage, response: ServerResponse, body: Body): void {
    const requestId = randomBytes(16).toString('hex');
    const url = request.url ?? '';
    const query = url.indexOf('?');
    const path = query < 0 ? url : url.slice(0, query);
    const verdict = this.#judge(request, path, body, requestId);
    const delayMs = this.#settings.latencyMs + (verdict.fault?.delayMs ?? 0) + this.#untilTurn();
    const reply = (): void => this.#reply(request, response, path, body, requestId, verdict);
    const replyInTime = (): void => (delayMs > 0 ? this.#schedule.after(delayMs, reply) : reply());
    if (verdict.ready) void verdict.ready.then(replyInTime);
    else replyInTime();
  }

  #untilTurn(): number {
    const { perSecond } = this.#settings;
    if (perSecond === 0) return 0;
    const now = performance.now();
    const turn = Math.max(now, this.#nextTurn);
    this.#nextTurn = turn + 1_000 / perSecond;
    return turn - now;
  }

  #judge(request: IncomingMessage, path: string, body: Body, requestId: string): Verdict {
    const foreign = refusalOfApi(request, this.#hosts);
    // Not in the form of the gateway, whose 403 is about credentials and addresses.
    if (foreign !== undefined) return { answer: { status: 403, type: 'text/plain; charset=utf-8', body: foreign } };
    const ofOne = path.startsWith(`${SEND_PATH}/`);
    if (path !== SEND_PATH && !ofOne) return { answer: nginxPage(404) };
    if (request.method !== (ofOne ? 'GET' : 'POST')) return { answer: nginxPage(405) };
    if (body.flaw === 'too_large') return { answer: nginxPage(413) };
    const fault = (ofOne ? this.statusFaults : this.sendFaults).take();
    if (fault && !fault.accepted) return { answer: faultAnswer(fault) ?? NO_ANSWER, fault };
    const verdict = ofOne
      ? this.#status(request, path.slice(SEND_PATH.length + 1))
      : this.#send(request, body, requestId);
    if (!fault) return verdict;
    return { ...verdict, fault, answer: faultAnswer(fault) ?? verdict.answer };
  }

  #send(request: IncomingMessage, { text, flaw }: Body, requestId: string): Verdict {
    const body = flaw ? undefined : readBody(text);
    const judged = this.#admit(request, body);
    if (typeof judged === 'string') return { answer: refused(judged) };
    if (!body) return { answer: refused('invalid_request_body') };
    const sms = readSms(body, this.#settings.shortcodes);
    if (typeof sms === 'string') return { answer: refused(sms) };
    const magic = magicOf(sms.msisdn);
    const fault = magic && this.#magicFault(magic);
    const answer = fault && faultAnswer(fault);
    if (fault && !fault.accepted) return { answer: answer ?? NO_ANSWER, fault };
    const { uid, ready } = this.#backend.accept(sms, magic, { requestId, credentials: judged.place });
    return { answer: answer ?? accepted(uid), fault, uid, ready, accepted: true };
  }

  #status(request: IncomingMessage, encodedUid: string): Verdict {
    const judged = this.#admit(request, undefined);
    if (typeof judged === 'string') return { answer: refused(judged) };
    const uid = decoded(encodedUid);
    // §1.6.1 keeps transaction_not_found for what is well-formed; of the rest only this one fits a bad uid.
    if (!isUid(uid)) return { answer: refused('invalid_request_body') };
    const message = this.#backend.find(uid);
    return {
      answer: message ? described(message, this.#settings.errorCodeIn) : refused('transaction_not_found'),
      uid,
    };
  }

  /** Credentials before the address: the list of addresses belongs to the account (§1.2). */
  #admit(request: IncomingMessage, body: JsonObject | undefined): { place: CredentialsPlace } | Reason {
    const judged = judgeCredentials(this.#settings, request.headers.authorization, body);
    if ('reason' in judged) return judged.reason;
    if (this.#allowed?.check(...typedAddress(request.socket.remoteAddress ?? '')) === false) return 'wrong_ip';
    return judged;
  }

  #magicFault(magic: MagicNumber): FaultPlan | undefined {
    if (magic.everyOther) {
      if (this.#forgiven.delete(magic.msisdn)) return undefined;
      this.#forgiven.add(magic.msisdn);
    }
    return magic.fault && planFault(magic.fault);
  }

  #reply(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    body: Body,
    requestId: string,
    { answer, fault, uid, accepted: isAccepted }: Verdict,
  ): void {
    if (isAccepted && uid !== undefined) {
      // "timeout" has no end of its own.
      if (fault?.fault === 'timeout' || response.destroyed) this.#backend.answered(uid);
      else response.on('close', () => this.#backend.answered(uid));
    }
    // Flat, in the order of §1.5.
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
      requestHeaders: withoutCredentials(request.rawHeaders),
      requestBody: masked(body.text),
      status: unanswered ? undefined : answer.status,
      responseHeaders: unanswered ? undefined : head,
      responseBody: unanswered ? undefined : answer.body,
      requestId,
      uid,
      fault,
    });
  }

  /** The Date header, made once a second. */
  #now(): string {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      this.#date = new Date(second * 1000).toUTCString();
    }
    return this.#date;
  }
}

/** An IPv4 address in IPv6 clothes is what a dual-stack socket shows; BlockList would not know it again. */
function typedAddress(address: string): [address: string, family: 'ipv4' | 'ipv6'] {
  const bare = address.replace(/^::ffff:(?=\d+\.)/i, '');
  return [bare, isIPv6(bare) ? 'ipv6' : 'ipv4'];
}

function masked(body: string): string {
  return body.includes('"pass"') ? body.replace(/("pass"\s*:\s*")(?:[^"\\]|\\.)*/g, '$1***') : body;
}

/** Looks at lengths first: it runs for every request. */
function withoutCredentials(headers: readonly string[]): readonly string[] {
  let shown = headers;
  for (let n = 0; n < headers.length; n += 2) {
    const name = headers[n] ?? '';
    if ((name.length !== 13 && name.length !== 19) || !/^(?:proxy-)?authorization$/i.test(name)) continue;
    shown = shown.with(n + 1, '***');
  }
  return shown;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
