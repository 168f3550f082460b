import type { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import type { FencedUpdate, StoreOperations } from '../../libs/rt-sms-bullmq/src/operations.js';
import { postgresOperations } from '../../libs/rt-sms-bullmq/src/postgres-operations.js';
import { redisOperations } from '../../libs/rt-sms-bullmq/src/redis-operations.js';
import { atEnd } from '../platforms.js';
import { bareQueue, describeStores, eventually, storeOfSuite } from './services.js';

const TOKEN = 'a worker';
const DAY_MS = 86_400_000;

describeStores('the steps that BullMQ has not, many at once, on %s', (kind) => {
  const store = storeOfSuite(kind);

  /** Adds jobs and fetches them as a worker does. Returns their ids with the queues and the operations on them. */
  async function taken(count: number): Promise<{ jobs: Queue; others: Queue; own: StoreOperations; ids: string[] }> {
    await store.clear();
    const [jobs, others] = await Promise.all([bareQueue(store, 'jobs'), bareQueue(store, 'others')]);
    atEnd(() => Promise.all([jobs.close(), others.close()]));
    const backend = jobs.getBackend();
    const own =
      kind === 'Redis'
        ? redisOperations(backend, jobs.toKey(''), others.toKey(''), Date.now)
        : postgresOperations(backend, jobs.name, others.name, Date.now);
    const ids = Array.from({ length: count }, (_, n) => `m${n}`);
    await jobs.addBulk(ids.map((jobId) => ({ name: 'send', data: {}, opts: { jobId } })));
    Object.assign(jobs.opts, { lockDuration: 60_000 });
    for (const _ of ids) await backend.moveToActive(TOKEN);
    return { jobs, others, own, ids };
  }

  const keeping = (jobId: string, data: object, more: Partial<FencedUpdate> = {}): FencedUpdate => ({
    jobId,
    token: TOKEN,
    data,
    checkJob: { name: 'check', data: { of: jobId }, opts: { jobId: `of-${jobId}`, delay: DAY_MS, attempts: 3 } },
    ...more,
  });

  it('each is kept, and its other job is there', async () => {
    const { jobs, others, own, ids } = await taken(30);
    const kept = await Promise.all(ids.map((id) => own.update(keeping(id, { id }))));
    expect(kept).toEqual(ids.map(() => ({ replaced: true, added: true })));
    for (const id of ids) {
      expect((await jobs.getJob(id))?.data).toEqual({ id });
      const other = await others.getJob(`of-${id}`);
      expect(other).toMatchObject({ name: 'check', data: { of: id }, delay: DAY_MS });
      expect(other?.opts.attempts).toBe(3);
    }
    await expect(others.getDelayedCount()).resolves.toBe(30);
  });

  it('the worker that lost its job keeps nothing, also beside the one that has it now; its other job is added', async () => {
    const { jobs, others, own } = await taken(1);
    const lost = { ...keeping('m0', { by: 'the old one' }), token: 'another worker' };
    const kept = await Promise.all([
      own.update(lost),
      own.update({ ...keeping('m0', { by: 'the new one' }), checkJob: undefined }),
      own.update({ ...lost, checkJob: undefined }),
    ]);
    expect(kept.map(({ replaced }) => replaced)).toEqual([false, true, false]);
    expect((await jobs.getJob('m0'))?.data).toEqual({ by: 'the new one' });
    await expect(others.getJobState('of-m0')).resolves.toBe('delayed');
  });

  if (kind === 'PostgreSQL')
    it('a write that was given up and comes late does not undo a later one', async () => {
      const { jobs, own } = await taken(1);
      const written = { version: 2, sendStartedAt: 1 };
      await expect(own.update(keeping('m0', written))).resolves.toMatchObject({ replaced: true });
      for (const late of [{ version: 1 }, {}])
        await expect(own.update(keeping('m0', late))).resolves.toMatchObject({ replaced: false });
      expect((await jobs.getJob('m0'))?.data).toEqual(written);
      // The same version may be written again, because its answer may have been lost, and so may the next one.
      for (const next of [written, { version: 3 }])
        await expect(own.update(keeping('m0', next))).resolves.toMatchObject({ replaced: true });
    });

  it('another job that is there already is left as it is, and that is told', async () => {
    const { others, own } = await taken(2);
    await others.add('check', { by: 'a callback' }, { jobId: 'of-m0', delay: 1_000 });
    const kept = await Promise.all(['m0', 'm1'].map((id) => own.update(keeping(id, {}))));
    expect(kept).toEqual([
      { replaced: true, added: false },
      { replaced: true, added: true },
    ]);
    expect((await others.getJob('of-m0'))?.data).toEqual({ by: 'a callback' });
  });

  it('one that the store does not take fails alone', async () => {
    const { jobs, own, ids } = await taken(3);
    let bad: object = {};
    if (kind === 'Redis') {
      // A key of another type.
      const client = new Redis((store.options as { connection: string }).connection);
      await client.set('bull:others:of-m1', '');
      client.disconnect();
    } else bad = { text: '\0' };
    const kept = await Promise.allSettled(ids.map((id) => own.update(keeping(id, id === 'm1' ? bad : { id }))));
    expect(kept.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    for (const id of ['m0', 'm2']) expect((await jobs.getJob(id))?.data).toEqual({ id });
  });

  it('what was completed before a time is forgotten, and nothing else', async () => {
    const { jobs, own } = await taken(2);
    await (await jobs.getJob('m0'))!.moveToCompleted('accepted', TOKEN, false);
    const there = () => Promise.all(['m0', 'm1'].map(async (id) => (await jobs.getJob(id)) !== undefined));
    await own.removeCompleted(Date.now() - DAY_MS);
    await expect(there()).resolves.toEqual([true, true]);
    await own.removeCompleted(Date.now() + DAY_MS);
    await expect(there()).resolves.toEqual([false, true]);
  });

  if (kind === 'PostgreSQL')
    it('what comes under an id while it is forgotten stays', async () => {
      const { jobs, own } = await taken(1);
      await (await jobs.getJob('m0'))!.moveToCompleted('accepted', TOKEN, false);
      const connectionString = (store.options as { postgres: string }).postgres;
      const [holder, replica] = [new Client({ connectionString }), new Client({ connectionString })];
      for (const client of [holder, replica]) {
        await client.connect();
        atEnd(() => client.end());
      }
      const waiting = async () =>
        (await holder.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).rowCount ?? 0;
      // Every deletion of a job needs this table.
      await holder.query('BEGIN; LOCK TABLE bullmq.job_dependency IN EXCLUSIVE MODE');
      const forgotten = own.removeCompleted(Date.now() + DAY_MS);
      await eventually(async () => (await waiting()) === 1);
      let isNew = false;
      const renewed = replica
        .query(
          `INSERT INTO bullmq.job (queue, id, seq, name, state, data, opts, added_at_ms)
           VALUES ('jobs', 'm0', nextval('bullmq.job_seq'), 'send', 'waiting', '{"by": "another"}', '{}', 0)
           ON CONFLICT (queue, id) DO UPDATE SET state = 'waiting', data = excluded.data, finished_at_ms = NULL`,
        )
        .then(() => (isNew = true));
      await eventually(async () => isNew || (await waiting()) === 2);
      await holder.query('COMMIT');
      await Promise.all([forgotten, renewed]);
      expect((await jobs.getJob('m0'))?.data).toEqual({ by: 'another' });
    });

  if (kind === 'Redis')
    it('many are one command', async () => {
      const { own, ids } = await taken(50);
      const client = new Redis((store.options as { connection: string }).connection);
      atEnd(() => client.disconnect());
      await client.config('RESETSTAT');
      await Promise.all(ids.map((id) => own.update(keeping(id, { id }))));
      const scripts = [...(await client.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)];
      expect(scripts.map(([, calls]) => calls)).toEqual(['1']);
    });
  else
    it('one whose job is locked by another transaction does not hold up the others', async () => {
      const { own, ids } = await taken(3);
      const client = new Client({ connectionString: (store.options as { postgres: string }).postgres });
      await client.connect();
      atEnd(() => client.end());
      await client.query(`BEGIN; SELECT 1 FROM bullmq.job WHERE id = 'm1' FOR UPDATE`);
      const kept = ids.map((id) => own.update(keeping(id, { id })));
      await expect(Promise.all([kept[0], kept[2]])).resolves.toEqual([
        { replaced: true, added: true },
        { replaced: true, added: true },
      ]);
      await eventually(async () => {
        const { rowCount } = await client.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`);
        return rowCount === 1;
      });
      await client.query('COMMIT');
      await expect(kept[1]).resolves.toEqual({ replaced: true, added: true });
    });
});
