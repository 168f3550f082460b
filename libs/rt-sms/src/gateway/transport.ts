import { AxiosHeaders, type AxiosAdapter, type AxiosResponse, type InternalAxiosRequestConfig } from 'axios';
import type { Duplex } from 'node:stream';
import { buildConnector, Client, Pool, type Dispatcher } from 'undici';
import { safeCause } from '../redact.js';
import type { RtSmsTls } from '../rt-sms.options.js';
import { bodyCredentials } from './wire.js';

/** An answer larger than this is not read on: the gateway's are a few hundred bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** Connection errors that will not mend themselves: a certificate, a protocol, a CA or a proxy that refuses. */
const PERMANENT =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED|ERR_TLS_CERT|ERR_SSL_|ERR_OSSL|EPROTO|RT_SMS_PROXY)|_IN_CHAIN$/;

export interface TransportOptions {
  account: string;
  url: URL;
  login: string;
  password: string;
  credentials: 'header' | 'body' | 'both';
  connectMs: number;
  connections: number;
  queueLimit: number;
  tls: RtSmsTls | undefined;
  proxy: string | undefined;
}

export interface WireRequest {
  method: 'GET' | 'POST';
  /** Path on the gateway. */
  path: string;
  /** A POST's JSON, without credentials. */
  body?: Record<string, unknown>;
}

/** An answer, whole. */
export interface WireResponse {
  status: number;
  data: string;
  headers: Record<string, string | string[] | undefined>;
}

/**
 * Why there is no answer. Whether the request may have been sent is not said here but by `Exchange.started`:
 * error codes cannot tell (a reset in the TLS handshake and one after the request look the same), the phase can.
 */
export class TransportFailure extends Error {
  constructor(
    readonly kind: 'overloaded' | 'connection' | 'answer',
    message: string,
    options?: { cause?: unknown; permanent?: boolean },
  ) {
    super(message, options);
    this.permanent = options?.permanent ?? false;
  }
  readonly permanent: boolean;
}

/** One request on its way: made by who asks, marked by the transport. */
export class Exchange {
  /** A byte of the request may have left. Never true before that is so. */
  started = false;
  abandoned = false;
  /** Set while there is something to cut. */
  cut: (() => void) | undefined;

  /** Nobody waits any more: nothing is sent if it has not left, and the connection is cut if it has. */
  abandon(): void {
    this.abandoned = true;
    this.cut?.();
  }
}

/** What carries the exchange through axios to the adapter; a class instance passes axios' merging by reference. */
export type ExchangeConfig = { rtSmsExchange?: Exchange };

/**
 * The wire of one account: an undici `Pool` to the gateway's origin, and an axios adapter over it. It never repeats, never
 * follows a redirect, takes no proxy from the environment, and adds the credentials itself, below all interceptors.
 */
export class Transport {
  private readonly pool: Pool;
  private readonly proxy: Client | undefined;
  private readonly authorization: string;
  private readonly headers: { GET: string[]; POST: string[] };
  private readonly waiting = new Set<Task>();
  private active = 0;

  constructor(private readonly options: TransportOptions) {
    const { url, login, password, credentials } = options;
    this.authorization = `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;
    const common = ['accept', 'application/json', 'accept-encoding', 'identity'];
    const basic = ['authorization', this.authorization];
    this.headers = {
      GET: [...common, ...basic],
      POST: [...common, 'content-type', 'application/json; charset=utf-8', ...(credentials === 'body' ? [] : basic)],
    };
    if (options.proxy) {
      this.proxy = new Client(new URL(options.proxy).origin, { connectTimeout: options.connectMs, headersTimeout: 0 });
    }
    // No time-outs of undici's: they are coarse, and the caller's deadline cuts the exchange in every phase.
    this.pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      connect: this.connector(),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** The secrets that must not show in any error. */
  get secrets(): readonly string[] {
    const proxy = this.options.proxy ? new URL(this.options.proxy) : undefined;
    const own = [this.options.password, this.authorization.slice(6)];
    return proxy?.password ? [...own, proxy.password, decodeURIComponent(proxy.password)] : own;
  }

  /** The axios adapter: what a request becomes after the interceptors. */
  readonly adapter: AxiosAdapter = async (config) => {
    const exchange = (config as ExchangeConfig).rtSmsExchange ?? new Exchange();
    const { status, data, headers } = await this.exchange(this.fromAxios(config), exchange, extraHeaders(config));
    const answer = {
      status,
      data,
      statusText: '',
      headers: AxiosHeaders.from(headers as Record<string, string>),
      config,
    };
    return answer satisfies AxiosResponse;
  };

  /** Makes one request, once. Rejects with a `TransportFailure`. */
  exchange(request: WireRequest, exchange: Exchange, extraHeaders?: string[]): Promise<WireResponse> {
    return new Promise((resolve, reject) => {
      const task = new Task(request, exchange, extraHeaders, resolve, reject, this.connectionFailure);
      if (this.active < this.options.connections) {
        this.start(task);
      } else if (this.waiting.size < this.options.queueLimit) {
        this.waiting.add(task);
        exchange.cut = () => this.waiting.delete(task);
      } else {
        task.fail(
          new TransportFailure('overloaded', `${this.waiting.size} requests wait for a connection (queueLimit)`),
        );
      }
    });
  }

  /** Ends all connections; what is on its way fails. */
  async close(): Promise<void> {
    await Promise.all([this.pool.destroy(), this.proxy?.destroy()]);
  }

  private start(task: Task): void {
    const { request, exchange, extraHeaders } = task;
    const headers = this.headers[request.method];
    this.active++;
    exchange.cut = undefined;
    task.done = () => {
      this.active--;
      exchange.cut = undefined;
      for (const next of this.waiting) {
        this.waiting.delete(next);
        return this.start(next);
      }
    };
    this.pool.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: extraHeaders ? [...extraHeaders, ...headers] : headers,
        body: request.body ? JSON.stringify(this.withCredentials(request.body)) : null,
      },
      task,
    );
  }

  private withCredentials(body: Record<string, unknown>): Record<string, unknown> {
    const { credentials, login, password } = this.options;
    return credentials === 'header' ? body : { ...bodyCredentials(login, password), ...body };
  }

  /** Connects directly or through the proxy; its time-out is exact, and its errors say where they happened. */
  private connector(): buildConnector.connector {
    const { tls, connectMs, url } = this.options;
    const connect = buildConnector({ ...tls, timeout: 0, allowH2: false });
    return (target, callback) => {
      let pending = true;
      let socket: { destroy(): unknown } | void;
      const settle: buildConnector.Callback = (...[error, connected]: [Error | null, unknown]) => {
        if (!pending) return;
        pending = false;
        clearTimeout(timer);
        // The class matters: undici would go on reconnecting for a SocketError of its own.
        if (error) callback(this.connectionFailure(error), null);
        else callback(null, connected as never);
      };
      const timer = setTimeout(() => {
        settle(Object.assign(new Error(`no connection within ${connectMs} ms`), { code: 'ETIMEDOUT' }), null);
        socket?.destroy();
      }, connectMs);
      if (!this.proxy) {
        socket = connect(target, settle) as never;
        return;
      }
      const authority = `${target.hostname}:${target.port || (target.protocol === 'https:' ? 443 : 80)}`;
      this.tunnel(authority).then(
        (tunnel) => {
          socket = tunnel;
          if (!pending) tunnel.destroy();
          else if (url.protocol === 'https:') connect({ ...target, httpSocket: tunnel as never }, settle);
          else settle(null, tunnel as never);
        },
        (error: Error) => settle(error, null),
      );
    };
  }

  private async tunnel(authority: string): Promise<Duplex> {
    const proxy = new URL(this.options.proxy!);
    const headers: Record<string, string> = { host: authority };
    if (proxy.username) {
      const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
      headers['proxy-authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
    }
    const { socket, statusCode } = await this.proxy!.connect({ path: authority, headers });
    if (statusCode === 200) return socket;
    socket.on('error', () => undefined).destroy();
    const refused = new Error(`it answered ${statusCode} to CONNECT`);
    throw Object.assign(refused, statusCode < 500 ? { code: 'RT_SMS_PROXY_REFUSED' } : {});
  }

  private readonly connectionFailure = (error: unknown): TransportFailure => {
    if (error instanceof TransportFailure) return error;
    const cause = safeCause(error, this.secrets);
    const code = (cause as { code?: string }).code;
    const where = this.proxy
      ? `${this.options.url.host} through the proxy ${new URL(this.options.proxy!).host}`
      : this.options.url.host;
    const permanent = code !== undefined && PERMANENT.test(code);
    const own = this.options.tls?.ca && permanent ? ' (is tls.ca the right one?)' : '';
    return new TransportFailure('connection', `no connection to ${where}: ${cause.message || code}${own}`, {
      cause,
      permanent,
    });
  };

  private fromAxios(config: InternalAxiosRequestConfig): WireRequest {
    const url = new URL(config.url ?? '', this.options.url);
    // The credentials are for one origin only, whatever an interceptor makes of the address.
    if (url.origin !== this.options.url.origin) {
      throw new TransportFailure('connection', `${url.origin} is not this account's gateway`, { permanent: true });
    }
    const path = url.pathname + url.search;
    if (config.method?.toUpperCase() !== 'POST') return { method: 'GET', path };
    const body: unknown = typeof config.data === 'string' ? JSON.parse(config.data) : config.data;
    return { method: 'POST', path, body: body as Record<string, unknown> };
  }
}

/** Headers that interceptors or defaults added; what the transport sets itself is not theirs to set. */
function extraHeaders(config: InternalAxiosRequestConfig): string[] {
  const own =
    /^(authorization|proxy-authorization|host|content-length|content-type|accept|accept-encoding|user-agent|connection|transfer-encoding)$/i;
  return Object.entries(config.headers.toJSON()).flatMap(([name, value]) =>
    own.test(name) || value == null ? [] : [name, String(value)],
  );
}

/** One request from its place in the queue to the end of its answer. */
class Task implements Dispatcher.DispatchHandler {
  private status = 0;
  private headers: WireResponse['headers'] = {};
  private readonly chunks: Buffer[] = [];
  private size = 0;
  done: () => void = () => undefined;

  constructor(
    readonly request: WireRequest,
    readonly exchange: Exchange,
    readonly extraHeaders: string[] | undefined,
    private readonly resolve: (answer: WireResponse) => void,
    private readonly reject: (failure: TransportFailure) => void,
    private readonly connectionFailure: (error: unknown) => TransportFailure,
  ) {}

  fail(failure: TransportFailure): void {
    this.done();
    this.reject(failure);
  }

  /** Called before the first byte of the request is written; what throws here is not sent. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.exchange.abandoned) throw new TransportFailure('connection', 'given up before it was sent');
    // Undici repeats only what it had not begun; should that ever change, this request is not written twice.
    if (this.exchange.started) throw new TransportFailure('answer', 'it was about to be sent a second time');
    this.exchange.started = true;
    this.exchange.cut = () => controller.abort(new TransportFailure('answer', 'given up while waiting for the answer'));
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: WireResponse['headers']): void {
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > MAX_ANSWER_BYTES)
      controller.abort(new TransportFailure('answer', `it is longer than ${MAX_ANSWER_BYTES} bytes`));
    else this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.done();
    const data = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    this.resolve({ status: this.status, headers: this.headers, data: data.toString('utf8') });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (error instanceof TransportFailure) return this.fail(error);
    if (!this.exchange.started) return this.fail(this.connectionFailure(error));
    const cause = safeCause(error);
    this.fail(
      new TransportFailure('answer', `the connection was lost after the request had left: ${cause.message}`, { cause }),
    );
  }
}
