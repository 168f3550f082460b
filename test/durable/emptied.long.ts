import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { describeStores, eventually, type Service, storeOfSuite } from './services.js';

jest.setTimeout(150_000);

const hello = { msisdn: '79271234567', text: 'Hello' };

/** Registers an SDK, and reads the value of the counter. */
function emptiedCounter(): () => Promise<number> {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(meters);
  atEnd(async () => {
    metrics.disable();
    await meters.shutdown();
  });
  return async () => {
    exporter.reset();
    await reader.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    const points = all.find(({ descriptor }) => descriptor.name === 'rt_sms.store.emptied')?.dataPoints ?? [];
    return points.reduce((sum, { attributes, value }) => {
      expect(attributes['rt_sms.account']).toBe('default');
      return sum + Number(value);
    }, 0);
  };
}

function errorLines(): () => string[] {
  const error = jest.spyOn(Logger.prototype, 'error');
  atEnd(() => error.mockRestore());
  return () => error.mock.calls.map(([line]) => String(line));
}

async function execute(store: Service, statements: (tables: string[]) => string): Promise<void> {
  if ('connection' in store.options) {
    const client = new Redis(store.options.connection);
    await client.flushall();
    client.disconnect();
    return;
  }
  const client = new Client(store.options.postgres);
  await client.connect();
  const { rows } = await client.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'bullmq'`,
  );
  await client.query(statements(rows.map(({ name }) => name)));
  await client.end();
}

describeStores('a store that loses its content while the application runs, %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  /** Starts an application with messages that wait, and one that is sent. */
  async function start() {
    const [emptied, errors] = [emptiedCounter(), errorLines()];
    const gateway = await gatewayOf();
    const running = await run(gateway, store.options, { engine: { lockDurationMs: 1_500, stalledIntervalMs: 700 } });
    await running.sms.enqueueMany(
      Array.from({ length: 20 }, (_, n) => ({ id: `later${n}`, message: hello, delayMs: 3_600_000 })),
    );
    await running.sms.enqueue(hello, { id: 'sent' });
    await running.heard('accepted', 'sent');
    return { ...running, gateway, emptied, errors };
  }

  const WAYS: [string, (tables: string[]) => string][] =
    kind === 'Redis'
      ? [['FLUSHALL', () => '']]
      : [
          ['TRUNCATE of all tables', (tables) => `TRUNCATE ${tables.join()}`],
          ['DROP SCHEMA', () => 'DROP SCHEMA bullmq CASCADE'],
        ];
  it.each(WAYS)('%s: one error says what it means, and a metric counts it', async (_, statements) => {
    const { emptied, errors } = await start();
    await execute(store, statements);
    await eventually(async () => (await emptied()) > 0);
    await expect(emptied()).resolves.toBe(1);
    const lines = errors().filter((line) => /empt/i.test(line));
    expect(lines).toEqual([expect.stringMatching(/store of the queue/i)]);
    expect(lines[0]).toMatch(/message/i);
    expect(lines[0]).toMatch(/lost/i);
  });

  it(`${WAYS[0]![0]}: what is enqueued afterwards is sent`, async () => {
    const { sms, gateway, heard } = await start();
    await execute(store, WAYS[0]![1]);
    await sms.enqueue(hello, { id: 'after' });
    await heard('accepted', 'after');
    await expect(sms.find('later1')).resolves.toBeUndefined();
    expect(gateway.messages).toHaveLength(2);
  });

  it('a crash of the store that loses nothing is no reason for it', async () => {
    const { sms, heard, emptied, errors } = await start();
    await store.kill();
    await store.restart();
    await eventually(() => sms.enqueue(hello, { id: 'after' }));
    await heard('accepted', 'after');
    await expect(emptied()).resolves.toBe(0);
    expect(errors().filter((line) => /empt/i.test(line))).toEqual([]);
  });
});
