import type { AxiosAdapter, AxiosResponse, InternalAxiosRequestConfig } from 'axios';
import { Pool, type Dispatcher } from 'undici';
import { safeCause } from '../redact.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { RateTicket } from './calls.js';
import { basicAuthorization, Connector } from './connector.js';
import { TransportFailure } from './transport-failure.js';
import { bodyCredentials, readObject, type GatewayAnswer } from './wire.js';

/** An answer larger than this is not read on: the gateway's are a few hundred bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
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
  private readonly connector: Connector;
  private readonly headers: { GET: string[]; POST: string[] };
  // No Set: those it has outgrown would keep what was in them alive over many garbage collections.
  private readonly waiting: Task[] = [];
  private active = 0;
  constructor(private readonly options: TransportOptions) {
    const { url, login, password, credentials } = options;
    const basic = ['authorization', basicAuthorization(login, password)];
    const common = ['accept', 'application/json', 'accept-encoding', 'identity'];
    this.headers = {
      GET: [...common, ...basic],
      POST: [...common, 'content-type', 'application/json; charset=utf-8', ...(credentials === 'body' ? [] : basic)],
    };
    this.connector = new Connector(options, [password, basic[1]!.slice(6)]);
    this.secrets = this.connector.secrets;
    // No time-outs of undici's: they are coarse, and the caller's deadline cuts the exchange in every phase.
    this.pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      connect: this.connector.connect,
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
    this.connector.close();
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

  connectionFailure(error: unknown): TransportFailure {
    return this.connector.failure(error);
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

const givenUp = () => new TransportFailure('given up before it was sent');

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
    const cause = safeCause(error, this.transport.secrets);
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
