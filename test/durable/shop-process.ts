// A shop in a separate process, which kills itself at a given step. Its argument has the settings.
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule, OnEvent } from '@nestjs/event-emitter';
import {
  OnRtSmsStatus,
  RtSmsEvents,
  RtSmsModule,
  RtSmsService,
  type RtSmsAcceptedEvent,
  type RtSmsStatusEvent,
} from 'nestjs-rt-sms';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import { Pool, type PoolClient } from 'pg';
import { SECRET } from './replica.js';

export interface ShopSetting {
  gateway: { login: string; password: string; url: string };
  postgres: string;
  role: 'producer' | 'worker';
  /** How orders are stored and messages queued, or how a delivery is counted: once, or for each event. */
  way: 'one transaction' | 'commit, then enqueue' | 'enqueue, then commit' | 'each event once' | 'each event';
  /** The orders from `from` to before `to` are tried, each once. */
  from?: number;
  to?: number;
  /** Number of the step before which the process is killed; 0 for none. */
  killAt: number;
}

export type ShopTells = { ready: string } | { tried: number } | 'done';

/** Orders in progress at the same time. */
const PARALLEL = 4;
const setting = JSON.parse(process.argv[2]!) as ShopSetting;
const pool = new Pool({ connectionString: setting.postgres, max: PARALLEL });
pool.on('error', () => undefined);
const tell = (what: ShopTells) => process.send!(what);
let steps = 0;
/** Runs the next step, unless the process is to die before it. */
function step<T>(work: () => Promise<T>): Promise<T> {
  if (++steps === setting.killAt) process.kill(process.pid, 'SIGKILL');
  return work();
}

/** Runs `work` in a transaction, each statement of which is a step. */
async function transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  const query = client.query.bind(client) as (...statement: unknown[]) => Promise<unknown>;
  const counted = Object.create(client, {
    query: { value: (...statement: unknown[]) => step(() => query(...statement)) },
  }) as PoolClient;
  try {
    await counted.query('BEGIN');
    const result = await work(counted);
    await counted.query('COMMIT');
    return result;
  } catch (error) {
    await counted.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

@Injectable()
class Handlers {
  @OnEvent(RtSmsEvents.accepted, { suppressErrors: false })
  @OnEvent(RtSmsEvents.refused, { suppressErrors: false })
  @OnEvent(RtSmsEvents.outcomeUnknown, { suppressErrors: false })
  onOutcome({ ref, id }: RtSmsAcceptedEvent): Promise<unknown> {
    return step(() => pool.query('INSERT INTO outcomes VALUES ($1) ON CONFLICT DO NOTHING', [ref ?? id]));
  }

  @OnRtSmsStatus('delivered')
  async onDelivered({ id, ref }: RtSmsStatusEvent): Promise<void> {
    await transaction(async (client) => {
      const { rowCount } = await client.query('INSERT INTO handled VALUES ($1) ON CONFLICT DO NOTHING', [id]);
      if (rowCount === 1 || setting.way === 'each event')
        await client.query('UPDATE orders SET delivered = delivered + 1 WHERE id = $1', [ref]);
    });
    // Dies after the commit, before the module knows that the handler has ended.
    await step(() => Promise.resolve());
  }
}

const { gateway, postgres, role, way, from = 0, to = 0 } = setting;
@Module({
  imports: [
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({
      ...gateway,
      shortcode: 'SHOP',
      callback: { secrets: SECRET },
      tracking: { schedule: [500, 1_000], perSecond: 1_000 },
      engine: bullMq({ postgres, role, lockDurationMs: 1_500, stalledIntervalMs: 700 }),
    }),
  ],
  providers: role === 'worker' ? [Handlers] : [],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
await app.listen(0, '127.0.0.1');
const sms = app.get(RtSmsService);
tell({ ready: await app.getUrl() });

/** Every third order fails after its message is queued. */
const fails = (n: number) => n % 3 === 0;
const failed = new Error('the order failed');

async function order(n: number): Promise<void> {
  const id = `order-${n}`;
  const message = { msisdn: '79270000001', text: id, ref: id };
  const insert = (client: PoolClient) => client.query('INSERT INTO orders VALUES ($1)', [id]);
  const enqueue = () => step(() => sms.enqueue(message, { id }));
  if (way === 'commit, then enqueue') {
    await transaction(async (client) => {
      await insert(client);
      if (fails(n)) throw failed;
    });
    await enqueue();
    return;
  }
  await transaction(async (client) => {
    await insert(client);
    await (way === 'one transaction' ? sms.enqueue(message, { id, tx: client }) : enqueue());
    if (fails(n)) throw failed;
  });
}

if (role === 'producer') {
  let next = from;
  const lane = async () => {
    while (next < to) {
      const n = next++;
      tell({ tried: n });
      await order(n).catch((error: unknown) => {
        if (error !== failed) throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, lane));
  tell('done');
}
process.once('disconnect', () => process.exit());
