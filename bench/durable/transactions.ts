// Messages that are queued inside transactions of the application, compared with an outbox table; and the time from COMMIT to the
// POST on an idle queue.
import { setTimeout as pause } from 'node:timers/promises';
import { RtSmsService } from 'nestjs-rt-sms';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Pool, type PoolClient } from 'pg';
import type { Service } from '../../test/durable/services.js';
import { messageOf, startAccount } from '../account.js';
import { figure, inFlight, median, type Figure } from '../figures.js';
import { account, perSecond } from './setup.js';

const WIDTH = 10;
const MANY = 2_000;
const ROUNDS = 3;
const IDLE = 30;

async function transaction(pool: Pool, n: number, queue: (client: PoolClient) => Promise<unknown>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('INSERT INTO orders VALUES ($1)', [`${n}`]);
    await queue(client);
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}

const OUTBOX = 'INSERT INTO outbox (id, message) VALUES ($1, $2)';
const ADD_JOB = `SELECT bullmq.add_job('bare', $1, 'send', $2, '{}', 0, 0, 0, 1, NULL, NULL, NULL, NULL, NULL, false)`;

/** Rates of transactions, relative to those that write a row into an outbox instead. */
async function throughput(store: Service, pool: Pool): Promise<Figure[]> {
  const app = await account(store, 'producer');
  const sms = app.get(RtSmsService);
  const ways = {
    enqueue: (n: number, tx: PoolClient) => sms.enqueue(messageOf(n), { tx }),
    'enqueue, ids of one’s own': (n: number, tx: PoolClient, id: string) => sms.enqueue(messageOf(n), { tx, id }),
    'BullMQ’s add_job alone': (n: number, client: PoolClient, id: string) =>
      client.query(ADD_JOB, [id, JSON.stringify(messageOf(n))]),
  };
  const ratios = Object.keys(ways).map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    const rate = (queue: (n: number, client: PoolClient, id: string) => Promise<unknown>) =>
      perSecond(MANY, () =>
        inFlight(WIDTH, MANY, (n) => transaction(pool, n, (client) => queue(n, client, `x${round}-${n}`))),
      );
    const outbox = await rate((n, client, id) => client.query(OUTBOX, [id, JSON.stringify(messageOf(n))]));
    for (const [index, way] of Object.values(ways).entries()) ratios[index]!.push((await rate(way)) / outbox);
  }
  await app.close();
  const [plain, named, bare] = ratios.map(median);
  const [first, second, third] = Object.keys(ways).map(
    (way) => `${store.kind}: transactions with ${way} ÷ with an outbox row`,
  );
  return [
    figure(first!, plain!, { bar: { atLeast: 0.7 } }),
    figure(second!, named!, { bar: { atLeast: 0.7 } }),
    figure(third!, bare!),
  ];
}

/** Milliseconds from the end of COMMIT to the POST. */
async function toGateway(pool: Pool, postgres: string): Promise<number> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  const app = await startAccount({ ...gateway.options, shortcode: 'SHOP', engine: bullMq({ postgres }) });
  const sms = app.get(RtSmsService);
  const times: number[] = [];
  for (let n = 0; n < IDLE; n++) {
    // The queue is idle, its worker waits.
    await pause(300);
    const posted = gateway.waitForMessage(({ text }) => text === `${n}`);
    await transaction(pool, n, (tx) => sms.enqueue({ ...messageOf(n), text: `${n}` }, { tx }));
    const committed = performance.now();
    await posted;
    times.push(performance.now() - committed);
  }
  await app.close();
  await gateway.close();
  return median(times);
}

export async function transactions(store: Service): Promise<Figure[]> {
  const { kind, options } = store;
  if (!('postgres' in options)) return [];
  const pool = new Pool({ connectionString: options.postgres, max: WIDTH });
  // The store ends before the pool if a measurement fails.
  pool.on('error', () => undefined);
  await pool.query('CREATE TABLE orders (id text); CREATE TABLE outbox (id text PRIMARY KEY, message jsonb)');
  const figures = [
    ...(await throughput(store, pool)),
    figure(`${kind}: COMMIT to the POST, idle, median`, await toGateway(pool, options.postgres), {
      unit: 'ms',
      bar: { atMost: 100 },
    }),
  ];
  await pool.end();
  return figures;
}
