// 100,000 messages in one call, with and without ids of one's own, compared with a bare addBulk.
import { RtSmsService } from 'nestjs-rt-sms';
import type { Service } from '../../test/durable/services.js';
import { messageOf } from '../account.js';
import { attempt, figure, median, type Figure } from '../figures.js';
import { account, bareQueue, perSecond } from './setup.js';

const MANY = 100_000;
const ROUNDS = { Redis: 3, PostgreSQL: 1 };
const NAMED_BARS = { Redis: 0.8, PostgreSQL: 0.6 };

async function enqueueMany(store: Service, named: boolean): Promise<number> {
  const app = await account(store, 'producer');
  const items = Array.from({ length: MANY }, (_, n) => ({
    message: messageOf(n),
    priority: 'otp' as const,
    ...(named ? { id: `named-${n}` } : {}),
  }));
  try {
    return await perSecond(MANY, () => app.get(RtSmsService).enqueueMany(items));
  } finally {
    await app.close();
    await store.clear();
  }
}

async function addBulk(store: Service): Promise<number> {
  const queue = await bareQueue(store);
  const jobs = Array.from({ length: MANY }, (_, n) => ({
    name: 'send',
    data: messageOf(n),
    opts: { jobId: `bare-${n}` },
  }));
  const rate = await perSecond(MANY, () => queue.addBulk(jobs));
  await queue.close();
  await store.clear();
  return rate;
}

export async function queueing(store: Service): Promise<Figure[]> {
  const { kind } = store;
  const bulk: number[] = [];
  for (let round = 0; round < ROUNDS[kind]; round++) bulk.push(await addBulk(store));
  const ratio = (named: boolean) =>
    attempt(async () => {
      const ratios: number[] = [];
      for (const rate of bulk) ratios.push((await enqueueMany(store, named)) / rate);
      return median(ratios);
    });
  return [
    figure(`${kind}: bare addBulk of 100,000`, median(bulk), { unit: '/s' }),
    figure(
      `${kind}: enqueueMany of 100,000 ÷ bare addBulk`,
      await ratio(false),
      kind === 'Redis' ? { bar: { atLeast: 0.8 } } : {},
    ),
    figure(`${kind}: the same with ids of one’s own, which are looked up`, await ratio(true), {
      bar: { atLeast: NAMED_BARS[kind] },
    }),
  ];
}
