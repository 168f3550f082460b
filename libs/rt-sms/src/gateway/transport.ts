import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { unescape } from 'node:querystring';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { AxiosAdapter, AxiosResponse, InternalAxiosRequestConfig } from 'axios';
import { buildConnector, Pool, type Dispatcher } from 'undici';
import { safeCause } from '../redact.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { RateTicket } from './calls.js';
import { bodyCredentials, readObject, type GatewayAnswer } from './wire.js';

/** An answer larger than this is not read on: the gateway's are a few hundred bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** Connection errors that will not mend themselves: a certificate, another protocol, a proxy that refuses. */
const CERTIFICATE = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED|ERR_TLS_CERT)/;
const PERMANENT = /^(ERR_SSL_|ERR_OSSL|EPROTO$|PROXY_REFUSED$)/;

type TransportOptions = Omit<ResolvedOptions, 'timeouts'> & { connectMs: number };

export interface WireRequest {
  method: 'GET' | 'POST';
  /** Path on the gateway. */
  path: string;
  /** A POST's JSON, without credentials. */
  body?: Record<string, unknown>;
  /** Beside the transport's own: name, value, name, value. */
  headers?: string[];
}

/**
 * Why there is no answer. Whether the request may have been sent is not said here but by `Exchange.started`:
 * error codes cannot tell (a reset in the TLS handshake and one after the request look the same), the phase can.
 */
export class TransportFailure extends Error {
  constructor(
    message: string,
    /** `overloaded`: there was no room for it. `permanent`: it will not mend itself. */
    readonly about: { cause?: unknown; overloaded?: boolean; permanent?: boolean } = {},
  ) {
    super(message, about);
  }
}

/** One request on its way: made by who asks, marked by the transport. */
export class Exchange {
  /** The transport is writing it, or has. */
  written = false;
  /** Something else than the transport has it, and will not say what it does with it. */
  foreign = false;
  abandoned = false;
  /** Who has it, while there is something to cut. */
  carrier: { cut(): void } | undefined;

  constructor(
    /** The start under the rate that it makes use of. */
    private readonly ticket?: RateTicket,
    /** It must not start after this time, as `Date.now()` has it. */
    private readonly startBefore = Infinity,
  ) {}

  /** It must not start any more. */
  get over(): boolean {
    return this.abandoned || this.startBefore <= Date.now();
  }

  /** A byte of the request may have left. */
  get started(): boolean {
    return this.written || this.foreign;
  }

  start(how: 'written' | 'foreign'): void {
    this[how] = true;
    this.ticket?.start();
  }

  /** Nobody waits any more: nothing is sent if it has not left, and the connection is cut if it has. */
  abandon(): void {
    this.abandoned = true;
    this.carrier?.cut();
  }
}

/** What carries the exchange through axios to the adapter; a class instance passes axios' merging by reference. */
export type ExchangeConfig = { rtSmsExchange?: Exchange };

/**
 * The wire of one account: an undici `Pool` to the gateway's origin, and an axios adapter over it. It never repeats, never
 * follows a redirect, takes no proxy from the environment, and adds the credentials itself, below all interceptors.
 */
export class Transport {
  /** What must not show in any error. */
  readonly secrets: readonly string[];
  readonly pool: Pool;
  private readonly proxy: URL | undefined;
  private readonly headers: { GET: string[]; POST: string[] };
  // No Set: those it has outgrown would keep what was in them alive over many garbage collections.
  private readonly waiting: Task[] = [];
  private active = 0;
  /** Gives up the connections that are being made. */
  private readonly connecting = new Set<(why: Error) => void>();

  constructor(private readonly options: TransportOptions) {
    const { url, login, password, credentials } = options;
    const basic = ['authorization', basicAuthorization(login, password)];
    const common = ['accept', 'application/json', 'accept-encoding', 'identity'];
    this.headers = {
      GET: [...common, ...basic],
      POST: [...common, 'content-type', 'application/json; charset=utf-8', ...(credentials === 'body' ? [] : basic)],
    };
    this.proxy = options.proxy === undefined ? undefined : new URL(options.proxy);
    const proxySecrets = this.proxy ? [this.proxy.password, unescape(this.proxy.password)] : [];
    this.secrets = [password, basic[1]!.slice(6), ...proxySecrets];
    // No time-outs of undici's: they are coarse, and the caller's deadline cuts the exchange in every phase.
    this.pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      connect: this.connector(),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** The axios adapter: what a request becomes after the interceptors. */
  readonly adapter: AxiosAdapter = async (config) => {
    const exchange = (config as ExchangeConfig).rtSmsExchange ?? new Exchange();
    const { status, data, headers } = await this.exchange(this.fromAxios(config), exchange);
    // Axios makes its own kind of headers of them.
    return { status, data, statusText: '', headers: headers as AxiosResponse['headers'], config };
  };

  /** Makes one request, once. Rejects with a `TransportFailure`. */
  exchange(request: WireRequest, exchange: Exchange): Promise<GatewayAnswer> {
    return new Promise((resolve, reject) => {
      const task = new Task(this, this.toWire(request), exchange, resolve, reject);
      if (exchange.abandoned) {
        reject(givenUp());
      } else if (this.active < this.options.connections) {
        this.active++;
        // Not at once: undici looks at an idle connection once more in the next turn of the event loop, and between this turn
        // and that one the end of the connection is read, if it has come already.
        setImmediate(dispatch, task);
      } else if (this.waiting.length < this.options.queueLimit) {
        this.waiting.push(task);
        exchange.carrier = task;
      } else {
        const { length } = this.waiting;
        reject(new TransportFailure(`${length} requests wait for a connection (queueLimit)`, { overloaded: true }));
      }
    });
  }

  /** Gives the place of a request that is through to the one that has waited the longest. */
  release(): void {
    const next = this.waiting.shift();
    if (!next) {
      this.active--;
      return;
    }
    next.exchange.carrier = undefined;
    next.dispatch();
  }

  /** Takes a request out of those that wait for a connection. */
  leave(task: Task): void {
    this.waiting.splice(this.waiting.indexOf(task), 1);
  }

  /** Ends all connections; what is on its way fails. */
  async close(): Promise<void> {
    await this.pool.destroy();
    for (const giveUp of this.connecting) giveUp(new Error('the application ended'));
  }

  private toWire({ method, path, body, headers }: WireRequest): Dispatcher.DispatchOptions {
    const { credentials, login, password } = this.options;
    const own = this.headers[method];
    // The credentials come last: what an interceptor put in their place does not stay.
    const all = body && credentials !== 'header' ? { ...body, ...bodyCredentials(login, password) } : body;
    return {
      method,
      path,
      headers: headers ? [...headers, ...own] : own,
      body: all ? JSON.stringify(all) : null,
    };
  }

  /** Connects directly or through the proxy; its time-out is exact, and its errors say where they happened. */
  private connector(): buildConnector.connector {
    const { connectMs } = this.options;
    const direct = buildConnector({
      secureContext: secureContextOf(this.options),
      timeout: 0,
      allowH2: false,
    }) as Reach;
    const reach = this.proxy ? throughProxy(this.proxy, direct) : direct;
    return (target, callback) => {
      let reached: { destroy(): unknown } | undefined;
      const settle: buildConnector.Callback = (...[error, socket]) => {
        if (!this.connecting.delete(giveUp)) return;
        clearTimeout(timer);
        // The class matters: undici would go on reconnecting for a SocketError of its own.
        if (error) callback(this.connectionFailure(error), null);
        else callback(null, socket);
      };
      const giveUp = (why: Error) => {
        settle(why, null);
        reached?.destroy();
      };
      const timer = setTimeout(() => giveUp(coded(`no connection within ${connectMs} ms`, 'ETIMEDOUT')), connectMs);
      this.connecting.add(giveUp);
      reached = reach(target, settle);
    };
  }

  connectionFailure(error: unknown): TransportFailure {
    if (error instanceof TransportFailure) return error;
    const cause = safeCause(error, this.secrets);
    const { code = '' } = cause as { code?: string };
    const where = this.options.url.host + (this.proxy ? ` through the proxy ${this.proxy.host}` : '');
    const distrusted = CERTIFICATE.test(code);
    const advice = distrusted ? ' (the option tls.ca decides which certificates are trusted)' : '';
    const message = `no connection to ${where}: ${cause.message || code}${advice}`;
    return new TransportFailure(message, { cause, permanent: distrusted || PERMANENT.test(code) });
  }

  private fromAxios(config: InternalAxiosRequestConfig): WireRequest {
    const url = new URL(config.url ?? '', this.options.url);
    // The credentials are for one origin only, whatever an interceptor makes of the address.
    if (url.origin !== this.options.url.origin) {
      throw new TransportFailure(`${url.origin} is not this account's gateway`, { permanent: true });
    }
    const path = url.pathname + url.search;
    const headers = extraHeaders(config);
    if (config.method?.toUpperCase() !== 'POST') return { method: 'GET', path, headers };
    return { method: 'POST', path, headers, body: bodyOf(config.data) };
  }
}

const basicAuthorization = (login: string, password: string) =>
  `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;

/** Made once, and at the start: a key that does not fit its certificate must not wait for the first message. */
function secureContextOf({ tls, account }: TransportOptions): SecureContext | undefined {
  try {
    return tls && createSecureContext({ ...tls });
  } catch (error) {
    throw new RtSmsConfigError(
      [`tls: the certificates or the key cannot be used: ${safeCause(error).message}`],
      account,
    );
  }
}

const coded = (message: string, code: string) => Object.assign(new Error(message), { code });

const givenUp = () => new TransportFailure('given up before it was sent');

/** An undici connector, which returns what it gives up with; its own type does not say so. */
type Reach = (target: buildConnector.Options, callback: buildConnector.Callback) => { destroy(): unknown };

/** Asks the proxy for a connection to the target. */
const throughProxy =
  (proxy: URL, direct: Reach): Reach =>
  (target, callback) => {
    const secure = target.protocol === 'https:';
    const authority = `${target.hostname}:${target.port || (secure ? 443 : 80)}`;
    const headers: Record<string, string> = { host: authority };
    if (proxy.username) {
      const [user, password] = [proxy.username, proxy.password].map(unescape);
      headers['proxy-authorization'] = basicAuthorization(user!, password!);
    }
    const request = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
    const asking = request(proxy.origin, { method: 'CONNECT', path: authority, headers, agent: false });
    let reached: { destroy(): unknown } = asking;
    asking.on('error', (error) => callback(error, null));
    asking.once('connect', ({ statusCode = 0 }, socket: Socket) => {
      if (statusCode === 200) {
        reached = secure ? direct({ ...target, httpSocket: socket }, callback) : socket;
        if (!secure) callback(null, socket);
        return;
      }
      socket.destroy();
      const message = `it answered ${statusCode} to CONNECT`;
      callback(statusCode < 500 ? coded(message, 'PROXY_REFUSED') : new Error(message), null);
    });
    asking.end();
    return { destroy: () => reached.destroy() };
  };

/** The body as the interceptors have left it. A parser's complaint would quote the text, so it is not passed on. */
function bodyOf(data: unknown): Record<string, unknown> {
  const body = readObject(data);
  if (body) return body;
  throw new TransportFailure('an interceptor has left a body that is no JSON object', {
    permanent: true,
  });
}

/** Headers that interceptors or defaults added; what the transport sets itself is not theirs to set. */
function extraHeaders(config: InternalAxiosRequestConfig): string[] {
  const own =
    /^(authorization|proxy-authorization|host|content-length|content-type|accept|accept-encoding|user-agent|connection|transfer-encoding)$/i;
  return Object.entries(config.headers.toJSON()).flatMap(([name, value]) =>
    own.test(name) || value == null ? [] : [name, String(value)],
  );
}

/**
 * One request from its place in the queue to the end of its answer. It makes no closures: V8 may take them for long-lived,
 * and then so is, to the next full garbage collection, all that they hold.
 */
class Task implements Dispatcher.DispatchHandler {
  private status = 0;
  private headers: Record<string, unknown> = {};
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private again = false;
  private controller: Dispatcher.DispatchController | undefined;

  constructor(
    private readonly transport: Transport,
    private readonly request: Dispatcher.DispatchOptions,
    readonly exchange: Exchange,
    private readonly resolve: (answer: GatewayAnswer) => void,
    private readonly reject: (failure: TransportFailure) => void,
  ) {}

  dispatch(): void {
    this.transport.pool.dispatch(this.request, this);
  }

  cut(): void {
    if (this.controller) return this.controller.abort(new TransportFailure('given up while waiting for the answer'));
    this.transport.leave(this);
    this.reject(givenUp());
  }

  /** Called before the first byte of the request is written; what throws here is not sent. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { exchange } = this;
    // Looked at here too: a busy event loop may come to this before the timer that would have given it up.
    if (exchange.over) throw givenUp();
    // Neither undici nor an interceptor that repeats requests writes this one twice.
    if (exchange.written) throw new TransportFailure('it was about to be sent a second time');
    exchange.start('written');
    this.controller = controller;
    exchange.carrier = this;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > MAX_ANSWER_BYTES)
      controller.abort(new TransportFailure(`it is longer than ${MAX_ANSWER_BYTES} bytes`));
    else this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.end();
    const data = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    this.resolve({ status: this.status, headers: this.headers, data: data.toString('utf8') });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (error instanceof TransportFailure) return this.fail(error);
    if (!this.exchange.written) {
      if (this.again) return this.fail(this.transport.connectionFailure(error));
      // A kept-alive connection had ended when it was taken. Another one, once all that ended with it are known to have.
      this.again = true;
      setImmediate(dispatch, this);
      return;
    }
    const cause = safeCause(error);
    this.fail(new TransportFailure(`the connection was lost after the request had left: ${cause.message}`, { cause }));
  }

  private fail(failure: TransportFailure): void {
    this.end();
    this.reject(failure);
  }

  private end(): void {
    this.controller = undefined;
    this.exchange.carrier = undefined;
    this.transport.release();
  }
}

const dispatch = (task: Task) => task.dispatch();
