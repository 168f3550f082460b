import { once } from 'node:events';
import { basic, call, post, Receiver, send, SMS, statusOf } from '../test/support.js';
import { RtSmsSimulator, type RtSmsSimulatorOptions, type SimulatedCallback } from './index.js';

let gateway: RtSmsSimulator;
let receiver: Receiver;
beforeEach(async () => {
  receiver = await Receiver.start();
});
afterEach(async () => {
  await gateway.close();
  await receiver.close();
});
const start = async (options: RtSmsSimulatorOptions = {}) => {
  gateway = await RtSmsSimulator.start({ callbackUrl: receiver.url, lifecycle: false, ...options });
};

describe('the automatic lifecycle', () => {
  it('goes to awaiting_report, then to delivered, with a callback each', async () => {
    await start({ lifecycle: { awaitingMs: 5, finalMs: 5 } });
    const uid = await send(gateway);
    await receiver.count(2);
    expect(receiver.seen).toEqual([
      `/callback?id=${uid}&status=awaiting_report&parts=1`,
      `/callback?id=${uid}&status=delivered&parts=1`,
    ]);
    expect(await statusOf(gateway, uid)).toMatchObject({ status: 'delivered', pdu_count: 1 });
  });

  it('waits for the configured times', async () => {
    await start({ lifecycle: { awaitingMs: 60, finalMs: 40 } });
    const startedAt = performance.now();
    await send(gateway);
    await once(gateway, 'status');
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(59);
    await once(gateway, 'status');
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(99);
  });

  it('continues without a callback address', async () => {
    await start({ lifecycle: { awaitingMs: 1, finalMs: 1 } });
    gateway.callTo(undefined);
    const uid = await send(gateway);
    while ((await statusOf(gateway, uid))['status'] !== 'delivered');
    expect(gateway.callbacks).toEqual([]);
  });

  it('ends with a report by hand', async () => {
    await start({ lifecycle: { awaitingMs: 30, finalMs: 1 } });
    const uid = await send(gateway);
    await gateway.report(uid, 'failed');
    await send(gateway);
    await receiver.count(3);
    expect(receiver.statuses).toEqual(['failed', 'awaiting_report', 'delivered']);
    expect(await statusOf(gateway, uid)).toMatchObject({ status: 'failed' });
  });

  it('advances many messages at once, each callback once and in order', async () => {
    await start({ lifecycle: { awaitingMs: 1, finalMs: 1 } });
    const uids = await Promise.all(Array.from({ length: 300 }, () => send(gateway)));
    await receiver.count(600);
    expect(receiver.seen).toHaveLength(600);
    const statuses = new Map(uids.map((uid) => [uid, [] as (string | null)[]]));
    for (const query of receiver.queries) statuses.get(query.get('id') ?? '')?.push(query.get('status'));
    expect(new Set(Array.from(statuses.values(), String))).toEqual(new Set(['awaiting_report,delivered']));
  });
});

describe('a callback (§3.1.1)', () => {
  it('carries err only with rejected', async () => {
    await start();
    const uid = await send(gateway);
    await gateway.report(uid, 'rejected', { err: 'a&b' });
    await gateway.report(uid, 'rejected');
    await gateway.report(uid, 'failed', { err: '11' });
    expect(receiver.seen).toEqual([
      `/callback?id=${uid}&status=rejected&parts=1&err=a%26b`,
      `/callback?id=${uid}&status=rejected&parts=1`,
      `/callback?id=${uid}&status=failed&parts=1`,
    ]);
  });

  it('has the counted parts unless others are given', async () => {
    await start();
    const uid = await send(gateway, { ...SMS, text: 'ж'.repeat(71) });
    await gateway.report(uid, 'awaiting_report');
    await gateway.report(uid, 'delivered', { parts: 7 });
    expect(receiver.queries.map((query) => query.get('parts'))).toEqual(['2', '7']);
  });

  it.each([
    ['', '?id='],
    ['/', '/?id='],
    ['?sig=t', '?sig=t&id='],
    ['?', '?id='],
    ['?a=1&', '?a=1&id='],
  ])('to an address ending in "%s" continues with "%s"', async (end, expected) => {
    await start();
    gateway.callTo(receiver.url + end);
    await gateway.report(await send(gateway), 'delivered');
    expect(receiver.seen[0]).toContain(`/callback${expected}message-id-`);
  });

  it('has a bare id with callbackId', async () => {
    await start({ callbackId: 'bare' });
    const uid = await send(gateway);
    await gateway.report(uid, 'delivered');
    expect(`message-id-${receiver.queries[0]?.get('id')}`).toBe(uid);
  });

  it('goes to the address that is set when the status changes', async () => {
    const first = receiver;
    await start();
    const uid = await send(gateway);
    await gateway.report(uid, 'awaiting_report');
    await first.close();
    receiver = await Receiver.start();
    gateway.callTo(receiver.url);
    await gateway.report(uid, 'delivered');
    expect([first.statuses, receiver.statuses]).toEqual([['awaiting_report'], ['delivered']]);
  });

  it.each([200, 404, 500, 302])('is not repeated after %d, and redirects are not followed', async (code) => {
    await receiver.close();
    receiver = await Receiver.start((_, response) =>
      response.writeHead(code, { location: `${receiver.url}/elsewhere` }).end(),
    );
    await start();
    const uid = await send(gateway);
    const callback = await gateway.report(uid, 'delivered');
    expect(callback).toMatchObject({ uid, status: 'delivered', code, lost: false, copy: false });
    expect(callback).not.toHaveProperty('error');
    await gateway.report(uid, 'failed');
    expect(receiver.seen.filter((path) => path.includes('delivered'))).toHaveLength(1);
  });

  it('without a response has the reason', async () => {
    await start({ callbackTimeoutMs: 50 });
    const uid = await send(gateway);
    const { url } = receiver;
    await receiver.close();
    expect(await gateway.report(uid, 'delivered')).toMatchObject({ error: expect.stringContaining('ECONNREFUSED') });

    receiver = await Receiver.start((request) => request.socket.destroy());
    gateway.callTo(receiver.url);
    expect(await gateway.report(uid, 'delivered')).toMatchObject({ error: 'socket hang up' });
    expect(url).not.toBe(receiver.url);
  });

  it.each([
    ['no answer', ''],
    ['an answer without end', 'x'],
  ])('waits at most callbackTimeoutMs: %s', async (_, beginning) => {
    await receiver.close();
    receiver = await Receiver.start((request, response) => {
      if (beginning) response.write(beginning);
    });
    await start({ callbackTimeoutMs: 50 });
    const startedAt = performance.now();
    await gateway.report(await send(gateway), 'delivered');
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(gateway.callbacks).toHaveLength(1);
  });

  it('waits for the previous one of its message, so that order is kept', async () => {
    const answers: (() => void)[] = [];
    await receiver.close();
    receiver = await Receiver.start((_, response) => answers.push(() => response.end()));
    await start();
    const [uid, other] = [await send(gateway), await send(gateway)];
    const reports = [
      gateway.report(uid, 'awaiting_report'),
      gateway.report(uid, 'delivered'),
      gateway.report(other, 'failed'),
    ];
    await receiver.count(2);
    expect(receiver.statuses).toEqual(['awaiting_report', 'failed']);
    for (const answer of answers) answer();
    await receiver.count(3);
    expect(receiver.statuses[2]).toBe('delivered');
    answers[2]?.();
    await Promise.all(reports);
  });

  it('waits for the answer to the POST', async () => {
    await start({ latencyMs: 60 });
    const order: string[] = [];
    const answered = post(gateway, SMS).then(() => order.push('answer'));
    const { uid } = await gateway.waitForMessage();
    const reported = gateway.report(uid, 'delivered').then(() => order.push('callback'));
    await Promise.all([answered, reported]);
    expect(order).toEqual(['answer', 'callback']);
  });

  it('is sent before the answer to the POST with callbackBeforeAnswer', async () => {
    await start({ callbackBeforeAnswer: true, lifecycle: { awaitingMs: 10_000, finalMs: 5 } });
    const order: string[] = [];
    gateway.on('callback', ({ status }) => order.push(status));
    await post(gateway, SMS);
    order.push('answer');
    await receiver.count(2);
    expect(order.slice(0, 2)).toEqual(['awaiting_report', 'answer']);
    expect(receiver.statuses).toEqual(['awaiting_report', 'delivered']);
  });

  it('to an https address without TLS fails alone', async () => {
    await start();
    gateway.callTo(receiver.url.replace('http:', 'https:'));
    expect(await gateway.report(await send(gateway), 'delivered')).toHaveProperty('error');
  });
});

describe('a random fault', () => {
  it('loses callbacks', async () => {
    await start({ loss: 1 });
    const uid = await send(gateway);
    expect(await gateway.report(uid, 'delivered')).toMatchObject({ lost: true });
    expect(receiver.seen).toEqual([]);
    expect(gateway.callbacks).toMatchObject([{ uid, status: 'delivered', lost: true }]);
  });

  it('doubles callbacks', async () => {
    await start({ duplicate: 1 });
    await gateway.report(await send(gateway), 'delivered');
    expect(receiver.statuses).toEqual(['delivered', 'delivered']);
    expect(gateway.callbacks.map(({ copy }) => copy)).toEqual([false, true]);
  });

  it('reverses the order of two callbacks', async () => {
    await start({ reorder: 1 });
    const uid = await send(gateway);
    const held = gateway.report(uid, 'awaiting_report');
    await gateway.report(uid, 'delivered');
    await held;
    expect(receiver.statuses).toEqual(['delivered', 'awaiting_report']);
  });

  it('holds a callback for at most a second if none follows', async () => {
    await start({ reorder: 1 });
    const startedAt = performance.now();
    await gateway.report(await send(gateway), 'delivered');
    expect(performance.now() - startedAt).toBeGreaterThan(900);
    expect(receiver.statuses).toEqual(['delivered']);
  });

  it('depends on the seed and the order of messages, not on when they are reported', async () => {
    const run = async (seed: number, backwards: boolean) => {
      await start({ seed, loss: 0.3, duplicate: 0.3 });
      const uids: string[] = [];
      for (let n = 0; n < 20; n++) uids.push(await send(gateway));
      for (const uid of backwards ? uids.toReversed() : uids) await gateway.report(uid, 'delivered');
      const fates = gateway.callbacks
        .map(({ uid, lost, copy }: SimulatedCallback) => `${uid} ${lost} ${copy}`)
        .toSorted();
      await gateway.close();
      return fates;
    };
    const fates = await run(42, false);
    expect(await run(42, true)).toEqual(fates);
    expect(await run(43, false)).not.toEqual(fates);
    expect(fates.some((fate) => fate.includes(' true false'))).toBe(true);
    expect(fates.some((fate) => fate.endsWith(' true'))).toBe(true);
  });
});

describe('report', () => {
  it('accepts a status that is not in the document', async () => {
    await start();
    await gateway.report(await send(gateway), 'expired');
    expect(receiver.statuses).toEqual(['expired']);
  });

  it.each([
    ['message-id-000000000000', 'delivered', {}, RangeError, 'message-id-000000000000'],
    ['', '', {}, TypeError, 'the status is empty'],
    ['', 'delivered', { parts: 0 }, TypeError, 'parts must be'],
  ])('rejects %j, %j, %j', async (unknown, status, details, type, problem) => {
    await start();
    const uid = unknown || (await send(gateway));
    await expect(gateway.report(uid, status, details)).rejects.toThrow(type);
    await expect(gateway.report(uid, status, details)).rejects.toThrow(problem);
  });

  it('resolves with undefined if a callback address is not set', async () => {
    await start();
    gateway.callTo(undefined);
    expect(await gateway.report(await send(gateway), 'delivered')).toBeUndefined();
    expect((await call(gateway.url, { method: 'POST', headers: basic(), body: '{}' })).status).toBe(200);
  });
});
