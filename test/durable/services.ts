import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPostgresBackend, createRedisBackend, Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { describeWith, findProgram, onPath, required } from '../programs.js';

/** A store for tests, with a temporary data folder and a free port. It is removed completely at the end. */
export interface Service {
  readonly kind: StoreKind;
  /** Connection options for `bullMq`. */
  readonly options: { connection: string } | { postgres: string };
  /** Kills it with SIGKILL, like a crash of the machine. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, with the same data and port. */
  restart(): Promise<void>;
  /** Its complete content as text. */
  dump(): Promise<string>;
  /** Deletes its content. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export const STORES = ['Redis', 'PostgreSQL'] as const;
export type StoreKind = (typeof STORES)[number];

/** Opens a plain BullMQ queue in this store. */
export async function bareQueue({ options, kind }: Service, name: string): Promise<Queue> {
  const queue = new Queue(
    name,
    {
      connection:
        'connection' in options ? { url: options.connection } : { connectionString: options.postgres, migrate: true },
    },
    (kind === 'Redis' ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend,
  );
  queue.on('error', () => undefined);
  await queue.waitUntilReady();
  return queue;
}

/** @param settings further arguments of `redis-server` */
export const startStore = (kind: StoreKind, ...settings: string[]): Promise<Service> =>
  kind === 'Redis' ? startRedis(settings) : startPostgres();

/** The store of a suite, which is started before its first test and closed after its last one. */
export function storeOfSuite(kind: StoreKind): Service {
  let started: Service;
  beforeAll(async () => {
    started = await startStore(kind);
  }, 120_000);
  afterAll(() => started?.close());
  return {
    kind,
    get options() {
      return started.options;
    },
    kill: () => started.kill(),
    restart: () => started.restart(),
    dump: () => started.dump(),
    clear: () => started.clear(),
    close: () => started.close(),
  };
}

const LOOK_MS = 20;
const POSTGRES_HOME = '/usr/lib/postgresql';
const isRoot = process.getuid?.() === 0;

function postgresFolder(): string | undefined {
  const versions = existsSync(POSTGRES_HOME) ? readdirSync(POSTGRES_HOME).map(Number).filter(Boolean) : [];
  const newest = Math.max(...versions, 0);
  return newest > 0 ? join(POSTGRES_HOME, String(newest), 'bin') : onPath('initdb')?.replace(/\/initdb$/, '');
}

export const redisServer = () => findProgram(() => onPath('redis-server'), 'redis-server');
export const postgresProgram = () => findProgram(postgresFolder, 'postgresql');

/**
 * `describe.each` over the stores of this machine. A store that cannot be found or installed is skipped with one
 * line.
 */
export function describeStores(title: string, define: (kind: StoreKind) => void): void {
  describeWith({ Redis: redisServer, PostgreSQL: postgresProgram }, title, define);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export async function until(what: string, test: () => Promise<unknown>): Promise<void> {
  const giveUpAt = performance.now() + 45_000;
  for (;;) {
    try {
      await test();
      return;
    } catch (error) {
      if (performance.now() > giveUpAt) throw new Error(`${what} did not come up`, { cause: error });
      await sleep(LOOK_MS);
    }
  }
}

/** Polls until `test` is true, for the state of a store, which does not send events. An exception counts as false. */
export function eventually(test: () => Promise<unknown>): Promise<void> {
  return until('What is waited for', async () => {
    if (!(await test())) throw new Error('It is not there yet');
  });
}

export async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

async function startRedis(settings: string[]): Promise<Service> {
  const program = required(redisServer());
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-redis-'));
  const port = await freePort();
  const run = async () => {
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--appendonly', 'yes', '--save', ''];
    const child = spawn(program, [...args, '--appendfsync', 'everysec', ...settings], { stdio: 'ignore' });
    await until('Redis', async () => {
      const client = new Redis(port, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
      client.on('error', () => undefined);
      // If this fails, there is no connection to close, and ioredis would wait two seconds for its end.
      await client.connect();
      try {
        await client.ping();
      } finally {
        client.disconnect();
      }
    });
    return child;
  };
  const withClient = async <T>(work: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis(port);
    try {
      return await work(client);
    } finally {
      client.disconnect();
    }
  };
  let child = await run();
  return {
    kind: 'Redis',
    options: { connection: `redis://127.0.0.1:${port}` },
    kill: () => stop(child, 'SIGKILL'),
    restart: async () => {
      child = await run();
    },
    dump: () => withClient(dumpOf),
    clear: () => withClient(async (client) => void (await client.flushall())),
    close: async () => {
      await stop(child, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// A script sees one moment. If keys were read one by one, some would be deleted in between.
const DUMP = `
local readers = {
  string = { 'GET' }, hash = { 'HGETALL' }, list = { 'LRANGE', 0, -1 },
  set = { 'SMEMBERS' }, zset = { 'ZRANGE', 0, -1 }, stream = { 'XRANGE', '-', '+' },
}
local dump = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local reader = readers[redis.call('TYPE', key).ok]
  dump[#dump + 1] = { key, redis.call(reader[1], key, unpack(reader, 2)) }
end
return cjson.encode(dump)`;

async function dumpOf(client: Redis): Promise<string> {
  return String(await client.eval(DUMP, 0));
}

/** PostgreSQL and PgBouncer do not run as root; their packages have created a user for them. */
export function postgresUser(): { uid?: number; gid?: number } {
  if (!isRoot) return {};
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

async function startPostgres(): Promise<Service> {
  const bin = required(postgresProgram());
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-postgres-'));
  const data = join(folder, 'data');
  mkdirSync(data);
  const owner = postgresUser();
  if (owner.uid !== undefined) for (const path of [folder, data]) chownSync(path, owner.uid, owner.gid!);
  chmodSync(data, 0o700);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', HOME: folder };
  const options = { ...owner, env, cwd: folder, stdio: 'ignore' } as const;
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], options);
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const withClient = async <T>(work: (client: Client) => Promise<T>): Promise<T> => {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  const query = (sql: string) => withClient((client) => client.query<Record<string, string>>(sql));
  const settings = ['max_connections=300', 'shared_buffers=64MB', 'listen_addresses=127.0.0.1'];
  const args = ['-D', data, '-p', String(port), '-k', folder, ...settings.flatMap((setting) => ['-c', setting])];
  let child: ChildProcess;
  const run = async () => {
    child = spawn(join(bin, 'postgres'), args, options);
    await until('PostgreSQL', () => {
      // It exits at once while processes of a killed server still hold its shared memory.
      if (child.exitCode !== null) child = spawn(join(bin, 'postgres'), args, options);
      return query('SELECT 1');
    });
  };
  await run();
  return {
    kind: 'PostgreSQL',
    options: { postgres: url },
    kill: () => stop(child, 'SIGKILL'),
    restart: run,
    dump: () =>
      withClient(async (client) => {
        // Read in one snapshot, or a row that moves between tables could be missed in both.
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        const { rows } = await client.query<{ name: string }>(
          `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
        );
        const tables: unknown[] = [];
        for (const { name } of rows) tables.push((await client.query(`SELECT t::text AS row FROM ${name} t`)).rows);
        return JSON.stringify(tables);
      }),
    clear: async () => {
      const { rows } = await query(
        `SELECT nspname AS name FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')`,
      );
      for (const { name } of rows) await query(`DROP SCHEMA "${name}" CASCADE`);
    },
    close: async () => {
      // Immediately and without a checkpoint, because the data is not needed.
      await stop(child, 'SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
