import { EventEmitter } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { assertSchemaCompatibility, quoteSchemaName, runMigrations } from 'bullmq';
import type { Client, ClientConfig, Pool, PoolConfig, QueryResult } from 'pg';
import { clientClass, destroy, type ClientSettings } from './postgres-client.js';
import { detectPooling } from './pooling.js';
import { searchPathProblem, StoreUnusableError } from './store-errors.js';
import { within } from './store-requests.js';

/** Connections for queries. */
const MAX = 10;
/** Milliseconds for which a connection may take to open. Waiting for a free one does not count. */
const CONNECT_MS = 4_000;
/** Milliseconds for which a shutdown waits for queries. */
const CLOSE_MS = 3_000;
const CLOSED = 'the connections to PostgreSQL are closed';
const KEEP_ALIVE_MS = 10_000;
/** Longest sleep in seconds of an idle worker that is not notified of new jobs. */
const SLEEP_WITHOUT_LISTEN = 0.8;

export interface PoolSettings {
  postgres: string | object;
  schema: string;
  migrate: boolean;
}

/** The connection that receives BullMQ's notifications of new jobs, for all workers of a pool. */
class JobNotifications extends EventEmitter {
  isOpen = false;
  private isOpening = false;
  private client: Client | undefined;

  constructor(
    private readonly connect: () => Promise<Client>,
    private readonly onError: (error: Error) => void,
  ) {
    super();
    this.setMaxListeners(0);
  }

  open(): void {
    if (this.isOpen || this.isOpening) return;
    this.isOpening = true;
    this.listen()
      .catch(this.onError)
      .finally(() => (this.isOpening = false));
  }

  /** BullMQ sends its LISTEN here, which `listen` has already done. */
  query(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.client?.end();
  }

  private async listen(): Promise<void> {
    const client = await this.connect();
    this.client = client;
    client.on('notification', (message) => this.emit('notification', message));
    client.once('end', () => {
      this.isOpen = false;
      this.emit('lost');
    });
    try {
      await client.query('LISTEN bullmq_jobs');
      this.isOpen = true;
    } catch (error) {
      destroy(client);
      throw error;
    }
  }
}

/**
 * The connections of this process to a PostgreSQL: a pool for queries, and one that listens. All engines with equal settings
 * share them. Emits `error`.
 */
export class PostgresPool extends EventEmitter {
  readonly notifications = new JobNotifications(
    () => this.connect({ keepAliveInitialDelayMillis: KEEP_ALIVE_MS }),
    (error) => this.report(error),
  );
  private readonly config: PoolConfig;
  private readonly connectMs: number;
  private readonly clients = new Set<Client>();
  /** Queries that are running or waiting for a connection: pg's pool does not reject the latter when it ends. */
  private readonly queries = new Set<(error: Error) => void>();
  private pool: Promise<Pool> | undefined;
  private readiness: Promise<void> | undefined;
  /** True unless a pooler assigns another backend to each transaction. Unknown before `ready`. */
  private keepsSession: boolean | undefined;
  private users = 0;
  private ended = false;

  /** Returns the pool of these settings, for one more user, who has to `release` it. */
  static acquire(settings: PoolSettings): PostgresPool {
    let pool = pools.find((known) => isDeepStrictEqual(known.settings, settings));
    if (!pool) pools.push((pool = new PostgresPool(settings)));
    pool.users++;
    return pool;
  }

  private constructor(private readonly settings: PoolSettings) {
    super();
    this.setMaxListeners(0);
    const { postgres } = settings;
    const input: PoolConfig = typeof postgres === 'string' ? { connectionString: postgres } : postgres;
    this.connectMs = input.connectionTimeoutMillis ?? CONNECT_MS;
    // The limit of pg's pool would also count waiting for a free connection.
    this.config = { keepAlive: true, ...input, max: input.max ?? MAX, connectionTimeoutMillis: 0 };
  }

  /** Closes the connections if this was the last user. */
  async release(): Promise<void> {
    if (--this.users > 0) return;
    this.ended = true;
    pools.splice(pools.indexOf(this), 1);
    const pool = await this.pool?.catch(() => undefined);
    await within(CLOSE_MS, Promise.all([pool?.end(), this.notifications.close()])).catch(() => undefined);
    for (const client of this.clients) destroy(client);
    for (const reject of this.queries) reject(new Error(CLOSED));
  }

  /** Resolves once PostgreSQL is reached, its schema is usable and the kind of pooling is known. */
  ready(): Promise<void> {
    if (!this.readiness) {
      const readiness = this.prepare();
      this.readiness = readiness;
      readiness.catch(() => {
        if (this.readiness === readiness) this.readiness = undefined;
      });
    }
    return this.readiness;
  }

  async query(sql: string, values?: unknown[]): Promise<QueryResult> {
    const pool = await this.opened();
    return new Promise((resolve, reject) => {
      this.queries.add(reject);
      pool
        .query(sql, values)
        .finally(() => this.queries.delete(reject))
        .then(resolve, reject);
    });
  }

  /** Begins to receive notifications, except behind a pooler that would lose them. */
  listen(): JobNotifications {
    if (this.keepsSession && !this.ended) this.notifications.open();
    return this.notifications;
  }

  /** Longest sleep of an idle worker in seconds. */
  get longestSleep(): number {
    return this.notifications.isOpen ? Infinity : SLEEP_WITHOUT_LISTEN;
  }

  private async prepare(): Promise<void> {
    const { schema, migrate } = this.settings;
    const opened: Client[] = [];
    const connect = async () => {
      const client = await this.connect();
      opened.push(client);
      return client;
    };
    try {
      const { isByTransaction, clients } = await detectPooling(connect, this.config.max!);
      if (isByTransaction) await requireTransactions(clients[0]!);
      await (migrate ? runMigrations : assertSchemaCompatibility)(clients[0]!, schema);
      if (isByTransaction) for (const client of clients) await this.checkSearchPath(client);
      this.keepsSession = !isByTransaction;
    } finally {
      await within(CLOSE_MS, Promise.all(opened.map((client) => client.end()))).catch(() => undefined);
    }
  }

  /** Behind a pooler in transaction mode, setting a search_path would change it for other clients. */
  private async checkSearchPath(client: Client): Promise<void> {
    const { rows } = await client.query<{ role: string; first: string | null }>(
      'SELECT current_user AS role, current_schema() AS first',
    );
    const { role, first } = rows[0]!;
    const { schema } = this.settings;
    if (first !== schema) throw new StoreUnusableError(searchPathProblem(schema, first, role));
  }

  private opened(): Promise<Pool> {
    this.pool ??= loadPg().then((pg) => {
      const pool = new pg.Pool({ ...this.config, Client: clientClass(pg, this.config, this.clientSettings) });
      pool.on('error', (error) => this.report(error));
      return pool;
    });
    return this.pool;
  }

  private async connect(config?: ClientConfig): Promise<Client> {
    const Class = clientClass(await loadPg(), { ...this.config, ...config }, this.clientSettings);
    return new Class().connect();
  }

  private get clientSettings(): ClientSettings {
    return {
      connectMs: this.connectMs,
      clients: this.clients,
      // Not as a startup parameter: PgBouncer rejects or ignores it.
      prepare: async (client) => {
        if (this.ended) throw new Error(CLOSED);
        if (this.keepsSession) await client.query(`SET search_path TO ${quoteSchemaName(this.settings.schema)}`);
      },
    };
  }

  private report(error: Error): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }
}

const pools: PostgresPool[] = [];

/** @throws PgBouncer's error in statement mode */
async function requireTransactions(client: Client): Promise<void> {
  await client.query('BEGIN');
  await client.query('COMMIT');
}

/** Loaded only when needed, because users of Redis do not install it. */
async function loadPg() {
  try {
    return (await import('pg')).default;
  } catch (error) {
    throw new Error("could not load the optional package 'pg'; install it", { cause: error });
  }
}
