// What a message costs its store, from enqueue() to the event of its final status: commits of PostgreSQL, commands of Redis.
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

const COUNT = 2_000;
const IN_FLIGHT = 20;
const CALLBACK_AFTER_MS = 100;

/** Counts until the returned function is called. */
type Counter = () => Promise<number>;

/** Counts the commands that clients send; a script is one command. */
async function redisCounter(url: string): Promise<Counter> {
  const client = new Redis(url);
  const monitor = await client.monitor();
  let count = 0;
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  monitor.on('monitor', (_time: string, [, text]: string[], source: string) => {
    if (text === 'end of count') end();
    else if (source !== 'lua') count++;
  });
  return async () => {
    await client.echo('end of count');
    await ended;
    monitor.disconnect();
    client.disconnect();
    return count;
  };
}

/** Counts the commits of the database, after all of its clients have ended: only then are their statistics complete. */
async function postgresCounter(url: string): Promise<Counter> {
  const other = Object.assign(new URL(url), { pathname: '/template1' });
  const client = new Client({ connectionString: other.href });
  await client.connect();
  const commits = async () => {
    for (;;) {
      const { rows } = await client.query<{ clients: string }>(
        `SELECT count(*) AS clients FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type = 'client backend'`,
      );
      if (Number(rows[0]!.clients) === 0) break;
      await sleep(50);
    }
    await sleep(1_000);
    const { rows } = await client.query<{ commits: string }>(
      `SELECT xact_commit AS commits FROM pg_stat_database WHERE datname = 'postgres'`,
    );
    return Number(rows[0]!.commits);
  };
  const before = await commits();
  return async () => {
    const after = await commits();
    await client.end();
    return after - before;
  };
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

/** Sends messages, 20 at a time, and receives a callback about each one. */
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
  const unit = kind === 'Redis' ? 'commands' : 'commits';
  const what = `${kind}: ${unit} a message, enqueue() → final status by callback`;
  return [
    figure(what, await attempt(() => costOf(store, false)), { bar: { atMost: 7 } }),
    figure(`${what}, with an id of one’s own`, await attempt(() => costOf(store, true))),
  ];
}
