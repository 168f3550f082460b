import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { jest } from '@jest/globals';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Pool } from 'pg';
import { atEnd } from '../platforms.js';
import { describeWith } from '../programs.js';
import { SECRET } from './replica.js';
import { postgresProgram, storeOfSuite } from './services.js';
import type { ShopSetting, ShopTells } from './shop-process.js';

jest.setTimeout(600_000);

/** The figures of docs/performance.md are for 10,000. */
const ORDERS = Number(process.env.ORDERS ?? 600);
/** Times that the shop, and the worker, are killed. */
const KILLS = 6;
const PROGRAM = fileURLToPath(new URL('./shop-process.ts', import.meta.url));
const LOADER = new URL('../child/ts.mjs', import.meta.url).href;

/** The steps at which a process is killed, the same ones in each run, which fall on all statements. */
function* killSteps(): Generator<number, 0> {
  for (let n = 7, kill = 0; kill < KILLS; kill++) {
    n = (n * 48_271) % 2_147_483_647;
    yield Math.ceil(ORDERS / 10) + (n % Math.ceil(ORDERS / 2));
  }
  return 0;
}

describeWith({ PostgreSQL: postgresProgram }, 'orders and their messages, killed at any step: %s', () => {
  let pool: Pool;
  // Before that of the store: hooks run in the order in which they are defined.
  afterAll(() => pool.end());
  const store = storeOfSuite('PostgreSQL');
  const ids = async (sql: string) => (await pool.query<{ id: string }>(sql)).rows.map(({ id }) => id);

  beforeAll(async () => {
    pool = new Pool({ connectionString: (store.options as { postgres: string }).postgres, max: 2 });
    await pool.query(
      'CREATE TABLE orders (id text PRIMARY KEY, delivered int NOT NULL DEFAULT 0); CREATE TABLE outcomes (id text PRIMARY KEY); CREATE TABLE handled (id text PRIMARY KEY)',
    );
  }, 120_000);
  beforeEach(async () => {
    await store.clear();
    await pool.query('TRUNCATE orders, outcomes, handled');
  });

  function start(setting: Omit<ShopSetting, 'postgres'>, hear: (told: ShopTells) => void): ChildProcess {
    const { postgres } = store.options as { postgres: string };
    const child = fork(PROGRAM, [JSON.stringify({ ...setting, postgres })], { execArgv: ['--import', LOADER] });
    child.on('message', hear);
    return child;
  }

  /** Tries all orders, with a shop and a worker that are killed again and again. */
  async function trade(way: ShopSetting['way'], handling: ShopSetting['way']) {
    const gateway = await RtSmsSimulator.start({ latencyMs: 20, lifecycle: { awaitingMs: 20, finalMs: 50 } });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const common = { gateway: { login, password, url } };
    const [shopSteps, workerSteps] = [killSteps(), killSteps()];
    let kills = 0;
    let isOver = false;
    let worker: ChildProcess | undefined;
    const work = (async () => {
      for (; !isOver; kills++) {
        worker = start({ ...common, role: 'worker', way: handling, killAt: workerSteps.next().value }, (told) => {
          if (typeof told === 'object' && 'ready' in told) gateway.callTo(`${told.ready}/rt-sms/callback/${SECRET}`);
        });
        await once(worker, 'exit');
      }
    })();
    for (let from = 0, isDone = false; !isDone; kills++) {
      // A process that is killed may not have told its last orders.
      const [known] = await ids('SELECT coalesce(max(substr(id, 7)::int) + 1, 0) AS id FROM orders');
      from = Math.max(from, Number(known));
      const range = { from, to: ORDERS, killAt: shopSteps.next().value };
      const shop = start({ ...common, role: 'producer', way, ...range }, (told) => {
        if (told === 'done') isDone = shop.kill('SIGKILL');
        else if ('tried' in told) from = Math.max(from, told.tried + 1);
      });
      await once(shop, 'exit');
    }
    const isAtRest = async () => {
      const open =
        "SELECT count(*)::int AS id FROM bullmq.job WHERE queue NOT LIKE '%store' AND finished_at_ms IS NULL";
      return Number((await ids(open))[0]) === 0;
    };
    while (!(await isAtRest())) await pause(100);
    isOver = true;
    worker!.kill('SIGKILL');
    await work;
    const [orders, outcomes, uncounted] = await Promise.all([
      ids('SELECT id FROM orders'),
      ids('SELECT id FROM outcomes'),
      ids('SELECT id FROM orders WHERE delivered > 1'),
    ]);
    const sent = gateway.messages.map(({ text }) => text);
    return {
      kills,
      orders: orders.length,
      'SMS for an order that does not exist': sent.filter((id) => !orders.includes(id)).length,
      'orders without an outcome': orders.filter((id) => !outcomes.includes(id)).length,
      'SMS twice': sent.length - new Set(sent).size,
      'deliveries counted twice': uncounted.length,
    };
  }

  it('one transaction: no message without its order, no order without its message, nothing twice', async () => {
    const result = await trade('one transaction', 'each event once');
    process.stdout.write(`  ${JSON.stringify(result)}\n`);
    expect(result.kills).toBeGreaterThan(KILLS);
    expect(result).toMatchObject({
      'SMS for an order that does not exist': 0,
      'orders without an outcome': 0,
      'SMS twice': 0,
      'deliveries counted twice': 0,
    });
    expect(result.orders).toBeGreaterThan(ORDERS / 2);
  });

  it('the control: committed first, orders lose their message', async () => {
    const result = await trade('commit, then enqueue', 'each event');
    process.stdout.write(`  ${JSON.stringify(result)}\n`);
    expect(result['orders without an outcome']).toBeGreaterThan(0);
    expect(result['deliveries counted twice']).toBeGreaterThan(0);
  });

  it('the control: queued first, messages have no order', async () => {
    const result = await trade('enqueue, then commit', 'each event once');
    process.stdout.write(`  ${JSON.stringify(result)}\n`);
    expect(result['SMS for an order that does not exist']).toBeGreaterThan(0);
  });
});
