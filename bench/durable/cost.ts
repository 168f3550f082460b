// What a message costs its store, from enqueue() to the event of its final status: statements of PostgreSQL, commands of Redis.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { Redis } from 'ioredis';
import { RtSmsService } from 'nestjs-rt-sms';
import { Client } from 'pg';
import type { Service } from '../../test/durable/services.js';
import { messageOf, SECRET } from '../account.js';
import { attempt, figure, inFlight, type Figure } from '../figures.js';
import { account } from './setup.js';

const COUNT = 1_000;
const IN_FLIGHT = 100;
const CALLBACK_AFTER_MS = 100;

/** Counts until the returned function is called. */
type Counter = () => Promise<number>;

/** Counts the commands that clients send, as Redis reports them. A script is one, and so is a transaction. */
async function redisCounter(url: string): Promise<Counter> {
  const { hostname, port } = new URL(url);
  const monitor = connect(Number(port), hostname);
  const client = new Redis(url);
  let count = 0;
  const lines = createInterface({ input: monitor });
  const seen = (text: string) =>
    new Promise<void>((resolve) => {
      const look = (line: string) => {
        if (!line.includes(text)) return;
        lines.off('line', look);
        resolve();
      };
      lines.on('line', look);
    });
  const started = seen('+OK');
  monitor.write('MONITOR\r\n');
  await started;
  const inTransaction = new Set<string>();
  lines.on('line', (line) => {
    const [, client, command] = /^\+[\d.]+ \[\d+ (.+?)\] "(\w+)"/.exec(line) ?? [];
    if (client === undefined || client === 'lua') return;
    if (/^multi$/i.test(command!)) inTransaction.add(client);
    else if (/^exec$/i.test(command!)) inTransaction.delete(client);
    if (!inTransaction.has(client)) count++;
  });
  return async () => {
    const ended = seen('end of count');
    await client.echo('end of count');
    await ended;
    client.disconnect();
    monitor.destroy();
    return count;
  };
}

/**
 * Counts the statements that clients send to PostgreSQL. Each is a commit unless it is part of a transaction. The statistics of
 * the database count more commits: one each time a connection that listens receives a notification.
 */
async function postgresCounter(url: string): Promise<Counter> {
  const other = Object.assign(new URL(url), { pathname: '/template1' });
  const client = new Client({ connectionString: other.href });
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
  await client.query('SELECT pg_stat_statements_reset()');
  return async () => {
    const { rows } = await client.query<{ calls: string }>(
      `SELECT sum(calls) AS calls FROM pg_stat_statements JOIN pg_database ON dbid = oid
       WHERE datname = 'postgres' AND toplevel`,
    );
    await client.end();
    return Number(rows[0]!.calls);
  };
}

/** Restarts PostgreSQL with its module that counts statements. */
async function withStatements(store: Service): Promise<void> {
  if (!('postgres' in store.options)) return;
  const client = new Client(store.options.postgres);
  await client.connect();
  await client.query("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
  await client.end();
  await store.kill();
  await store.restart();
}

const counterOf = ({ options }: Service): Promise<Counter> =>
  'connection' in options ? redisCounter(options.connection) : postgresCounter(options.postgres);

/** Count of an application from its start to its end, and the duration of `work`. */
async function spent(store: Service, work: (app: INestApplicationContext) => Promise<unknown>) {
  const count = await counterOf(store);
  const app = await account(store, 'both');
  const began = performance.now();
  await work(app);
  const ms = performance.now() - began;
  await app.close();
  return { count: await count(), ms };
}

/** Sends messages, 100 at a time, and receives a callback about each one. */
async function deliver(app: INestApplicationContext, named: boolean): Promise<void> {
  const sms = app.get(RtSmsService);
  const emitter = app.get(EventEmitter2);
  const accepted = new Map<string, (uid: string) => void>();
  const final = new Map<string, () => void>();
  emitter.on('rt-sms.accepted', ({ ref, uid }: { ref: string; uid: string }) => accepted.get(ref)!(uid));
  emitter.on('rt-sms.status', ({ uid }: { uid: string }) => final.get(uid)!());
  await inFlight(IN_FLIGHT, COUNT, async (n) => {
    const ref = String(n);
    const isAccepted = new Promise<string>((resolve) => accepted.set(ref, resolve));
    await sms.enqueue({ ...messageOf(n), ref }, named ? { id: `named-${n}` } : {});
    const uid = await isAccepted;
    const isFinal = new Promise<void>((resolve) => final.set(uid, resolve));
    await sleep(CALLBACK_AFTER_MS);
    await sms.handleCallback({ id: uid, status: 'delivered', parts: '1' }, { secret: SECRET });
    await isFinal;
  });
}

/** Count per message, without the count of an application that is idle for the same time. */
async function costOf(store: Service, named: boolean): Promise<number> {
  // The first start creates the tables.
  await (await account(store, 'both')).close();
  const load = await spent(store, (app) => deliver(app, named));
  const idle = await spent(store, () => sleep(load.ms));
  await store.clear();
  return (load.count - idle.count) / COUNT;
}

export async function cost(store: Service): Promise<Figure[]> {
  const { kind } = store;
  await withStatements(store);
  const unit = kind === 'Redis' ? 'commands' : 'statements';
  const what = `${kind}: ${unit} a message, enqueue() → final status by callback`;
  return [
    figure(what, await attempt(() => costOf(store, false)), { bar: { atMost: 7 } }),
    figure(`${what}, with an id of one’s own`, await attempt(() => costOf(store, true))),
  ];
}
