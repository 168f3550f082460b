import { jest } from '@jest/globals';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { Client } from 'pg';
import { jobIdOf } from '../../libs/rt-sms-bullmq/src/job-id.js';
import { atEnd } from '../platforms.js';
import { callback, gatewayOf, run, type Running } from './account.js';
import { describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(60_000);

const hello = { msisdn: '79271234567', text: 'Hello' };

const statusesOf = (events: Running['events']) =>
  events.filter(({ event }) => event === 'status').map(({ status, ref }) => `${status} of ${ref}`);

describeStores('what happens at the same time, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('callbacks that overtake the answer to send(): they have its ref', async () => {
    const gateway = await gatewayOf();
    const { sms, url, events, heard } = await run(gateway, store.options);
    gateway.nextSend({ delayMs: 300 });
    const sending = sms.send({ ...hello, ref: 'order 1' });
    const { uid } = await gateway.waitForMessage();
    for (const status of ['awaiting_report', 'delivered']) await expect(callback(url, uid, status)).resolves.toBe(200);
    await sending;
    await heard('status.delivered');
    expect(statusesOf(events)).toEqual(['awaiting_report of order 1', 'delivered of order 1']);
  });

  it('a hint about a message that is yet to be registered does not take its place', async () => {
    const gateway = await gatewayOf();
    const options = { callback: {}, tracking: { schedule: [300] } };
    const { sms, url, events, heard } = await run(gateway, store.options, { options });
    await store.kill();
    const { uid } = await sms.send({ ...hello, ref: 'order 1' });
    await gateway.report(uid, 'delivered');
    await store.restart();
    await eventually(() => sms.find('any').then(() => true));
    expect((await fetch(`${url}/rt-sms/callback?id=${uid}&status=delivered`)).status).toBe(200);
    await heard('status.delivered');
    expect(statusesOf(events)).toEqual(['delivered of order 1']);
  });

  it('cancel() twice: both return that it is cancelled', async () => {
    const { sms } = await run(await gatewayOf(), store.options);
    await sms.enqueue(hello, { id: 'a', delayMs: 60_000 });
    await expect(Promise.all(['a', 'a', 'a'].map((id) => sms.cancel(id)))).resolves.toEqual([true, true, true]);
  });

  it('two messages for an id whose time is over: one is taken and sent, the other one is an error', async () => {
    const gateway = await gatewayOf();
    const idempotencyMs = 1_000;
    const replicas = await Promise.all([1, 2].map(() => run(gateway, store.options, { options: { idempotencyMs } })));
    const [{ sms }] = replicas as [(typeof replicas)[0]];
    const ids = Array.from({ length: 20 }, (_, n) => `m${n}`);
    await sms.enqueueMany(ids.map((id) => ({ id, message: hello })));
    await eventually(async () => (await Promise.all(ids.map((id) => sms.find(id)))).every((found) => !found));
    const taken = await Promise.all(
      ids.map(async (id) => {
        const texts = ['this', 'that'].map((text) => `${text} ${id}`);
        const ends = await Promise.allSettled(
          texts.map((text, n) => replicas[n]!.sms.enqueue({ ...hello, text }, { id, delayMs: 200 })),
        );
        return texts.filter((_, n) => ends[n]!.status === 'fulfilled');
      }),
    );
    expect(taken.map((texts) => texts.length)).toEqual(ids.map(() => 1));
    await eventually(async () => gateway.messages.length === 40);
    expect(new Set(gateway.messages.slice(20).map(({ text }) => text))).toEqual(new Set(taken.flat()));
  });

  if (kind === 'PostgreSQL')
    it('a store that fails between the adding and the comparing: nobody is told that it was not sent', async () => {
      const { postgres } = store.options as { postgres: string };
      const gateway = await gatewayOf();
      const one = { connectionString: postgres, max: 1 };
      const { sms } = await run(gateway, store.options, { engine: { postgres: one, role: 'producer' } });
      // Another transaction adds `b` and stays open: the only connection waits for it.
      const client = new Client({ connectionString: postgres });
      await client.connect();
      atEnd(() => client.end());
      await client.query('BEGIN');
      await client.query(
        `INSERT INTO bullmq.job (queue, id, seq, name, state, data, opts, added_at_ms)
         VALUES ($1, $2, nextval('bullmq.job_seq'), 'send', 'waiting', '{}', '{}', 0)`,
        [rtSmsQueueNames().send, jobIdOf('b')],
      );
      const both = ['a', 'b'].map((id) => sms.enqueue(hello, { id }));
      const unknown = { name: 'RtSmsTimeoutError', outcome: 'unknown' };
      await Promise.all(both.map((one) => expect(one).rejects.toMatchObject(unknown)));
      await client.query('ROLLBACK');
      await expect(sms.find('a')).resolves.toEqual({ id: 'a', state: 'queued' });
    });
});
