import { jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { Replicas } from './replicas.js';
import { describeStores, type Service, storeOfSuite } from './services.js';

jest.setTimeout(240_000);

const MESSAGES = 300;
const KILL_MS = 400;

/** Ends all connections to the store every 400 ms, until it is stopped. Returns how many it has ended. */
function killConnections({ options }: Service) {
  let stopped = false;
  let killed = 0;
  const run = async () => {
    while (!stopped) {
      if ('connection' in options) {
        const client = new Redis(options.connection);
        killed += (await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')) as number;
        client.disconnect();
      } else {
        const client = new Client(options.postgres);
        await client.connect();
        const { rowCount } = await client.query(
          'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
        );
        killed += rowCount ?? 0;
        await client.end();
      }
      await new Promise((resolve) => setTimeout(resolve, KILL_MS));
    }
  };
  const running = run();
  return async () => {
    stopped = true;
    await running;
    return killed;
  };
}

describeStores('connections that are killed every 400 ms: %s', (kind) => {
  const store = storeOfSuite(kind);

  it('each message is sent once and accepted once; no outcome is unknown', async () => {
    const gateway = await RtSmsSimulator.start({ latencyMs: 50, lifecycle: { awaitingMs: 50, finalMs: 100 } });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      options: { tracking: { schedule: [500, 1_000], perSecond: 1_000 }, rate: { perSecond: 40 } },
      engine: { lockDurationMs: 5_000, stalledIntervalMs: 1_000 },
    });
    gateway.on('exchange', () => replicas.look());
    const [first] = await Promise.all([replicas.start(), replicas.start()]);
    const all = Array.from({ length: MESSAGES }, (_, n) => `m${n}`);
    await first.enqueue(all);
    const stop = killConnections(store);
    await replicas.until(() => all.every((id) => replicas.outcomes(id).length > 0));
    await replicas.until(() => replicas.open.length === 0);
    expect(await stop()).toBeGreaterThan(10);
    const outcomes: Record<string, number> = {};
    for (const id of all) {
      const outcome = replicas.outcomes(id).join();
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    expect(gateway.messages.length).toBe(MESSAGES);
    expect(outcomes).toEqual({ accepted: MESSAGES });
  });
});
