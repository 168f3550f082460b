import { jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { RtSmsValidationError } from 'nestjs-rt-sms';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { bareQueue, describeStores, storeOfSuite } from './services.js';

jest.setTimeout(240_000);

const COUNT = 20_000;
const items = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `m${n}`, message: { msisdn: '79271234567', text: `Hello ${n}` } }));

describeStores('many messages with ids of one’s own, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  async function producer() {
    const { sms } = await run(await gatewayOf(), store.options, { engine: { role: 'producer' } });
    const queue = await bareQueue(store, rtSmsQueueNames().send);
    atEnd(() => queue.close());
    return { sms, queued: () => queue.getJobCountByTypes('wait', 'prioritized', 'delayed') };
  }

  it('are queued in one call, and once if the call is repeated', async () => {
    const { sms, queued } = await producer();
    const all = items(COUNT);
    await expect(sms.enqueueMany(all)).resolves.toEqual(all.map(({ id }) => ({ id })));
    await expect(queued()).resolves.toBe(COUNT);
    await sms.enqueueMany(all);
    await expect(queued()).resolves.toBe(COUNT);
    await expect(sms.find(`m${COUNT - 1}`)).resolves.toEqual({ id: `m${COUNT - 1}`, state: 'queued' });
  });

  it('one changed text among them: the call is rejected, and queues nothing', async () => {
    const { sms, queued } = await producer();
    const known = items(COUNT / 2);
    await sms.enqueueMany(known);
    const all = items(COUNT);
    const changed = all[COUNT / 2 - 1]!;
    changed.message.text = 'Another text';
    const error: unknown = await sms.enqueueMany(all).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RtSmsValidationError);
    expect((error as RtSmsValidationError).problems).toEqual([expect.stringContaining(changed.id)]);
    await expect(queued()).resolves.toBe(known.length);
  });

  it('another replica uses one of the ids for a different message meanwhile: the outcome is unknown, because the others are queued', async () => {
    const [one, other] = [await producer(), await producer()];
    const all = items(3);
    const { addBulk } = Queue.prototype;
    const adding = jest.spyOn(Queue.prototype, 'addBulk').mockImplementationOnce(async function (this: Queue, jobs) {
      await other.sms.enqueue({ ...all[1]!.message, text: 'Another text' }, { id: all[1]!.id });
      return addBulk.call(this, jobs);
    });
    const error: unknown = await one.sms.enqueueMany(all).catch((thrown: unknown) => thrown);
    adding.mockRestore();
    expect(error).toMatchObject({ outcome: 'unknown', message: expect.stringContaining(all[1]!.id) as string });
    await expect(one.queued()).resolves.toBe(3);
    // A single message was not queued.
    const single = one.sms.enqueue(all[1]!.message, { id: all[1]!.id });
    await expect(single).rejects.toMatchObject({ outcome: 'not_sent' });
  });
});
