import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { Redis } from 'ioredis';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { callback, gatewayOf, run } from './account.js';
import { SECRET } from './replica.js';
import { bareQueue, eventually, type Service, storeOfSuite, STORES } from './services.js';

jest.setTimeout(300_000);

const hello = { msisdn: '79271234567', text: 'Hello' };

/** Runs `work` for each number, ten at a time. */
async function each(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 10 }, worker));
}

/** Size of the store: number of keys in Redis, or of rows in PostgreSQL. */
async function sizeOf({ options }: Service): Promise<number> {
  if ('connection' in options) {
    const client = new Redis(options.connection);
    const size = await client.dbsize();
    client.disconnect();
    return size;
  }
  const client = new Client(options.postgres);
  await client.connect();
  const { rows } = await client.query<{ size: string }>(
    'SELECT (SELECT count(*) FROM bullmq.job) + (SELECT count(*) FROM bullmq.job_log) AS size',
  );
  await client.end();
  return Number(rows[0]!.size);
}

/** Number of commands that this Redis has processed. */
async function commandsOf({ options }: Service): Promise<number | undefined> {
  if (!('connection' in options)) return undefined;
  const client = new Redis(options.connection);
  const info = await client.info('stats');
  client.disconnect();
  return Number(/total_commands_processed:(\d+)/.exec(info)![1]);
}

describe.each(STORES)('callbacks about unknown messages on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  /** Waits until all callbacks about unknown messages have been handled. */
  async function handled(): Promise<void> {
    const queue = await bareQueue(store, rtSmsQueueNames().unknown);
    atEnd(() => queue.close());
    await eventually(async () => (await queue.getJobCountByTypes('wait', 'active', 'delayed')) === 0);
  }

  it('thousands of invented uids, many twice, on two replicas: one event each, no poll, and a cap on what is kept', async () => {
    // PostgreSQL commits each step of a job to disk.
    const [invented, repeated] = kind === 'Redis' ? [9_000, 8_000] : [2_000, 1_000];
    const more = kind === 'Redis' ? 3_000 : 0;
    const gateway = await gatewayOf();
    const replicas = await Promise.all([run(gateway, store.options), run(gateway, store.options)]);
    const before = await sizeOf(store);
    const call = (n: number, replica: number) =>
      replicas[replica]!.sms.handleCallback({ id: `invented${n}`, status: 'delivered' }, { secret: SECRET });
    await each(invented, (n) => call(n, n % 2));
    await handled();
    // All of these are still kept: which ones of more than 10,000 are, depends on the order in which their jobs ended.
    await each(repeated, (n) => call(invented - 1 - n, n % 2));
    await handled();
    await each(more, (n) => call(invented + n, n % 2));
    await handled();
    const uids = replicas.flatMap(({ events }) =>
      events.filter(({ event }) => event === 'status').map(({ uid }) => uid),
    );
    expect(new Set(uids).size).toBe(uids.length);
    expect(uids).toHaveLength(invented + more);
    // Entries beyond the cap are removed after a second; a queue has some further keys.
    await eventually(async () => (await sizeOf(store)) - before <= Math.min(invented + more, 10_000) + 20);
    expect(gateway.requests).toEqual({ post: 0, get: 0 });
  });

  it('the status of a message that is registered meanwhile has its ref, and the others follow in order', async () => {
    const gateway = await gatewayOf();
    const [api, worker] = await Promise.all([run(gateway, store.options), run(gateway, store.options)]);
    gateway.nextSend({ delayMs: 700 });
    const sending = api.sms.send({ ...hello, ref: 'order 1' });
    const { uid } = await gateway.waitForMessage();
    for (const status of ['awaiting_report', 'delivered']) await callback(worker.url, uid, status);
    await sending;
    await handled();
    await Promise.race([api.heard('status.delivered'), worker.heard('status.delivered')]);
    const statuses = [...api.events, ...worker.events].filter(({ event }) => event === 'status');
    expect(statuses.map(({ status, ref }) => `${status} of ${ref}`).toSorted()).toEqual([
      'awaiting_report of order 1',
      'delivered of order 1',
    ]);
    expect(gateway.requests.get).toBe(0);
  });

  it('a message of another process is reported once for each status, none after a final one', async () => {
    const { url, events } = await run(await gatewayOf(), store.options);
    const statuses = ['awaiting_report', 'awaiting_report', 'delivered', 'delivered', 'failed', 'awaiting_report'];
    for (const status of statuses) await expect(callback(url, 'elsewhere', status)).resolves.toBe(200);
    await handled();
    for (const status of statuses) await callback(url, 'elsewhere', status);
    await handled();
    const emitted = events.filter(({ event }) => event === 'status').map(({ status }) => status);
    expect(emitted).toEqual(['awaiting_report', 'delivered']);
  });

  it('a handler that fails is called again', async () => {
    const { app, url, events } = await run(await gatewayOf(), store.options);
    let calls = 0;
    app.get(EventEmitter2).on('rt-sms.status.delivered', () => {
      if (++calls < 3) throw new Error('the database is down');
    });
    await callback(url, 'elsewhere', 'delivered');
    await handled();
    expect(calls).toBe(3);
    expect(new Set(events.map(({ id }) => id))).toEqual(new Set(['default:message-id-elsewhere:delivered']));
  });

  it("confirm: 'always': the gateway is asked once about each, and what it says is emitted", async () => {
    const gateway = await gatewayOf();
    const options = { callback: { secrets: SECRET, confirm: 'always' as const } };
    const { url, events } = await run(gateway, store.options, { options });
    for (let n = 0; n < 5; n++) await callback(url, 'invented', 'delivered');
    await handled();
    expect(gateway.requests.get).toBeLessThanOrEqual(1);
    expect(events).toEqual([]);
  });

  it('anonymous hints are answered while the store hangs, and cost a few commands', async () => {
    const gateway = await gatewayOf();
    const { url, sms } = await run(gateway, store.options, { options: { callback: {} } });
    const { uid } = await sms.send(hello);
    const hint = (id: string) => fetch(`${url}/rt-sms/callback?id=${id}&status=delivered`).then(({ status }) => status);
    const before = await commandsOf(store);
    await each(2_000, async (n) => expect(await hint(n % 2 ? uid : `invented${n}`)).toBe(200));
    // One command for each invented uid within the limit and for its repetition, and one cycle of the known message's job.
    if (before !== undefined) expect((await commandsOf(store))! - before).toBeLessThan(4_000);
    await store.kill();
    const began = performance.now();
    await each(100, async (n) => expect(await hint(`later${n}`)).toBe(200));
    expect(performance.now() - began).toBeLessThan(4_000);
    await store.restart();
  });

  it('a callback that cannot be stored is answered with 503, and logged once', async () => {
    const { url } = await run(await gatewayOf(), store.options);
    const error = jest.spyOn(Logger.prototype, 'error');
    const warn = jest.spyOn(Logger.prototype, 'warn');
    atEnd(() => jest.restoreAllMocks());
    await store.kill();
    for (let n = 0; n < 3; n++) await expect(callback(url, `uid${n}`, 'delivered')).resolves.toBe(503);
    expect(error).not.toHaveBeenCalled();
    expect(warn.mock.calls.filter(([line]) => String(line).startsWith('The store of the queue failed: '))).toHaveLength(
      1,
    );
    await store.restart();
  });
});
