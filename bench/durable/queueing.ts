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
  const plain: (number | Error)[] = [];
  const named: (number | Error)[] = [];
  for (let round = 0; round < ROUNDS[kind]; round++) {
    const rate = await addBulk(store);
    bulk.push(rate);
    // In the same round, because the machine may be slower in another.
    plain.push(await attempt(async () => (await enqueueMany(store, false)) / rate));
    named.push(await attempt(async () => (await enqueueMany(store, true)) / rate));
  }
  const medianOf = (ratios: (number | Error)[]) =>
    ratios.find((ratio) => ratio instanceof Error) ?? median(ratios as number[]);
  return [
    figure(`${kind}: bare addBulk of 100,000`, median(bulk), { unit: '/s' }),
    figure(
      `${kind}: enqueueMany of 100,000 ÷ bare addBulk`,
      medianOf(plain),
      kind === 'Redis' ? { bar: { atLeast: 0.8 } } : {},
    ),
    figure(`${kind}: the same with ids of one’s own, which are looked up`, medianOf(named), {
      bar: { atLeast: NAMED_BARS[kind] },
    }),
  ];
}
