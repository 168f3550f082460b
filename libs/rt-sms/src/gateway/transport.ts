import { Pool, type Dispatcher } from 'undici';
import type { ResolvedOptions } from '../options/resolve-options.js';
import { AccountPassword } from './account-password.js';
import { Connector } from './connector.js';
import { abandonedFailure, dispatch, PoolRequest, type RequestPool } from './pool-request.js';
import type { RequestAttempt } from './request-attempt.js';
import { TransportFailure } from './transport-failure.js';
import { bodyCredentials, type GatewayAnswer } from './wire.js';

type TransportOptions = Omit<ResolvedOptions, 'timeouts'> & { connectMs: number };

/** A request to the gateway without credentials. */
export interface WireRequest {
  method: 'GET' | 'POST';
  /** Path on the gateway. */
  path: string;
  /** JSON body of a POST, without credentials. */
  body?: Record<string, unknown>;
  /** Additional headers: name, value, name, value. */
  headers?: string[];
}

/**
 * The connections of one account: an undici `Pool` to the gateway's origin and a queue for it. It sends each request once,
 * follows no redirect, ignores proxies of the environment, and adds the credentials itself, below all interceptors.
 */
export class Transport implements RequestPool {
  readonly password: AccountPassword;
  readonly pool: Pool;
  private readonly connector: Connector;
  private headers: { version?: number; GET: string[]; POST: string[] } = { GET: [], POST: [] };
  // Not a Set, which guards the memory bar of `sendMany`: the tables that a growing Set discards keep its former entries
  // alive over many garbage collections.
  private readonly waiting: PoolRequest[] = [];
  private active = 0;

  constructor(private readonly options: TransportOptions) {
    const { url } = options;
    this.password = new AccountPassword(options);
    this.connector = new Connector(options, () => this.password.secrets);
    // undici's own time-outs are coarse, and the caller's deadline abandons the request in every phase.
    this.pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      connect: this.connector.connect,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Values that must not appear in any error. */
  get secrets(): readonly string[] {
    return this.connector.secrets;
  }

  /** Sends one request, once. Rejects with a `TransportFailure`. */
  send(request: WireRequest, attempt: RequestAttempt): Promise<GatewayAnswer> {
    return new Promise((resolve, reject) => {
      if (this.password.current === undefined) return reject(new TransportFailure('the password has not been read'));
      attempt.passwordVersion = this.password.version;
      const pooled = new PoolRequest(this, this.withCredentials(request), attempt, resolve, reject);
      if (attempt.abandoned) {
        reject(abandonedFailure());
      } else if (this.active < this.options.connections) {
        this.active++;
        // Deferred by one turn of the event loop, in which the close of an idle connection is read if it has arrived.
        setImmediate(dispatch, pooled);
      } else if (this.waiting.length < this.options.queueLimit) {
        this.waiting.push(pooled);
        attempt.canceller = pooled;
      } else {
        const { length } = this.waiting;
        reject(new TransportFailure(`${length} requests wait for a connection (queueLimit)`, { overloaded: true }));
      }
    });
  }

  /** Gives the connection of a finished request to the request that has waited longest. */
  release(): void {
    const next = this.waiting.shift();
    if (!next) {
      this.active--;
      return;
    }
    next.attempt.canceller = undefined;
    next.dispatch();
  }

  /** Removes a request from the queue for a connection. */
  dequeue(request: PoolRequest): void {
    this.waiting.splice(this.waiting.indexOf(request), 1);
  }

  /** Closes all connections; requests in flight fail. */
  async close(): Promise<void> {
    await this.pool.destroy();
    this.connector.close();
  }

  connectionFailure(error: unknown): TransportFailure {
    return this.connector.failure(error);
  }

  private withCredentials({ method, path, body, headers }: WireRequest): Dispatcher.DispatchOptions {
    const { credentials, login } = this.options;
    if (this.headers.version !== this.password.version) this.headers = this.headersWithPassword();
    const own = this.headers[method];
    // Credentials come last, so that an interceptor cannot replace them.
    const all =
      body && credentials !== 'header' ? { ...body, ...bodyCredentials(login, this.password.current!) } : body;
    return {
      method,
      path,
      headers: headers ? [...headers, ...own] : own,
      body: all ? JSON.stringify(all) : null,
    };
  }

  private headersWithPassword(): Transport['headers'] {
    const { version, basic } = this.password;
    const authorization = ['authorization', basic];
    const common = ['accept', 'application/json', 'accept-encoding', 'identity'];
    const post = [...common, 'content-type', 'application/json; charset=utf-8'];
    return {
      version,
      GET: [...common, ...authorization],
      POST: this.options.credentials === 'body' ? post : [...post, ...authorization],
    };
  }
}
