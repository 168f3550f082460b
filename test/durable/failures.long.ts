import { jest } from '@jest/globals';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { balancer, Replicas } from './replicas.js';
import type { ReplicaSetting } from './replica.js';
import { bareQueue, describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(240_000);

const QUICK = { lockDurationMs: 1_500, stalledIntervalMs: 700 };
const POLLING = { tracking: { schedule: [500, 1_000], perSecond: 1_000 } };
/** Options for tests in which answers get lost. */
const IMPATIENT = { ...POLLING, timeouts: { sendMs: 2_000 } };
/** A lock that is longer than any pause of the machine, for tests in which no lock may expire. */
const LASTING = { lockDurationMs: 15_000 };
const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);
const twice = (gateway: RtSmsSimulator) =>
  gateway.messages.length - new Set(gateway.messages.map(({ text }) => text)).size;

describeStores('never twice, never lost: %s', (kind) => {
  const store = storeOfSuite(kind);

  async function set(
    simulator: RtSmsSimulatorOptions,
    { engine, ...setting }: Partial<ReplicaSetting> = {},
    messages = 0,
  ) {
    await store.clear();
    const lifecycle = { awaitingMs: 50, finalMs: 100 };
    const gateway = await RtSmsSimulator.start({ latencyMs: 100, lifecycle, ...simulator });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      options: POLLING,
      engine: { ...QUICK, ...engine },
      ...setting,
    });
    gateway.callTo(await balancer(replicas));
    let answers = 0;
    gateway.on('exchange', ({ method }) => {
      if (method === 'POST') answers++;
      replicas.look();
    });
    const all = ids(messages);
    return {
      gateway,
      replicas,
      all,
      /** Resolves when each message has an outcome, and each accepted one a final status. */
      settled: async () => {
        await replicas.until(() => all.every((id) => replicas.outcomes(id).length > 0));
        await replicas.until(() => replicas.open.length === 0);
      },
      /** Resolves when a bare worker has POSTed each message. */
      posted: () => replicas.until(() => all.every((id) => replicas.events.some((event) => event.id === id))),
      sent: (count: number) => gateway.waitForMessage(() => gateway.messages.length >= count),
      /** Resolves when no request to the gateway is in flight. */
      answered: () => replicas.until(() => answers >= gateway.requests.post),
    };
  }

  /** Enqueues the same messages for a bare BullMQ worker. */
  async function fill(all: string[]): Promise<void> {
    const queue = await bareQueue(store, 'bare');
    await queue.addBulk(all.map((text) => ({ name: 'send', data: { text } })));
    await queue.close();
  }

  /** Resolves when a worker has taken over the jobs of another one. */
  async function takenOver(name: string): Promise<void> {
    const queue = await bareQueue(store, name);
    atEnd(() => queue.close());
    await eventually(async () => (await queue.getJobs(['active'])).some((job) => job.attemptsStarted > 1));
  }

  it('300 messages, ten workers killed in mid-POST, a tenth of the answers lost: each is sent once, and has an end', async () => {
    const { gateway, replicas, all, settled, sent } = await set(
      { loss: 0.3, latencyMs: 250 },
      { options: IMPATIENT, engine: { concurrency: 5 } },
      300,
    );
    let posts = 0;
    gateway.on('message', () => {
      if (++posts % 10 === 0) gateway.nextSend({ fault: 'timeout', accepted: true });
    });
    const [first] = await Promise.all([replicas.fork(), replicas.fork(), replicas.fork()]);
    await first.enqueue(all);
    for (let kills = 1; kills <= 10; kills++) {
      await sent(kills * 20);
      await (await replicas.take()).kill();
      void replicas.fork();
    }
    await settled();
    expect(twice(gateway)).toBe(0);
    expect(all.filter((id) => replicas.outcomes(id).length !== 1)).toEqual([]);
    // A message that the gateway does not have was reported as perhaps sent.
    const there = new Set(gateway.messages.map(({ text }) => text));
    const missing = all.filter((id) => !there.has(id));
    expect(missing.map((id) => replicas.outcomes(id))).toEqual(missing.map(() => ['outcome-unknown']));
    // Each kill leaves at most five unknown outcomes, and each lost answer one.
    const unknown = all.filter((id) => replicas.outcomes(id)[0] === 'outcome-unknown');
    expect(unknown.length).toBeLessThanOrEqual(10 * 5 + 30);
  });

  it('the control: without the protocol the same kills send twice', async () => {
    const { gateway, replicas, all, posted, sent } = await set(
      { latencyMs: 250 },
      { bare: true, engine: { concurrency: 5 } },
      60,
    );
    await Promise.all([replicas.fork(), replicas.fork(), replicas.fork()]);
    await fill(all);
    for (let kills = 1; kills <= 2; kills++) {
      await sent(kills * 11);
      await (await replicas.take()).kill();
    }
    await posted();
    expect(twice(gateway)).toBeGreaterThan(0);
  });

  it('killed after the fetch and before the mark: it is sent', async () => {
    const rate = { perSecond: 100 };
    const { gateway, replicas, all, settled } = await set({}, { options: { ...POLLING, rate } }, 3);
    const producer = await replicas.start({ engine: { role: 'producer' } });
    await producer.enqueue(all);
    // The process may be killed before it can report that it is ready.
    const doomed = await replicas.fork({ signalBeforeMark: 'SIGKILL' }).catch(() => undefined);
    await doomed?.exited;
    expect(gateway.messages).toHaveLength(0);
    await replicas.start();
    await settled();
    expect(all.map((id) => replicas.outcomes(id))).toEqual(all.map(() => ['accepted']));
    expect(gateway.messages).toHaveLength(3);
  });

  it('frozen after the fetch and before the mark, until another one has sent it: it is not sent again', async () => {
    const options = { ...POLLING, rate: { perSecond: 100 } };
    const { gateway, replicas, all, settled } = await set({}, { options, engine: { concurrency: 1 } }, 1);
    const producer = await replicas.start({ engine: { role: 'producer' } });
    const frozen = await replicas.fork({ signalBeforeMark: 'SIGSTOP' });
    await producer.enqueue(all);
    await replicas.start();
    await settled();
    frozen.signal('SIGCONT');
    // The frozen worker continues, and ends after it has finished its jobs.
    await frozen.leave();
    expect(gateway.messages).toHaveLength(1);
    expect(replicas.outcomes('m0')).toEqual(['accepted']);
    expect(await store.dump()).not.toContain('79270000001');
  });

  it.each([
    ['sends nothing twice', false],
    ['sends twice without the protocol (the control)', true],
  ])('a worker frozen in mid-POST for longer than its lock %s', async (_, bare) => {
    const { gateway, replicas, all, settled, posted, sent } = await set(
      { latencyMs: 500 },
      { bare, engine: { concurrency: 10 } },
      40,
    );
    const frozen = await replicas.fork();
    const other = await replicas.fork();
    if (bare) await fill(all);
    else await other.enqueue(all);
    // One more than the other worker can hold.
    await sent(11);
    frozen.signal('SIGSTOP');
    await takenOver(bare ? 'bare' : rtSmsQueueNames().send);
    frozen.signal('SIGCONT');
    if (bare) {
      await posted();
      expect(twice(gateway)).toBeGreaterThan(0);
      return;
    }
    await settled();
    expect(twice(gateway)).toBe(0);
    expect(all.filter((id) => replicas.outcomes(id).length !== 1)).toEqual([]);
  });

  it('the store is killed in mid-run and comes back: all goes on, nothing is sent twice', async () => {
    const { gateway, replicas, all, settled, sent, answered } = await set({}, { engine: LASTING }, 120);
    const [first] = await Promise.all([replicas.start(), replicas.start()]);
    await first.enqueue(all);
    await sent(40);
    await store.kill();
    await answered();
    await store.restart();
    await settled();
    expect(twice(gateway)).toBe(0);
    // The senders kept the outcomes in memory, and stored them when the store was back.
    expect(all.map((id) => replicas.outcomes(id))).toEqual(all.map(() => ['accepted']));
  });

  it('the store is down when a POST is answered, and when a message is enqueued', async () => {
    const { gateway, replicas, settled, sent, answered } = await set({ latencyMs: 600 }, { engine: LASTING }, 2);
    const replica = await replicas.start();
    await replica.enqueue(['m0']);
    await sent(1);
    await store.kill();
    let refusal: unknown;
    let tookMs = Infinity;
    // Until the client has noticed: a command in flight to a dying store has an unknown outcome.
    await eventually(async () => {
      const began = performance.now();
      refusal = await replica.enqueue(['m1']).catch((error: unknown) => error);
      tookMs = performance.now() - began;
      return (refusal as { outcome?: unknown }).outcome !== 'unknown';
    });
    expect(refusal).toMatchObject({
      name: 'RtSmsOverloadedError',
      outcome: 'not_sent',
      retryable: true,
      message: expect.stringContaining('Nothing was queued') as string,
    });
    expect(tookMs).toBeLessThan(3_000);
    await answered();
    await store.restart();
    await eventually(() => replica.enqueue(['m1']));
    await settled();
    expect(['m0', 'm1'].map((id) => replicas.outcomes(id))).toEqual([['accepted'], ['accepted']]);
    expect(gateway.messages.map(({ text }) => text)).toEqual(['m0', 'm1']);
  });

  it('a rolling restart under load, callbacks to all replicas, a third of them lost: no message is unknown, each has its end', async () => {
    const rate = { perSecond: 20 };
    const { gateway, replicas, all, settled, sent } = await set(
      { loss: 0.3 },
      { options: { ...POLLING, rate }, engine: LASTING },
      120,
    );
    const old = await Promise.all([replicas.start(), replicas.start()]);
    await old[0].enqueue(all);
    for (const replica of old) {
      const before = gateway.messages.length;
      await replicas.start();
      await sent(Math.min(all.length, before + 20));
      await replica.end();
    }
    await settled();
    expect(twice(gateway)).toBe(0);
    expect(all.map((id) => replicas.outcomes(id))).toEqual(all.map(() => ['accepted']));
  });
});
