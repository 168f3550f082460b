// Callbacks: how fast a producer answers them, and how long they take to become events on another replica.
import { setTimeout as sleep } from 'node:timers/promises';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { RtSmsService } from 'nestjs-rt-sms';
import type { Service } from '../../test/durable/services.js';
import { messageOf, SECRET } from '../account.js';
import { attempt, figure, inFlight, median, percentile, type Figure } from '../figures.js';
import { account, bareQueue, perSecond } from './setup.js';

const BURST = 2_000;
const ROUNDS = 3;
/** Number of first callbacks that are not counted, while code and connections are cold and a backlog is worked off. */
const COLD = 1_500;
const CALLBACKS = 5_000 + COLD;

/** Callbacks about known messages, all at once, that a producer answers per second. */
async function answered(store: Service): Promise<number> {
  const app = await account(store, 'producer');
  const sms = app.get(RtSmsService);
  const uids = Array.from({ length: BURST }, (_, n) => `message-id-${n}`);
  const call = (id: string) => sms.handleCallback({ id, status: 'delivered', parts: '1' }, { secret: SECRET });
  try {
    await inFlight(10, BURST, (n) => sms.track({ uid: uids[n]! }));
    return await perSecond(BURST, () => Promise.all(uids.map(call)));
  } finally {
    await app.close();
    await store.clear();
  }
}

/** Jobs, all at once, that a bare queue adds per second. */
async function added(store: Service): Promise<number> {
  const queue = await bareQueue(store);
  const rate = await perSecond(BURST, () =>
    Promise.all(Array.from({ length: BURST }, (_, n) => queue.add('callback', messageOf(n), { jobId: `bare-${n}` }))),
  );
  await queue.close();
  await store.clear();
  return rate;
}

/** Milliseconds from a callback at one replica to its event at another one, while 500 messages a second are sent. */
async function waits(store: Service): Promise<number[]> {
  const worker = await account(store, 'both');
  const producer = await account(store, 'producer');
  const sms = producer.get(RtSmsService);
  const emitter = worker.get(EventEmitter2);
  const calledAt = new Map<string, number>();
  const durations: number[] = [];
  emitter.on('rt-sms.status', ({ uid }: { uid: string }) => durations.push(performance.now() - calledAt.get(uid)!));
  emitter.on('rt-sms.accepted', ({ uid }: { uid: string }) => {
    setTimeout(() => {
      calledAt.set(uid, performance.now());
      void sms.handleCallback({ id: uid, status: 'delivered', parts: '1' }, { secret: SECRET });
    }, 200);
  });
  const began = performance.now();
  for (let sent = 0; sent < CALLBACKS;) {
    const due = Math.min(CALLBACKS, Math.floor((performance.now() - began) / 2));
    for (; sent < due; sent++) void sms.enqueue(messageOf(sent));
    await sleep(2);
  }
  while (durations.length < CALLBACKS) await sleep(50);
  await producer.close();
  await worker.close();
  return durations.slice(COLD);
}

export async function callbacks(store: Service): Promise<Figure[]> {
  const { kind } = store;
  const adds: number[] = [];
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++) adds.push(await added(store));
  const rate = median(adds.slice(1));
  const answers = await attempt(async () => {
    const rates: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) rates.push(await answered(store));
    return median(rates.slice(1));
  });
  const figures = [
    figure(`${kind}: bare queue.add, 2,000 at once`, rate, { unit: '/s' }),
    figure(`${kind}: callbacks that a producer answers, 2,000 at once`, answers, { unit: '/s' }),
    figure(`${kind}: the same ÷ bare queue.add`, answers instanceof Error ? answers : answers / rate, {
      bar: { atLeast: 0.6 },
    }),
  ];
  // PostgreSQL does not take 500 messages a second on a small machine.
  if (kind === 'PostgreSQL') return figures;
  const durations = await attempt(() => waits(store));
  await store.clear();
  const waited = (percent: number) => (durations instanceof Error ? durations : percentile(durations, percent));
  return [
    ...figures,
    figure('Redis: callback at another replica → event, median', waited(50), { unit: 'ms' }),
    figure('Redis: callback at another replica → event, p99, at 500 sends a second', waited(99), {
      unit: 'ms',
      bar: { atMost: 100 },
    }),
  ];
}
