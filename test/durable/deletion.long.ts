import { jest } from '@jest/globals';
import type { Queue } from 'bullmq';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { callback, gatewayOf, run } from './account.js';
import { bareQueue, eventually, storeOfSuite, STORES } from './services.js';

jest.setTimeout(120_000);

const hello = { msisdn: '79271234567', text: 'Your code QX-ZJKW', ref: 'order-4711' };
const HOUR_MS = 3_600_000;

describe.each(STORES)('deletion on %s', (kind) => {
  const store = storeOfSuite(kind);
  let queues: Map<string, Queue>;
  beforeEach(async () => {
    await store.clear();
    queues = new Map();
  });

  async function queueOf(name: string): Promise<Queue> {
    const queue = queues.get(name) ?? (await bareQueue(store, name));
    if (!queues.has(name)) atEnd(() => queue.close());
    queues.set(name, queue);
    return queue;
  }

  /** Makes all finished jobs older, as if the clock of the store had gone on. */
  async function makeOlder(ms: number): Promise<void> {
    if ('postgres' in store.options) {
      const client = new Client(store.options.postgres);
      await client.connect();
      await client.query('UPDATE bullmq.job SET finished_at_ms = finished_at_ms - $1', [ms]);
      await client.end();
      return;
    }
    const client = new Redis(store.options.connection);
    for (const name of Object.values(rtSmsQueueNames()))
      for (const job of await (await queueOf(name)).getJobs(['completed'])) {
        await client.zincrby(`bull:${name}:completed`, -ms, job.id!);
        await client.hincrby(`bull:${name}:${job.id}`, 'finishedOn', -ms);
      }
    client.disconnect();
  }

  /** Ids of the finished jobs in each queue. */
  async function settled(): Promise<Record<string, string[]>> {
    const names = Object.entries(rtSmsQueueNames());
    const ids = names.map(async ([queue, name]) => {
      const jobs = await (await queueOf(name)).getJobs(['completed']);
      return [queue, jobs.map(({ id }) => id!)] as const;
    });
    return Object.fromEntries(await Promise.all(ids));
  }

  /** Enqueues a message, waits for its final status, and receives a callback about a message of another process. */
  async function settle(replica: Awaited<ReturnType<typeof run>>, id: string, message = hello): Promise<string> {
    await replica.sms.enqueue(message, { id });
    const { uid } = await replica.heard('accepted', id);
    await callback(replica.url, uid!, 'delivered');
    await callback(replica.url, 'elsewhere', 'delivered');
    await eventually(async () => replica.events.filter(({ event }) => event === 'status.delivered').length === 2);
    await eventually(async () => Object.values(await settled()).every(({ length }) => length > 0));
    return uid!;
  }

  it('what is over goes from each queue without another message, and no id stays behind', async () => {
    const gateway = await gatewayOf();
    const options = { idempotencyMs: 4_000, tracking: { maxAgeMs: 4_000 } };
    const replica = await run(gateway, store.options, { options });
    const uid = await settle(replica, 'an-id');
    await eventually(async () => Object.values(await settled()).every(({ length }) => length === 0));
    const personal = new RegExp([uid, 'elsewhere', 'order-4711', Buffer.from('an-id').toString('base64url')].join('|'));
    await eventually(async () => !personal.test(await store.dump()));
  });

  it('what is kept for a second goes from an account that falls idle, with and without a callback', async () => {
    const gateway = await gatewayOf();
    const options = { idempotencyMs: 1_000, tracking: { maxAgeMs: 2_000, schedule: [500] } };
    const replica = await run(gateway, store.options, { options });
    const ids = Array.from({ length: 20 }, (_, n) => `an-id-${n}`);
    await replica.sms.enqueueMany(ids.map((id) => ({ id, message: hello })));
    for (const [n, id] of ids.entries()) {
      const { uid } = await replica.heard('accepted', id);
      if (n % 2) await callback(replica.url, uid!, 'delivered');
    }
    await callback(replica.url, 'elsewhere', 'delivered');
    const ends = () => replica.events.filter(({ event }) => event === 'status.delivered' || event === 'unresolved');
    await eventually(async () => ends().length > ids.length);
    const uids = gateway.messages.map(({ uid }) => uid);
    const encoded = ids.map((id) => Buffer.from(id).toString('base64url'));
    const personal = new RegExp([...uids, ...encoded, 'elsewhere', 'order-4711'].join('|'));
    await eventually(async () => !personal.test(await store.dump()));
  });

  it('each queue has a separate retention', async () => {
    const gateway = await gatewayOf();
    const options = { idempotencyMs: HOUR_MS, tracking: { maxAgeMs: 3_000 } };
    const replica = await run(gateway, store.options, { options });
    await settle(replica, 'kept');
    await eventually(async () => {
      const { check, unknown } = await settled();
      return check!.length + unknown!.length === 0;
    });
    await expect(replica.sms.find('kept')).resolves.toMatchObject({ state: 'accepted' });
  });

  it('data of ended replicas are deleted at the start', async () => {
    const gateway = await gatewayOf();
    const first = await run(gateway, store.options);
    await settle(first, 'left');
    await first.app.close();
    // The intervals are so long that only the sweep at the start can remove anything.
    await makeOlder(100 * HOUR_MS);
    await run(gateway, store.options);
    await eventually(async () => Object.values(await settled()).every(({ length }) => length === 0));
  });

  it("one person's data are erased as docs/security.md says", async () => {
    const gateway = await gatewayOf();
    const replica = await run(gateway, store.options);
    const { sms } = replica;
    const personal = (uid: string) => new RegExp([hello.msisdn, 'QX-ZJKW', hello.ref, uid].join('|'));
    await sms.enqueue(hello, { id: 'order-4711 later', delayMs: HOUR_MS });
    await sms.enqueue({ ...hello, ref: 'of another' }, { id: 'another' });
    const other = await replica.heard('accepted', 'another');
    const uid = await settle(replica, 'order-4711', { ...hello, overdueAfterMs: HOUR_MS } as typeof hello);
    const sent = await sms.send({ ...hello, overdueAfterMs: HOUR_MS });
    expect(await store.dump()).toMatch(personal(uid));

    await expect(sms.cancel('order-4711 later')).resolves.toBe(true);
    await replica.heard('cancelled', 'order-4711 later');
    expect(await store.dump()).not.toMatch(/79271234567|QX-ZJKW/);
    const { send: sends, check: checks } = rtSmsQueueNames();
    const [send, check] = [await queueOf(sends), await queueOf(checks)];
    await eventually(async () => (await send.getJobs(['completed'])).length === 3);
    for (const id of ['order-4711 later', 'order-4711'])
      await expect(send.remove(`i${Buffer.from(id).toString('base64url')}`)).resolves.toBe(1);
    for (const row of [
      uid,
      sent.uid,
      `i${Buffer.from('order-4711').toString('base64url')}%overdue`,
      `${sent.uid}%overdue`,
    ])
      await expect(check.remove(row)).resolves.toBe(1);
    if ('connection' in store.options) {
      for (const queue of [send, check]) await queue.trimEvents(0);
    } else {
      const client = new Client(store.options.postgres);
      await client.connect();
      atEnd(() => client.end());
      await client.query('DELETE FROM bullmq.event WHERE queue = ANY($1)', [[sends, checks]]);
    }

    const dump = await store.dump();
    expect(dump).not.toMatch(personal(uid));
    expect(dump).not.toContain(sent.uid);
    for (const id of ['order-4711', 'order-4711 later'])
      expect(dump).not.toContain(`i${Buffer.from(id).toString('base64url')}`);
    expect(dump).toContain('of another');
    // Data that is not erased is still processed.
    await callback(replica.url, other.uid!, 'failed');
    await expect(replica.heard('status.failed')).resolves.toMatchObject({ uid: other.uid, ref: 'of another' });
  });
});
