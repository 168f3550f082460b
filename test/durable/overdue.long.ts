import { jest } from '@jest/globals';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { balancer, Replicas } from './replicas.js';
import { bareQueue, describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(180_000);

const QUICK = { lockDurationMs: 1_500, stalledIntervalMs: 700 };
const KEY = Buffer.alloc(32, 7).toString('base64');
const hello = { msisdn: '79270000001', text: 'Hello', ref: 'order 1', overdueAfterMs: 1_000 };
const MESSAGES = 1_000;
/** Longer than the test: it makes the time come. */
const LATER_MS = 3_600_000;
const ids = Array.from({ length: MESSAGES }, (_, n) => `m${n}`);
/** Half are final in time, a quarter is final with a lost callback, and a quarter is not final. */
const fate = (id: string) => ['called', 'lost', 'called', 'open'][Number(id.slice(1)) % 4]!;

describeStores('overdueAfterMs: %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  /** Two replicas in processes of their own have sent all messages, and the statuses are set. */
  async function sentByTwo() {
    const gateway = await gatewayOf();
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      engine: { ...QUICK, keys: KEY },
      options: { connections: 20, tracking: { schedule: [LATER_MS], perSecond: 500 } },
    });
    const address = await balancer(replicas);
    gateway.callTo(address);
    gateway.on('message', ({ uid, text }) => void (fate(text) === 'called' && gateway.report(uid, 'delivered')));
    const both = await Promise.all([replicas.fork(), replicas.fork()]);
    await both[0].enqueue(ids, { overdueAfterMs: LATER_MS });
    await replicas.until(() => replicas.events.filter(({ event }) => event === 'accepted').length >= MESSAGES);
    const final = () => new Set(replicas.events.filter((seen) => seen.final).map(({ uid }) => uid));
    const missing = () =>
      gateway.messages.filter(({ uid, text }) => fate(text) === 'called' && !final().has(uid)).map(({ uid }) => uid);
    // The balancer gives up on a replica that a busy machine has stopped for seconds.
    for (let late = missing(); late.length > 0; late = missing())
      await Promise.all(late.map((uid) => gateway.resend(uid)));
    gateway.callTo(undefined);
    for (const { uid, text } of gateway.messages) if (fate(text) === 'lost') await gateway.report(uid, 'delivered');
    gateway.callTo(address);
    const overdue = () => replicas.events.filter(({ event }) => event === 'overdue').map(({ id }) => id);
    const finals = () => final().size;
    return { gateway, replicas, both, overdue, finals };
  }

  /** The time of all messages has come. */
  async function timeIsUp(): Promise<void> {
    const check = await bareQueue(store, rtSmsQueueNames().check);
    atEnd(() => check.close());
    const timers = (await check.getJobs(['delayed'])).filter(({ name }) => name === 'overdue');
    expect(timers).toHaveLength(MESSAGES);
    for (const timer of timers) {
      await timer.updateData({ ...timer.data, dueAt: Date.now() });
      await timer.changeDelay(0);
    }
  }
  const open = ids.filter((id) => fate(id) === 'open').toSorted();

  it('of 1,000 messages, after all replicas were killed: exactly those that are not final, once each', async () => {
    const { gateway, replicas, both, overdue, finals } = await sentByTwo();
    await Promise.all(both.map((replica) => replica.kill()));
    expect(overdue()).toEqual([]);
    await timeIsUp();
    await replicas.fork();
    await replicas.until(() => overdue().length >= open.length && finals() === MESSAGES - open.length);
    expect(overdue().toSorted()).toEqual(open);
    // Those without a callback were polled once each.
    expect(gateway.requests.get).toBe(MESSAGES / 2);
  });

  it('of 1,000 messages, one of two replicas killed while it announces: exactly those that are not final', async () => {
    const { replicas, both, overdue, finals } = await sentByTwo();
    const isUp = timeIsUp();
    await replicas.until(() => overdue().length >= 50);
    await both[1].kill();
    await isUp;
    const each = () => [...new Set(overdue())].toSorted();
    await replicas.until(() => each().length >= open.length && finals() === MESSAGES - open.length);
    expect(each()).toEqual(open);
    // An event whose handlers ran when the process died may be repeated.
    expect(overdue().length - open.length).toBeLessThanOrEqual(10);
  });

  it('of send(), and of a message that waits, the time goes on while no process runs', async () => {
    const gateway = await gatewayOf();
    const before = await run(gateway, store.options, { engine: QUICK });
    const { uid } = await before.sms.send(hello);
    gateway.nextSend('wrong_ip', Infinity);
    gateway.nextStatus('wrong_ip', Infinity);
    await before.sms.enqueue({ ...hello, ref: 'order 2' }, { id: 'waits' });
    await before.app.close();
    expect(before.events.filter(({ event }) => event === 'overdue')).toEqual([]);
    const after = await run(gateway, store.options, { engine: QUICK });
    await after.heard('overdue', 'waits');
    await eventually(async () => after.events.filter(({ event }) => event === 'overdue').length === 2);
    const account = 'default';
    expect(new Set(after.events.filter(({ event }) => event === 'overdue'))).toEqual(
      new Set([
        { event: 'overdue', account, id: 'waits', ref: 'order 2', overdueAfterMs: 1_000 },
        { event: 'overdue', account, uid, ref: 'order 1', overdueAfterMs: 1_000 },
      ]),
    );
  });

  it('a timer without a message does nothing, nor one of others; a message that settled leaves none', async () => {
    const gateway = await gatewayOf();
    const { sms, heard, events } = await run(gateway, store.options, { engine: QUICK });
    const check = await bareQueue(store, rtSmsQueueNames().check);
    atEnd(() => check.close());
    const jobIdOf = (id: string) => `i${Buffer.from(id).toString('base64url')}`;
    const timers: Record<string, object> = {
      none: { afterMs: 1_000, dueAt: 0, sendJobId: jobIdOf('none') },
      uid: { afterMs: 1_000, dueAt: 0, uid: 'message-id-none' },
      text: { afterMs: 'soon', dueAt: 0, sendJobId: jobIdOf('none') },
      nothing: {},
      event: { afterMs: 1_000, dueAt: 0, uid: 'message-id-none', event: { lastStatus: 'forged' } },
      object: { afterMs: 1_000, dueAt: 0, sendJobId: {} },
    };
    for (const [id, data] of Object.entries(timers)) await check.add('overdue', data, { jobId: id });
    for (const [id, result] of Object.entries({
      none: 'over',
      uid: 'over',
      text: 'invalid',
      nothing: 'invalid',
      event: 'invalid',
      object: 'invalid',
    }))
      await eventually(async () => (await check.getJob(id))?.returnvalue === result);
    const left = async () =>
      (await check.getJobs(['delayed', 'waiting', 'completed'])).filter(
        ({ name, id }) => name === 'overdue' && !Object.hasOwn(timers, id!),
      );
    await sms.enqueue(hello, { id: 'cancelled', delayMs: 60_000 });
    gateway.nextSend('invalid_field_text');
    await sms.enqueue({ ...hello, overdueAfterMs: 60_000 }, { id: 'refused' });
    await heard('refused', 'refused');
    await eventually(async () => (await left()).length === 1);
    await sms.cancel('cancelled');
    await eventually(async () => (await left()).length === 0);
    // The control: a timer as the engine writes it.
    await sms.enqueue(hello, { id: 'own' });
    await heard('overdue', 'own');
    await eventually(async () => (await left()).length === 0);
    expect(events.filter(({ event }) => event === 'overdue')).toHaveLength(1);
  });

  it('an emptied store has no timers, and a message that is enqueued again has one', async () => {
    const gateway = await gatewayOf();
    const { sms, heard, events } = await run(gateway, store.options, { engine: QUICK });
    await sms.enqueue({ ...hello, overdueAfterMs: 3_000 }, { id: 'lost' });
    await heard('accepted', 'lost');
    for (const name of Object.values(rtSmsQueueNames())) {
      const queue = await bareQueue(store, name);
      await queue.obliterate({ force: true });
      await queue.close();
    }
    await sms.enqueue({ ...hello, overdueAfterMs: 4_000 }, { id: 'again' });
    await heard('overdue', 'again');
    expect(events.filter(({ event }) => event === 'overdue').map(({ id }) => id)).toEqual(['again']);
  });
});
