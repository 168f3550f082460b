import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { jest } from '@jest/globals';
import { RtSmsOverloadedError, RtSmsValidationError, type SqlTransaction } from 'nestjs-rt-sms';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { gatewayOf, run, type Running, type Setting } from './account.js';
import { bareQueue, describeStores, eventually, startStore, storeOfSuite } from './services.js';
import { DATABASES, pgClient, type Database } from './transactions.js';

jest.setTimeout(120_000);

const hello = { msisdn: '79271234567', text: 'Hello' };

describeStores('messages in transactions on %s', (kind) => {
  if (kind !== 'PostgreSQL') {
    it('are refused, because a transaction cannot contain them', async () => {
      const store = await startStore(kind);
      atEnd(() => store.close());
      const { sms } = await run(await gatewayOf(), store.options);
      const tx = { query: async () => [] };
      const problem = /the engine of this account does not store its messages in PostgreSQL.*bullMq\(\{ postgres \}\)/s;
      await expect(sms.enqueue(hello, { id: 'a', tx })).rejects.toThrow(problem);
      await expect(sms.enqueueMany([{ message: hello }], { tx })).rejects.toThrow(RtSmsValidationError);
      await expect(sms.find('a')).resolves.toBeUndefined();
    });
    return;
  }

  const store = storeOfSuite(kind);
  let url: string;
  let gateway: RtSmsSimulator;
  const execute = async (statement: string, at = url) => {
    const client = new Client({ connectionString: at });
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(statement);
    await client.end();
    return rows;
  };
  const orders = async () => (await execute('SELECT id FROM orders ORDER BY id')).map(({ id }) => id);

  beforeAll(async () => {
    url = (store.options as { postgres: string }).postgres;
    await execute('CREATE TABLE orders (id text PRIMARY KEY)');
  }, 120_000);
  beforeEach(async () => {
    await store.clear();
    await execute('TRUNCATE orders');
    gateway = await gatewayOf();
  });

  const start = (setting?: Setting): Promise<Running> => run(gateway, store.options, setting);
  const open = async (make: (url: string) => Promise<Database>, at = url): Promise<Database> => {
    const database = await make(at);
    atEnd(() => database.close());
    return database;
  };
  const texts = () => gateway.messages.map(({ text }) => text).toSorted();
  /** Waits until a message that is queued now is sent: earlier ones are sent before. */
  async function sendLast({ sms, heard }: Running): Promise<void> {
    await sms.enqueue({ ...hello, text: 'last' }, { id: 'last', priority: 'bulk' });
    await heard('accepted', 'last');
  }
  /** Waits until one transaction waits for the end of another. */
  const waitsForAnother = () =>
    eventually(
      async () => (await execute("SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid'")).length === 1,
    );
  /** Runs a transaction that is rolled back. */
  const rolledBack = (database: Database, work: Parameters<Database['transaction']>[0]) =>
    expect(
      database.transaction(async (tx, run) => {
        await work(tx, run);
        throw new Error('the order failed');
      }),
    ).rejects.toThrow('the order failed');

  describe.each(Object.entries(DATABASES))('with %s', (_, make) => {
    it('a message is sent after COMMIT and never after ROLLBACK', async () => {
      const running = await start();
      const { sms, heard } = running;
      const database = await open(make);
      await rolledBack(database, async (tx, run) => {
        await run("INSERT INTO orders VALUES ('1')");
        await sms.enqueue({ ...hello, text: 'never' }, { id: 'order-1', tx });
        await sms.enqueue({ ...hello, text: 'never' }, { tx });
        await sms.enqueueMany([{ message: { ...hello, text: 'never' } }, { id: 'many', message: hello }], { tx });
      });
      await database.transaction(async (tx, run) => {
        await run("INSERT INTO orders VALUES ('2')");
        await sms.enqueue({ ...hello, text: "O'Brien: 100 % ? $1 :p", ref: 'order 2' }, { id: 'order-2', tx });
        await sms.enqueueMany([{ message: { ...hello, text: 'b' } }, { id: 'c', message: { ...hello, text: 'c' } }], {
          tx,
        });
        await expect(sms.find('order-2')).resolves.toBeUndefined();
        expect(gateway.messages).toHaveLength(0);
      });
      await expect(heard('accepted', 'order-2')).resolves.toMatchObject({ ref: 'order 2' });
      await sendLast(running);
      expect(texts()).toEqual(["O'Brien: 100 % ? $1 :p", 'b', 'c', 'last']);
      await expect(orders()).resolves.toEqual(['2']);
    });

    it('an id that stands for another message is refused, and the transaction goes on', async () => {
      const running = await start();
      const { sms } = running;
      const database = await open(make);
      await sms.enqueue({ ...hello, text: 'first' }, { id: 'taken' });
      await database.transaction(async (tx, run) => {
        await run("INSERT INTO orders VALUES ('3')");
        const other = sms.enqueue({ ...hello, text: 'other' }, { id: 'taken', tx });
        await expect(other).rejects.toThrow(/id: 'taken' is already used by a different message/);
        const others = sms.enqueueMany(
          [
            { id: 'new', message: { ...hello, text: 'new' } },
            { id: 'taken', message: { ...hello, text: 'other' } },
          ],
          { tx },
        );
        await expect(others).rejects.toThrow(RtSmsValidationError);
        await sms.enqueue({ ...hello, text: 'first' }, { id: 'taken', tx });
      });
      await sendLast(running);
      expect(texts()).toEqual(['first', 'last']);
      await expect(orders()).resolves.toEqual(['3']);
    });
  });

  it('with the ambient transaction of @nestjs-cls/transactional', async () => {
    const running = await start();
    const program = join(import.meta.dirname, 'ambient-process.ts');
    const loader = new URL('../child/ts.mjs', import.meta.url).href;
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', loader, program, url]);
    expect(stdout).toBe('the order failed');
    await running.heard('accepted', 'order-1');
    await sendLast(running);
    expect(texts()).toEqual(['Order 1', 'last']);
    await expect(orders()).resolves.toEqual(['1']);
  });

  it('a delay, a priority and an expiry hold', async () => {
    const running = await start();
    const { sms, heard } = running;
    const database = await open(pgClient);
    await database.transaction(async (tx) => {
      await sms.enqueue({ ...hello, text: 'late' }, { id: 'late', delayMs: 3_600_000, tx });
      await sms.enqueue({ ...hello, text: 'over' }, { id: 'over', expiresAt: new Date(Date.now() - 1), tx });
      await sms.enqueueMany([{ id: 'bulk', priority: 'bulk', message: hello }], { tx });
    });
    await Promise.all([heard('expired', 'over'), heard('accepted', 'bulk')]);
    await expect(sms.find('late')).resolves.toMatchObject({ state: 'queued' });
    await expect(sms.cancel('late')).resolves.toBe(true);
    expect(texts()).toEqual(['Hello']);
  });

  it('the timer of overdueAfterMs belongs to the transaction', async () => {
    const running = await start();
    const { sms, heard, events } = running;
    const database = await open(pgClient);
    await sms.enqueue(hello, { id: 'taken' });
    const late = { ...hello, overdueAfterMs: 1_000 };
    await rolledBack(database, async (tx) => void (await sms.enqueue(late, { id: 'never', tx })));
    await database.transaction(async (tx) => {
      await sms.enqueue(late, { id: 'late', tx });
      await expect(sms.enqueue({ ...late, text: 'other' }, { id: 'taken', tx })).rejects.toThrow(/already used/);
    });
    await heard('overdue', 'late');
    const timers = "SELECT id FROM bullmq.job WHERE name = 'overdue'";
    await eventually(async () => (await execute(timers)).length === 0);
    expect(events.filter(({ event }) => event === 'overdue')).toHaveLength(1);
  });

  /** A transaction takes the id `shared`; `work` waits for its end in a second one. */
  async function whileTaken(running: Running, work: Parameters<Database['transaction']>[0]): Promise<void> {
    const [one, two] = await Promise.all([open(pgClient), open(pgClient)]);
    let second: Promise<unknown> | undefined;
    await one.transaction(async (tx) => {
      await running.sms.enqueue({ ...hello, text: 'one' }, { id: 'shared', tx });
      second = two.transaction(work);
      await waitsForAnother();
    });
    await second;
    await sendLast(running);
    expect(texts()).toEqual(['last', 'one']);
  }

  it('two transactions with one id: the second waits for the first, and its message is the same or is refused', async () => {
    const running = await start();
    const { sms } = running;
    await whileTaken(running, async (tx) => {
      await expect(sms.enqueue({ ...hello, text: 'two' }, { id: 'shared', tx })).rejects.toThrow(/different/);
      await sms.enqueue({ ...hello, text: 'one' }, { id: 'shared', tx });
    });
  });

  it('an id that another transaction takes while many messages are added: the transaction cannot be committed', async () => {
    const running = await start();
    await whileTaken(running, async (tx, run) => {
      const items = ['a', 'shared', 'z'].map((id) => ({ id, message: { ...hello, text: 'two' } }));
      await expect(running.sms.enqueueMany(items, { tx })).rejects.toThrow(/id: 'shared' is already used/);
      await expect(run('SELECT 1')).rejects.toThrow(/current transaction is aborted/);
    });
  });

  it('several calls at the same time in one transaction', async () => {
    const running = await start();
    const { sms, heard } = running;
    const database = await open(pgClient);
    await sms.enqueue(hello, { id: 'taken' });
    await database.transaction(async (tx) => {
      const calls = [
        ...[1, 2, 3].map((n) => sms.enqueue({ ...hello, text: `${n}` }, { id: `${n}`, tx })),
        sms.enqueueMany(
          [
            { id: 'x', message: { ...hello, text: 'x' } },
            { id: 'taken', message: { ...hello, text: 'x' } },
          ],
          { tx },
        ),
        sms.enqueueMany([{ id: '4', message: { ...hello, text: '4' } }, { message: { ...hello, text: '5' } }], { tx }),
      ];
      const results = await Promise.allSettled(calls);
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ]);
    });
    await Promise.all([1, 2, 3, 4].map((n) => heard('accepted', `${n}`)));
    await sendLast(running);
    expect(texts()).toEqual(['1', '2', '3', '4', '5', 'Hello', 'last']);
  });

  it('an id is free again after idempotencyMs, also while its row is still there', async () => {
    const running = await start();
    const { sms, heard, events } = running;
    const database = await open(pgClient);
    for (const [text, message] of [
      ['old', { id: 'again' }],
      ['other', { id: 'also' }],
    ] as const) {
      await sms.enqueue({ ...hello, text }, message);
      await heard('accepted', message.id);
    }
    await execute("UPDATE bullmq.job SET finished_at_ms = 1 WHERE queue LIKE '%send' AND finished_at_ms IS NOT NULL");
    await database.transaction(async (tx) => {
      await sms.enqueue({ ...hello, text: 'new' }, { id: 'again', tx });
      await sms.enqueueMany(
        [
          { id: 'also', message: { ...hello, text: 'new too' } },
          { id: 'b', message: hello },
        ],
        { tx },
      );
    });
    await Promise.all([heard('accepted', 'b'), sendLast(running)]);
    expect(texts()).toEqual(['Hello', 'last', 'new', 'new too', 'old', 'other']);
    expect(events.filter(({ event, id }) => event === 'accepted' && id === 'again')).toHaveLength(2);
  });

  describe('refuses before anything is queued', () => {
    const refused = async (running: Running, tx: SqlTransaction, problem: RegExp, id = 'x') => {
      for (const message of [
        running.sms.enqueue(hello, { id, tx }),
        running.sms.enqueueMany([{ id, message: hello }, { message: hello }], { tx }),
      ])
        await expect(message).rejects.toThrow(problem);
      await sendLast(running);
      expect(texts()).toEqual(['last']);
    };

    it.each([
      ['nothing to query', {}],
      ['a text', 'tx'],
      ['null', null],
    ])('%s', async (_, tx) => {
      await refused(await start(), tx as never, /tx must have a function query/);
    });

    it('a tx in an item of enqueueMany', async () => {
      const { sms } = await start();
      const items = [{ message: hello, tx: { query: async () => [] } }];
      await expect(sms.enqueueMany(items)).rejects.toThrow(/it has no key 'tx'/);
    });

    it('a client without an open transaction, before BEGIN and after COMMIT', async () => {
      const running = await start();
      const client = new Client({ connectionString: url });
      atEnd(() => client.end());
      await client.connect();
      await expect(running.sms.enqueue(hello, { tx: client })).rejects.toThrow(/tx: it has ended, or was not begun/);
      await client.query('BEGIN; COMMIT');
      await expect(running.sms.enqueue(hello, { id: 'x', tx: client })).rejects.toThrow(/tx: it has ended/);
      await expect(running.sms.enqueueMany([{ message: hello }, { message: hello }], { tx: client })).rejects.toThrow(
        /tx: it has ended/,
      );
      await sendLast(running);
      expect(texts()).toEqual(['last']);
    });

    it('a transaction that has failed', async () => {
      const running = await start();
      const database = await open(pgClient);
      await expect(
        database.transaction(async (tx, run) => {
          await run('SELECT 1 / 0').catch(() => undefined);
          const error: unknown = await running.sms.enqueue(hello, { tx }).catch((thrown: unknown) => thrown);
          expect(error).toBeInstanceOf(RtSmsOverloadedError);
          throw error;
        }),
      ).rejects.toThrow(/Nothing was queued: the transaction failed \(current transaction is aborted.*roll it back/s);
      await sendLast(running);
      expect(texts()).toEqual(['last']);
    });

    it('a connection that is lost', async () => {
      const running = await start();
      const client = new Client({ connectionString: url });
      client.on('error', () => undefined);
      await client.connect();
      await client.query('BEGIN');
      await running.sms.enqueue(hello, { id: 'gone', tx: client });
      await execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'");
      await expect(running.sms.enqueue(hello, { tx: client })).rejects.toThrow(
        /Nothing was queued: the transaction failed/,
      );
      await sendLast(running);
      expect(texts()).toEqual(['last']);
    });

    it('another database, which goes on', async () => {
      const running = await start();
      await execute('DROP DATABASE IF EXISTS shop');
      await execute('CREATE DATABASE shop');
      const shop = url.replace(/postgres$/, 'shop');
      const database = await open(pgClient, shop);
      await database.transaction(async (tx, run) => {
        await run('CREATE TABLE goods (id int)');
        await refused(running, tx, /tx: its database 'shop' is not that of the queue: it has no schema 'bullmq'/);
      });
      // The same schema for a queue of its own does not make it the same database.
      const other = await run(await gatewayOf(), { postgres: shop });
      await database.transaction(async (tx) => {
        await refused(running, tx, /tx: its database is not that of the queue of this account/);
      });
      await expect(execute('SELECT * FROM goods', shop)).resolves.toEqual([]);
      await other.app.close();
    });

    it('a role without rights, which are granted as the page says', async () => {
      const running = await start();
      await execute('DROP ROLE IF EXISTS shop; CREATE ROLE shop LOGIN; GRANT INSERT ON orders TO shop');
      const database = await open(pgClient, url.replace('postgres@', 'shop@'));
      const grant =
        /tx: its role lacks rights. Fix: GRANT USAGE ON SCHEMA bullmq TO shop; GRANT SELECT ON TABLE bullmq.job TO shop/;
      await database.transaction(async (tx, run) => {
        await run("INSERT INTO orders VALUES ('4')");
        await refused(running, tx, grant);
      });
      await expect(orders()).resolves.toEqual(['4']);
      const page = readFileSync(join(import.meta.dirname, '../../docs/transactions.md'), 'utf8');
      const [, grants] = /```sql\n([^]*?)```/.exec(page)!;
      await execute(grants!.replaceAll('TO shop_app', 'TO shop'));
      await database.transaction(async (tx) => void (await running.sms.enqueue(hello, { id: 'granted', tx })));
      await running.heard('accepted', 'granted');
      await execute('DROP OWNED BY shop; DROP ROLE shop');
    });
  });

  it('a large file in one transaction: all or none', async () => {
    const running = await start({ engine: { role: 'producer' } });
    const { sms } = running;
    const database = await open(pgClient);
    const items = Array.from({ length: 10_000 }, (_, n) => ({
      id: `row-${n}`,
      message: { ...hello, text: `row ${n}` },
    }));
    const queue = await bareQueue(store, rtSmsQueueNames().send);
    atEnd(() => queue.close());
    await rolledBack(database, async (tx) => void (await sms.enqueueMany(items, { tx })));
    await expect(queue.getJobCountByTypes('prioritized', 'waiting')).resolves.toBe(0);
    await database.transaction(async (tx) => void (await sms.enqueueMany(items, { tx })));
    await expect(queue.getJobCountByTypes('prioritized', 'waiting')).resolves.toBe(10_000);
  });
});
