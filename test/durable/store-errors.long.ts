import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { jest } from '@jest/globals';
import { EventEmitter2 } from '@nestjs/event-emitter';
import {
  RtSmsEvents,
  RtSmsNotFoundError,
  RtSmsOverloadedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  type RtSmsError,
  type RtSmsFailedEvent,
} from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { callback, gatewayOf, run } from './account.js';
import { eventually, type Service, storeOfSuite, STORES } from './services.js';

jest.setTimeout(120_000);

const hello = { msisdn: '79271234567', text: 'Your code is QX-ZJKW' };

/** A relay between an application and its store, which can hold data back, or disconnect. */
async function between(options: Service['options']) {
  const [[name, address]] = Object.entries(options) as [[string, string]];
  const { port } = new URL(address);
  const sockets = new Set<Socket>();
  let stalled = false;
  const server = createServer((client) => {
    const store = connect(Number(port), '127.0.0.1');
    for (const [from, to] of [
      [client, store],
      [store, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => stalled || to.write(data));
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  atEnd(end);
  const here = address.replace(`:${port}`, `:${(server.address() as AddressInfo).port}`);
  return { options: { [name]: here } as unknown as Service['options'], stall: () => (stalled = true), end };
}

const errorOf = (work: Promise<unknown>): Promise<RtSmsError> =>
  work.then(
    () => Promise.reject(new Error('it should have failed')),
    (error: RtSmsError) => error,
  );

describe.each(STORES)('errors of %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('a store that does not answer: each error names the unknown outcome and the fix', async () => {
    const { options, stall } = await between(store.options);
    const { sms } = await run(await gatewayOf(), options, { engine: { role: 'producer' } });
    await sms.enqueue(hello, { id: 'a' });
    stall();
    const [enqueue, find, cancel] = await Promise.all([
      errorOf(sms.enqueue(hello, { id: 'b' })),
      errorOf(sms.find('a')),
      errorOf(sms.cancel('a')),
    ]);
    expect(enqueue).toMatchObject({ operation: 'send', outcome: 'unknown', retryable: false });
    expect(enqueue.message).toBe(
      'Enqueue outcome unknown: the store did not acknowledge the message (no answer within 5000 ms). Fix: if it has an id of yours, enqueue it again with this id, which cannot send it twice',
    );
    for (const error of [find, cancel]) {
      expect(error).toMatchObject({ operation: 'status', retryable: true });
      expect(error).not.toHaveProperty('outcome');
      expect(error.message).not.toMatch(/queue it|queued|cannot send/i);
    }
    expect(find.message).toBe(
      'The message could not be looked up: the store did not answer (no answer within 5000 ms). Fix: call it again, which is safe',
    );
    expect(cancel.message).toBe(
      'Cancel outcome unknown, and the message may still be sent: the store did not acknowledge it (no answer within 5000 ms). Fix: call it again, which is safe',
    );
    for (const error of [enqueue, find, cancel]) {
      expect(error).toBeInstanceOf(RtSmsTimeoutError);
      expect(error.cause).toMatchObject({ message: 'no answer within 5000 ms' });
    }
  });

  it('a store that is down: each error states that nothing was done', async () => {
    const { options, end } = await between(store.options);
    const { sms } = await run(await gatewayOf(), options, { engine: { role: 'producer' } });
    await sms.enqueue(hello, { id: 'a' });
    end();
    const down = async (work: () => Promise<unknown>) => {
      let error: RtSmsError | undefined;
      // A command in flight to a dying store has an unknown outcome.
      await eventually(async () => (error = await errorOf(work())) instanceof RtSmsOverloadedError);
      return error!;
    };
    const enqueue = await down(() => sms.enqueue(hello, { id: 'b' }));
    expect(enqueue).toMatchObject({ operation: 'send', outcome: 'not_sent', retryable: true });
    expect(enqueue.message).toMatch(/^Nothing was queued: the store of the queue is down/);
    const find = await down(() => sms.find('a'));
    expect(find.message).toMatch(
      /^The message could not be looked up: the store of the queue is down .*Fix: call it again, which is safe$/,
    );
    const cancel = await down(() => sms.cancel('a'));
    expect(cancel.message).toMatch(
      /^Nothing was cancelled, and the message may still be sent: the store of the queue is down .*Fix: call it again/,
    );
    for (const error of [find, cancel]) {
      expect(error).toMatchObject({ operation: 'status', retryable: true });
      expect(error).not.toHaveProperty('outcome');
    }
  });

  it.each<[string, number, string | undefined, new (...args: never[]) => RtSmsError]>([
    [RtSmsEvents.refused, 200, 'transaction_not_found', RtSmsNotFoundError],
    [RtSmsEvents.outcomeUnknown, 502, undefined, RtSmsUnexpectedResponseError],
  ])('%s, whose handler failed, comes again with an equal error', async (event, status, reason, type) => {
    const gateway = await gatewayOf();
    gateway.nextSend({ status, body: JSON.stringify({ status: 'error', reason }) });
    const { app, sms } = await run(gateway, store.options);
    const told: RtSmsFailedEvent[] = [];
    const enough = new Promise<void>((resolve) => {
      app.get(EventEmitter2).on(event, (failed: RtSmsFailedEvent) => {
        if (told.push(failed) < 3) throw new Error('the database is down');
        resolve();
      });
    });
    await sms.enqueue(hello, { id: 'a' });
    await enough;
    const [first, ...again] = told.map(({ error }) => error);
    expect(first).toBeInstanceOf(type);
    for (const error of again) {
      expect(error.constructor).toBe(type);
      expect(error.toJSON()).toEqual(first!.toJSON());
    }
    expect(gateway.messages).toHaveLength(0);
    await expect(sms.find('a')).resolves.toMatchObject({ errorCode: first!.code });
  });

  it('data of a message that the gateway echoes are not in the store after the settlement', async () => {
    const gateway = await gatewayOf();
    const { sms, url, heard } = await run(gateway, store.options);
    for (const [id, reason] of [
      ['a', 'spam_QX-ZJKW'],
      ['b', 'unknown_subscriber_79271234567'],
      ['c', `wrong_password_${gateway.options.password}`],
      ['d', Buffer.from(hello.text).toString('base64url')],
    ]) {
      gateway.nextSend({ status: 200, body: JSON.stringify({ status: 'error', reason }) });
      await sms.enqueue(hello, { id: id! });
      await expect(heard('refused', id)).resolves.toMatchObject({ error: { reason: 'unrecognised' } });
    }
    const { uid } = await sms.send({ ...hello, text: 'Another text' });
    await callback(url, uid, '8%20(927)%20123-45-67');
    await expect(heard('status.unknown')).resolves.toMatchObject({ gatewayStatus: 'unrecognised' });
    const left = await store.dump();
    expect(left).toContain('unrecognised');
    for (const leak of [/QX-?ZJKW/i, /9271234567/, /927\D{0,3}123/, /wrong_password/, /WW91ciBjb2Rl/])
      expect(left).not.toMatch(leak);
  });
});
