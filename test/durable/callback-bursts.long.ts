import { jest } from '@jest/globals';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { SECRET } from './replica.js';
import { describeStores, eventually, type Service, storeOfSuite } from './services.js';

jest.setTimeout(240_000);

const COUNT = 2_000;
const uids = Array.from({ length: COUNT }, (_, n) => `message-id-${n}`);

/** Counts the transactions that write to PostgreSQL, including its own one. */
async function writesOf({ options }: Service): Promise<(() => Promise<number>) | undefined> {
  if (!('postgres' in options)) return undefined;
  const client = new Client(options.postgres);
  await client.connect();
  atEnd(() => client.end());
  return async () => Number((await client.query<{ id: string }>('SELECT txid_current() AS id')).rows[0]!.id);
}

describeStores('many callbacks at once, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('at a producer: each is answered and stored, and emitted once by a worker', async () => {
    const gateway = await gatewayOf();
    const { sms } = await run(gateway, store.options, { engine: { role: 'producer' } });
    await sms.track(uids.map((uid) => ({ uid })));
    const writes = await writesOf(store);
    const before = await writes?.();
    const call = (id: string) => sms.handleCallback({ id, status: 'delivered' }, { secret: SECRET });
    const answers = await Promise.allSettled(uids.map(call));
    const failed = answers.filter((answer) => answer.status === 'rejected').map(({ reason }) => String(reason));
    expect([...new Set(failed)]).toEqual([]);
    if (writes) expect((await writes()) - before!).toBeLessThan(COUNT / 4);

    const worker = await run(gateway, store.options, { engine: { role: 'worker', concurrency: 20 } });
    const delivered = () => worker.events.filter(({ event }) => event === 'status.delivered').map(({ uid }) => uid!);
    await eventually(async () => delivered().length >= COUNT);
    expect(delivered().toSorted()).toEqual(uids.toSorted());
    expect(gateway.requests.get).toBe(0);
  });
});
