import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { createPostgresBackend, createRedisBackend, Queue } from 'bullmq';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { balancer, Replicas, type ReplicaSetting } from './replicas.js';
import { startStore, STORES, type Service } from './services.js';

jest.setTimeout(90_000);

const QUICK = { lockDurationMs: 1_500, stalledIntervalMs: 700 };
const POLLING = { tracking: { schedule: [500, 1_000], perSecond: 1_000 }, timeouts: { sendMs: 2_000 } };
const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);
const twice = (gateway: RtSmsSimulator) =>
  gateway.messages.length - new Set(gateway.messages.map(({ text }) => text)).size;

describe.each(STORES)('never twice, never lost: %s', (kind) => {
  let store: Service;
  beforeAll(async () => {
    store = await startStore(kind);
  }, 120_000);
  afterAll(() => store.close());

  async function set(simulator: RtSmsSimulatorOptions = {}, setting: Partial<ReplicaSetting> = {}) {
    await store.clear();
    const lifecycle = { awaitingMs: 50, finalMs: 100 };
    const gateway = await RtSmsSimulator.start({ latencyMs: 100, lifecycle, ...simulator });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      options: POLLING,
      ...QUICK,
      ...setting,
    });
    gateway.callTo(await balancer(replicas));
    const all = (test: (id: string) => boolean, count: number) => replicas.until(() => ids(count).every(test));
    return { gateway, replicas, settled: (count: number) => all((id) => replicas.outcomes(id).length > 0, count) };
  }

  /** What BullMQ alone would do with the same messages in the same trouble. */
  async function bareQueue(count: number): Promise<void> {
    const redis = 'connection' in store.options;
    const queue = new Queue(
      'bare',
      {
        connection:
          'connection' in store.options
            ? { url: store.options.connection }
            : { connectionString: store.options.postgres, migrate: true },
      },
      (redis ? createRedisBackend : createPostgresBackend) as typeof createRedisBackend,
    );
    queue.on('error', () => undefined);
    await queue.waitUntilReady();
    await queue.addBulk(ids(count).map((text) => ({ name: 'send', data: { text } })));
    await queue.close();
  }

  it('300 messages, ten workers killed in mid-POST, a tenth of the answers lost: each is sent once, and has an end', async () => {
    const { gateway, replicas, settled } = await set({ loss: 0.3, latencyMs: 250 }, { concurrency: 5 });
    let posts = 0;
    gateway.on('message', () => {
      if (++posts % 10 === 0) gateway.nextSend({ fault: 'timeout', accepted: true });
    });
    const [first] = await Promise.all([replicas.start(), replicas.start(), replicas.start()]);
    await first.enqueue(ids(300));
    for (let kills = 1; kills <= 10; kills++) {
      await gateway.waitForMessage(() => gateway.messages.length >= kills * 20);
      await (await replicas.oneReady()).kill();
      void replicas.start();
    }
    await settled(300);
    await replicas.until(() => replicas.open.length === 0);
    expect(twice(gateway)).toBe(0);
    const outcomes = ids(300).map((id) => replicas.outcomes(id));
    expect(outcomes.filter((names) => names.length !== 1)).toEqual([]);
    // The rest was sent once at most, and said to be unknown.
    const sent = new Set(gateway.messages.map(({ text }) => text));
    for (const id of ids(300)) if (!sent.has(id)) expect(replicas.outcomes(id)).toEqual(['outcome-unknown']);
    const unknown = outcomes.filter(([name]) => name === 'outcome-unknown').length;
    expect(unknown).toBeLessThan(150);
  });

  it('the control: without the protocol the same kills send twice', async () => {
    const { gateway, replicas } = await set({ latencyMs: 250 }, { bare: true, concurrency: 5 });
    await bareQueue(80);
    await Promise.all([replicas.start(), replicas.start(), replicas.start()]);
    for (let kills = 1; kills <= 2; kills++) {
      await gateway.waitForMessage(() => gateway.messages.length >= kills * 20);
      await (await replicas.oneReady()).kill();
    }
    await replicas.until(() => ids(80).every((id) => replicas.events.some((event) => event.id === id)));
    expect(twice(gateway)).toBeGreaterThan(0);
  });

  it('killed after the fetch and before the mark: it is sent', async () => {
    const { gateway, replicas, settled } = await set({}, { options: { ...POLLING, rate: { perSecond: 100 } } });
    const producer = await replicas.start({ role: 'producer' });
    await producer.enqueue(ids(3));
    await replicas.start({ diesBeforeMark: true }).catch(() => undefined);
    await replicas.until(() => replicas.running.length === 1);
    expect(gateway.messages).toHaveLength(0);
    await replicas.start();
    await settled(3);
    expect(ids(3).map((id) => replicas.outcomes(id))).toEqual(ids(3).map(() => ['accepted']));
    expect(gateway.messages).toHaveLength(3);
  });

  it.each([false, true])('a worker frozen for longer than its lock (without the protocol: %s)', async (bare) => {
    const { gateway, replicas, settled } = await set({ latencyMs: 500 }, { bare, concurrency: 10 });
    if (bare) await bareQueue(40);
    const frozen = await replicas.start();
    const other = await replicas.start();
    if (!bare) await other.enqueue(ids(40));
    await gateway.waitForMessage();
    frozen.signal('SIGSTOP');
    await sleep(4_500);
    frozen.signal('SIGCONT');
    if (bare) {
      await replicas.until(() => ids(40).every((id) => replicas.events.some((event) => event.id === id)));
      return expect(twice(gateway)).toBeGreaterThan(0);
    }
    await settled(40);
    await replicas.until(() => replicas.open.length === 0);
    expect(twice(gateway)).toBe(0);
    expect(ids(40).filter((id) => replicas.outcomes(id).length !== 1)).toEqual([]);
  });

  it('the store is killed in mid-run and comes back: all goes on, nothing is sent twice', async () => {
    const { gateway, replicas, settled } = await set({}, { lockDurationMs: 5_000 });
    const [first] = await Promise.all([replicas.start(), replicas.start()]);
    await first.enqueue(ids(120));
    await gateway.waitForMessage(() => gateway.messages.length >= 40);
    await store.kill();
    await sleep(1_000);
    await store.restart();
    await settled(120);
    await replicas.until(() => replicas.open.length === 0);
    expect(twice(gateway)).toBe(0);
    // Whoever was sending knew how it went, and kept it once the store was there again.
    expect(ids(120).map((id) => replicas.outcomes(id))).toEqual(ids(120).map(() => ['accepted']));
  });

  it('the store is down when a message is enqueued, and when its POST is answered', async () => {
    const { gateway, replicas, settled } = await set({ latencyMs: 600 }, { lockDurationMs: 5_000 });
    const replica = await replicas.start();
    await replica.enqueue(['m0']);
    await gateway.waitForMessage();
    await store.kill();
    const began = performance.now();
    await expect(replica.enqueue(['m1'])).resolves.toEqual({
      failed: expect.stringContaining('Nothing was queued') as string,
    });
    expect(performance.now() - began).toBeLessThan(3_000);
    await sleep(1_000);
    await store.restart();
    await settled(1);
    expect(replicas.outcomes('m0')).toEqual(['accepted']);
    for (;;) if ('enqueued' in (await replica.enqueue(['m1']))) break;
    await settled(2);
    expect(gateway.messages.map(({ text }) => text)).toEqual(['m0', 'm1']);
  });

  it.each([
    [10, 45, 11],
    [100, 400, 110],
  ])('three replicas under one rate of %i', async (perSecond, count, most) => {
    const { gateway, replicas, settled } = await set(
      { lifecycle: false },
      { options: { rate: { perSecond } }, concurrency: 20 },
    );
    const [first] = await Promise.all([replicas.start(), replicas.start(), replicas.start()]);
    // The first ones open connections.
    await first.enqueue(Array.from({ length: 9 }, (_, n) => `first${n}`));
    await replicas.until(() => replicas.events.length === 9);
    const at: number[] = [];
    gateway.on('message', () => at.push(performance.now()));
    await first.enqueue(ids(count));
    await settled(count);
    const inASecond = at.map((from) => at.filter((time) => time >= from && time < from + 1_000).length);
    expect(Math.max(...inASecond)).toBeLessThanOrEqual(most);
    expect(((count - 1) * 1_000) / (at.at(-1)! - at[0]!)).toBeGreaterThanOrEqual(perSecond * 0.9);
  });

  it('a rolling restart under load, callbacks to all replicas, a third of them lost: no message is unknown, each has its end', async () => {
    const { gateway, replicas, settled } = await set(
      { loss: 0.3 },
      { options: { ...POLLING, rate: { perSecond: 20 } } },
    );
    const old = await Promise.all([replicas.start(), replicas.start()]);
    await old[0].enqueue(ids(240));
    for (const replica of old) {
      const before = gateway.messages.length;
      await replicas.start();
      await gateway.waitForMessage(() => gateway.messages.length >= Math.min(240, before + 20));
      await replica.end();
    }
    await settled(240);
    await replicas.until(() => replicas.open.length === 0);
    expect(twice(gateway)).toBe(0);
    expect(ids(240).map((id) => replicas.outcomes(id))).toEqual(ids(240).map(() => ['accepted']));
  });
});
