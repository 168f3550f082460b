import { once } from 'node:events';
import { basic, get, post, Receiver, send, SMS } from '../test/support.js';
import { RtSmsSimulator, type RtSmsSimulatorOptions, type SimulatedExchange } from './index.js';

let gateway: RtSmsSimulator;
const start = async (options: RtSmsSimulatorOptions = {}) => {
  gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
};
const receivers: Receiver[] = [];
const receive = async (...answer: Parameters<typeof Receiver.start>) => {
  const receiver = await Receiver.start(...answer);
  receivers.push(receiver);
  return receiver;
};
afterEach(async () => {
  await gateway.close();
  for (const receiver of receivers.splice(0)) await receiver.close();
});

describe('start', () => {
  it('returns an address and options to spread into a client', async () => {
    await start({ login: 'me', password: 'my' });
    expect(gateway.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/api\/v2\/send_message$/);
    expect(gateway.options).toEqual({ login: 'me', password: 'my', url: gateway.url });
  });

  it.each([
    ['0.0.0.0', 'http://127.0.0.1:'],
    ['::1', 'http://[::1]:'],
    ['::', 'http://[::1]:'],
  ])('on %s is reached at %s', async (host, url) => {
    await start({ host });
    expect(gateway.url.startsWith(url)).toBe(true);
    await send(gateway);
  });

  it('names a port that is in use', async () => {
    await start();
    const port = Number(new URL(gateway.url).port);
    await expect(RtSmsSimulator.start({ port })).rejects.toThrow(
      `port ${port} of 127.0.0.1: the port is already in use`,
    );
  });

  it('rejects invalid options', async () => {
    await start();
    await expect(RtSmsSimulator.start({ loss: 2 })).rejects.toThrow('loss must be a probability');
  });
});

describe('changePassword', () => {
  it('from the next request on only the new password is accepted, in the header and in the body', async () => {
    await start();
    const uid = await send(gateway);
    gateway.changePassword('next');
    expect(gateway.options.password).toBe('next');
    for (const [password, accepted] of [
      ['secret', false],
      ['next', true],
    ] as const) {
      const headers = basic('simulator', password);
      expect((await post(gateway, SMS, headers)).text.includes('wrong_credentials')).toBe(!accepted);
      expect((await get(gateway, uid, headers)).text.includes('wrong_credentials')).toBe(!accepted);
      const inBody = await post(gateway, { ...SMS, login: 'simulator', pass: password }, {});
      expect(inBody.text.includes('wrong_credentials')).toBe(!accepted);
    }
    expect(() => gateway.changePassword('')).toThrow(
      new TypeError('changePassword: the password must be a string that is not empty'),
    );
  });
});

describe('messages', () => {
  it('are listed in order, with their statuses', async () => {
    await start();
    const uids = [await send(gateway), await send(gateway, { ...SMS, msisdn: 79_990_000_001, text: 'b' })];
    await gateway.report(uids[1] ?? '', 'rejected', { err: '7' });
    expect(gateway.messages).toMatchObject([
      { uid: uids[0], ...SMS, status: 'accepted', credentials: 'header', createdAt: expect.any(Date) },
      { uid: uids[1], msisdn: '79990000001', text: 'b', status: 'rejected', err: '7', parts: 1 },
    ]);
  });

  it('carry the x-request-id of their answer', async () => {
    await start();
    const { headers } = await post(gateway, SMS);
    expect(gateway.messages[0]?.requestId).toBe(headers['x-request-id']);
  });

  it('are kept up to maxMessages; the oldest are deleted', async () => {
    await start({ maxMessages: 3 });
    const uids: string[] = [];
    for (let n = 0; n < 10; n++) uids.push(await send(gateway));
    expect(gateway.messages.map(({ uid }) => uid)).toEqual(uids.slice(7));
    expect((await get(gateway, uids[6] ?? '')).text).toContain('transaction_not_found');
    expect((await get(gateway, uids[7] ?? '')).text).toContain('"ok"');
  });

  it('have the same uids with the same seed', async () => {
    await start({ seed: 5 });
    const uids = [await send(gateway), await send(gateway)];
    await gateway.close();
    await start({ seed: gateway.seed });
    expect([await send(gateway), await send(gateway)]).toEqual(uids);
  });
});

describe('waitForMessage', () => {
  it('finds a past message and a future one', async () => {
    await start();
    const [first, second] = [gateway.waitForMessage(), gateway.waitForMessage(({ text }) => text === 'b')];
    const uid = await send(gateway);
    expect((await first).uid).toBe(uid);
    expect((await gateway.waitForMessage()).uid).toBe(uid);
    const other = await send(gateway, { ...SMS, text: 'b' });
    expect((await second).uid).toBe(other);
  });

  it('rejects with the error of the predicate, without other effects', async () => {
    await start();
    const failing = gateway.waitForMessage(() => {
      throw new RangeError('mine');
    });
    await send(gateway);
    await expect(failing).rejects.toThrow('mine');
  });

  it('rejects when the simulator closes, before or after', async () => {
    await start();
    const waiting = gateway.waitForMessage();
    await gateway.close();
    await expect(waiting).rejects.toThrow('closed');
    await expect(gateway.waitForMessage()).rejects.toThrow('closed');
  });
});

describe('listeners', () => {
  it('get the message before its status, the status before the callback', async () => {
    const receiver = await receive();
    await start({ callbackUrl: receiver.url });
    const seen: string[] = [];
    gateway.on('message', ({ status }) => seen.push(`message ${status}`));
    gateway.on('status', ({ status }) => seen.push(`status ${status}`));
    gateway.on('callback', ({ status, code }) => seen.push(`callback ${status} ${code}`));
    await gateway.report(await send(gateway), 'delivered');
    expect(seen).toEqual(['message accepted', 'status delivered', 'callback delivered 200']);
  });

  it('get exchanges without the password', async () => {
    await start({ password: 'hun"ter2' });
    await post(gateway, { ...SMS, login: 'simulator', pass: 'hun"ter2' }, {});
    gateway.nextStatus('reset');
    await get(gateway, 'message-id-0', basic('simulator', 'hun"ter2')).catch(() => undefined);
    expect(gateway.exchanges).toMatchObject([
      { method: 'POST', path: '/api/v2/send_message', status: 200, uid: gateway.messages[0]?.uid, fault: undefined },
      { method: 'GET', status: undefined, responseBody: undefined, fault: { fault: 'reset' } },
    ]);
    expect(gateway.exchanges[0]?.requestBody).toContain('"pass":"***"');
    expect(JSON.stringify(gateway.exchanges)).not.toContain('ter2');
  });

  it('can read the last 200 exchanges', async () => {
    await start();
    for (let n = 0; n < 410; n++) await get(gateway, `message-id-${n}`);
    const paths = gateway.exchanges.map(({ path }: SimulatedExchange) => path.replace(/.*-/, ''));
    expect(paths).toEqual(Array.from({ length: 200 }, (_, n) => String(n + 210)));
    expect(gateway.requests).toEqual({ post: 0, get: 410 });
  });
});

describe('callTo', () => {
  it('rejects an invalid address', async () => {
    await start();
    expect(() => gateway.callTo('localhost:3000')).toThrow('must be an http or https URL');
  });
});

describe('close', () => {
  it('ends unanswered requests, late answers and callbacks in flight; a second call is allowed', async () => {
    const receiver = await receive(() => undefined);
    await start({ callbackUrl: receiver.url, reorder: 0 });
    const uid = await send(gateway);
    const reported = gateway.report(uid, 'delivered');
    const queued = gateway.report(uid, 'failed');
    gateway.nextSend('timeout');
    gateway.nextSend({ delayMs: 60_000 });
    const hanging = [post(gateway, SMS), post(gateway, SMS)].map((reply) =>
      reply.catch((error: Error) => error.message),
    );
    await once(gateway, 'message');
    await receiver.count(1);
    await Promise.all([gateway.close(), gateway.close()]);
    expect(await Promise.all([reported, queued])).toMatchObject([
      { error: 'the simulator was closed' },
      { error: 'the simulator was closed' },
    ]);
    expect(await Promise.all(hanging)).toEqual(['socket hang up', 'socket hang up']);
    await gateway.close();
    await expect(post(gateway, SMS)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('settles callbacks that are held back or wait for the answer to their POST', async () => {
    const receiver = await receive();
    await start({ callbackUrl: receiver.url, reorder: 1, latencyMs: 60_000 });
    const replied = post(gateway, SMS).catch(() => 'lost');
    const { uid } = await gateway.waitForMessage();
    const reports = [gateway.report(uid, 'awaiting_report'), gateway.report(uid, 'delivered')];
    const held = gateway.report(uid, 'failed');
    await gateway.close();
    expect(await Promise.all([...reports, held])).toMatchObject(
      Array.from({ length: 3 }, () => ({ error: 'the simulator was closed' })),
    );
    expect(await replied).toBe('lost');
    expect(receiver.seen).toEqual([]);
  });
});

describe('adjust', () => {
  it('changes the named options, from the next change of status on', async () => {
    const receiver = await receive();
    await start({ callbackUrl: receiver.url, duplicate: 0.5 });
    const uid = await send(gateway);
    gateway.adjust({ loss: 1 });
    expect(await gateway.report(uid, 'awaiting_report')).toMatchObject({ lost: true });
    gateway.adjust({ loss: 0, duplicate: 0 });
    expect(await gateway.report(uid, 'delivered')).toMatchObject({ code: 200 });
    expect(gateway.adjustments).toMatchObject({ loss: 0, duplicate: 0, reorder: 0, lifecycle: false });
  });

  it('turns the automatic lifecycle on and off', async () => {
    await start();
    await send(gateway);
    gateway.adjust({ lifecycle: { awaitingMs: 5, finalMs: 5 } });
    const status = once(gateway, 'status');
    const uid = await send(gateway);
    expect((await status)[0]).toMatchObject({ uid, status: 'awaiting_report' });
    gateway.adjust({ lifecycle: false });
    gateway.adjust({ latencyMs: 30 });
    await get(gateway, uid);
    expect(gateway.messages.map(({ status }) => status)).toEqual(['accepted', 'awaiting_report']);
  });

  it('spreads answers evenly with perSecond', async () => {
    await start();
    gateway.adjust({ perSecond: 50 });
    const began = performance.now();
    await Promise.all(Array.from({ length: 6 }, () => send(gateway)));
    expect(performance.now() - began).toBeGreaterThan(95);
    gateway.adjust({ perSecond: 0 });
    await send(gateway);
  });

  it('lists all invalid changes and applies none', async () => {
    await start();
    expect(() => gateway.adjust({ loss: 2, latencyMs: -1, perSecond: 5 })).toThrow(
      'loss must be a probability from 0 to 1; latencyMs must be milliseconds, 0 or more',
    );
    expect(() => gateway.adjust({ port: 1 } as object)).toThrow('port: no such option; there are loss, duplicate');
    expect(gateway.adjustments.perSecond).toBe(0);
  });
});

describe('a callback', () => {
  it('can be lost on purpose, and sent again', async () => {
    const receiver = await receive();
    await start({ callbackUrl: receiver.url });
    const uid = await send(gateway);
    expect(await gateway.report(uid, 'delivered', { lost: true })).toMatchObject({ lost: true });
    expect(receiver.seen).toEqual([]);
    expect(await gateway.resend(uid)).toMatchObject({ code: 200, status: 'delivered' });
    expect(receiver.statuses).toEqual(['delivered']);
  });

  it('is not sent again if there was none', async () => {
    await start();
    await expect(gateway.resend('message-id-none')).rejects.toThrow(RangeError);
    const uid = await send(gateway);
    await expect(gateway.resend(uid)).rejects.toThrow('has had no status yet');
    await gateway.report(uid, 'failed');
    expect(await gateway.resend(uid)).toBeUndefined();
  });
});
