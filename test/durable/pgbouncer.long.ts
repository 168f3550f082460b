import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { getRtSmsToken, RtSmsConfigError, RtSmsError, RtSmsModule, type RtSmsService } from 'nestjs-rt-sms';
import { bullMq, type BullMqOptions } from 'nestjs-rt-sms-bullmq';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { describeWith } from '../programs.js';
import { quickest } from '../timing.js';
import { callback, gatewayOf, run, type Running, type Setting } from './account.js';
import { pgBouncer, startPgBouncer } from './pgbouncer.js';
import { eventually, storeOfSuite } from './services.js';

jest.setTimeout(120_000);

const hello = { msisdn: '79271234567', text: 'Hello' };
const TRANSACTIONS = 'pool_mode = transaction';
const IGNORE = 'ignore_startup_parameters = options';

/** Runs `work` with an open connection. */
async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs a query in `n` transactions, none of which ends before all have begun. */
function atOnce(url: string, n: number, sql: string): Promise<unknown[]> {
  let begun = 0;
  let allBegun: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (allBegun = resolve));
  const clients = Array.from({ length: n }, () =>
    connected(url, async (client) => {
      await client.query('BEGIN');
      const { rows } = await client.query<Record<string, string>>(sql);
      if (++begun === n) allBegun();
      await all;
      await client.query('COMMIT');
      return rows[0];
    }),
  );
  return Promise.all(clients);
}

describeWith({ PgBouncer: pgBouncer }, 'PostgreSQL connections, directly and through %s', () => {
  const store = storeOfSuite('PostgreSQL');
  let admin: string;
  /** URL of the role of the application. */
  let direct: string;
  const execute = (sql: string) =>
    connected(admin, async (client) => (await client.query<Record<string, string>>(sql)).rows);

  beforeAll(async () => {
    admin = (store.options as { postgres: string }).postgres;
    direct = admin.replace('postgres@', 'app@');
    await execute('CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app');
  }, 120_000);
  beforeEach(async () => {
    await store.clear();
    await execute('ALTER ROLE app RESET search_path');
  });

  async function through(...settings: string[]): Promise<string> {
    const bouncer = await startPgBouncer(direct, settings);
    atEnd(() => bouncer.close());
    return bouncer.url;
  }

  /** Starts an application that must fail, and returns the problems in its error. */
  async function problemsOf(postgres: string, engine: Partial<BullMqOptions> = {}): Promise<readonly string[]> {
    const error: unknown = await run(await gatewayOf(), { postgres }, { engine }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RtSmsConfigError);
    return (error as RtSmsConfigError).problems;
  }

  /** Sends a message and delivers it by a callback. */
  async function deliver({ sms, url, heard }: Running): Promise<void> {
    await sms.enqueue(hello, { id: 'a' });
    const { uid } = await heard('accepted', 'a');
    await expect(callback(url, uid!, 'delivered')).resolves.toBe(200);
    await heard('status.delivered');
  }

  /** Sends a message when the workers sleep; returns how long it took. */
  async function idleSend({ sms }: Running, gateway: RtSmsSimulator, id: string): Promise<number> {
    // Within the sleep of a worker that would sleep for 5 s.
    await sleep(1_000);
    const began = performance.now();
    const sent = gateway.waitForMessage(({ text }) => text === id);
    await sms.enqueue({ ...hello, text: id }, { id });
    await sent;
    return performance.now() - began;
  }

  it.each([
    ['its default settings', []],
    ['ignore_startup_parameters = options', [IGNORE]],
  ])('session mode with %s', async (_, settings) => {
    const gateway = await gatewayOf();
    const running = await run(gateway, { postgres: await through(...settings) }, { engine: { schema: 'sms' } });
    await deliver(running);
    // Workers are notified.
    expect(await quickest((n) => idleSend(running, gateway, `idle ${n}`))).toBeLessThan(1_500);
    const sleeping = await execute("SELECT query FROM pg_stat_activity WHERE query = 'LISTEN bullmq_jobs'");
    expect(sleeping).toHaveLength(1);
  });

  it.each(['', 'server_round_robin = 1'])(
    'transaction mode with the search_path of the role: works, and an idle message leaves within a second %s',
    async (setting) => {
      await execute('ALTER ROLE app SET search_path = bullmq');
      const gateway = await gatewayOf();
      const postgres = await through(TRANSACTIONS, setting);
      const running = await run(gateway, { postgres });
      await deliver(running);
      const took: number[] = [];
      for (const id of ['b', 'c', 'd']) took.push(await idleSend(running, gateway, id));
      // 1 s, and some time for a busy machine.
      expect(Math.max(...took)).toBeLessThan(2_500);
      expect(Math.min(...took)).toBeLessThan(1_100);
      // Other clients get the connections of PgBouncer as they were: nothing was set or listened to in them.
      const sql =
        "SELECT source, (SELECT count(*) FROM pg_listening_channels()) AS channels FROM pg_settings WHERE name = 'search_path'";
      for (const row of await atOnce(postgres, 10, sql)) expect(row).toEqual({ source: 'user', channels: '0' });
    },
  );

  it.each([
    ['one process', 1, ''],
    ['a process that uses its connections in turn', 1, 'server_round_robin = 1'],
    ['three processes at an address', 3, ''],
  ])('transaction mode without it stops the start and names the fix: %s', async (_, processes, setting) => {
    const bouncer = await startPgBouncer(direct, [TRANSACTIONS, IGNORE, setting], processes);
    atEnd(() => bouncer.close());
    await atOnce(bouncer.url, 6, 'SELECT 1');
    // Connections are spread over the processes by chance.
    for (let n = 0; n < (processes === 1 ? 1 : 5); n++) {
      await expect(problemsOf(bouncer.url)).resolves.toEqual([
        expect.stringMatching(
          /pooler in transaction mode, such as PgBouncer, which keeps no search_path, and that of the role "app" leads to the schema "public" instead of "bullmq"; .*session mode, .*ALTER ROLE "app" SET search_path = "bullmq"/,
        ),
      ]);
    }
    for (const row of await atOnce(bouncer.url, 6, "SELECT source FROM pg_settings WHERE name = 'search_path'"))
      expect(row).toEqual({ source: 'default' });
    await execute('ALTER ROLE app SET search_path = bullmq');
    await execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    await run(await gatewayOf(), { postgres: bouncer.url }, { engine: { migrate: false } });
  });

  it('migrate: false in both modes needs the tables', async () => {
    for (const mode of ['pool_mode = session', TRANSACTIONS])
      await expect(problemsOf(await through(mode), { migrate: false })).resolves.toEqual([
        expect.stringContaining('set migrate: true'),
      ]);
  });

  it('options in the URL are used, and search_path is set as well', async () => {
    const postgres = `${direct}?options=-c%20statement_timeout%3D20s%20-c%20application_name%3Dshop%20-c%20search_path%3Dpublic`;
    await deliver(await run(await gatewayOf(), { postgres }));
    expect((await execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'shop'")).length).toBeGreaterThan(
      0,
    );
  });

  it('options in the URL: PgBouncer rejects them, which stops the start, or ignores them', async () => {
    const options = '?options=-c%20statement_timeout%3D20s';
    await expect(problemsOf((await through()) + options)).resolves.toEqual([
      expect.stringMatching(/PgBouncer does not accept the connection parameter 'options'; remove it from postgres/),
    ]);
    await deliver(await run(await gatewayOf(), { postgres: (await through(IGNORE)) + options }));
  });

  it('a session pool that is too small is named in the warning', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    atEnd(() => warn.mockRestore());
    await run(await gatewayOf(), { postgres: await through('default_pool_size = 1') });
    expect(warn.mock.calls.map(([line]) => String(line)).join('\n')).toMatch(/PgBouncer: default_pool_size/);
  });

  it('statement mode stops the start', async () => {
    await expect(problemsOf(await through('pool_mode = statement'))).resolves.toEqual([
      expect.stringContaining('PgBouncer in statement mode is not supported'),
    ]);
  });

  it('a store that stops answering: calls fail in time, and the shutdown ends', async () => {
    const bouncer = await startPgBouncer(direct, []);
    atEnd(() => bouncer.close());
    const { app, sms } = await run(await gatewayOf(), { postgres: bouncer.url });
    await sms.enqueue(hello, { id: 'a' });
    bouncer.stall();
    const calls = Array.from({ length: 30 }, () => sms.find('a').catch((error: unknown) => error));
    for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(RtSmsError);
    const began = performance.now();
    await app.close();
    expect(performance.now() - began).toBeLessThan(29_000);
  });

  it('waiting for a free connection is not an outage', async () => {
    const postgres = { connectionString: direct, max: 1, connectionTimeoutMillis: 300 };
    const { sms } = await run(await gatewayOf(), { postgres } as never);
    const began = performance.now();
    await Promise.all(Array.from({ length: 1_000 }, () => sms.find('a')));
    // Otherwise the test proves nothing.
    expect(performance.now() - began).toBeGreaterThan(300);
  });

  it.each<[string, number, Setting['engine']]>([
    ['two accounts share one pool of 10 and one connection that listens', 11, {}],
    ['producers open 10', 10, { role: 'producer' }],
    ['max is the size of the pool', 4, { postgres: 'max' }],
  ])('%s', async (_, most, engine) => {
    const gateway = await gatewayOf();
    const postgres = () => (engine?.postgres ? { connectionString: direct, max: 3 } : direct);
    const { login, password, url } = gateway.options;
    const otp = RtSmsModule.forRoot({
      name: 'otp',
      login,
      password,
      url,
      shortcode: 'OTP',
      engine: bullMq({ ...engine, postgres: postgres() }),
    });
    let peak = 0;
    let watching = true;
    const watch = connected(admin, async (client) => {
      while (watching) {
        const sql = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'app'";
        const { rows } = await client.query<{ n: number }>(sql);
        peak = Math.max(peak, rows[0]!.n);
        await sleep(5);
      }
    });
    const { app, sms } = await run(gateway, { ...engine, postgres: postgres() } as never, { imports: [otp] });
    const many = (account: string) =>
      Array.from({ length: 300 }, (_, n) => ({
        id: `${account} ${n}`,
        message: { ...hello, text: `${account} ${n}` },
      }));
    const accounts = [sms, app.get<RtSmsService>(getRtSmsToken('otp'))];
    await Promise.all(accounts.map((account, n) => account.enqueueMany(many(`account ${n}`))));
    await Promise.all(accounts.flatMap((account) => Array.from({ length: 50 }, () => account.find('a'))));
    if (engine?.role !== 'producer') await eventually(() => Promise.resolve(gateway.messages.length === 600));
    await app.close();
    await eventually(
      async () => (await execute("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")).length === 0,
    );
    watching = false;
    await watch;
    expect(peak).toBe(most);
  });
});
