import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import type { BullMqOptions } from 'nestjs-rt-sms-bullmq';
import { atEnd } from '../platforms.js';
import { gatewayOf, run, type Seen } from './account.js';
import { SECRET } from './replica.js';
import { Replicas } from './replicas.js';
import { describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(150_000);

const MESSAGES = 40;
const CONCURRENCY = 5;
const LIMITED = { concurrency: CONCURRENCY, handlerTimeoutMs: 500 };
/** Time for a shutdown in docs/durable.md. */
const SHUTDOWN_MS = 30_000;

const items = Array.from({ length: MESSAGES }, (_, n) => ({
  id: `m${n}`,
  message: { msisdn: '79271234567', text: `Hello ${n}` },
}));

describeStores('handlers that never settle, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  /** Starts an application whose handlers of one event never settle; `calls` are the events that they got. */
  async function start(hanging: string, engine: Partial<BullMqOptions>) {
    const gateway = await gatewayOf({ lifecycle: { awaitingMs: 50, finalMs: 100 } });
    const running = await run(gateway, store.options, { engine });
    gateway.callTo(`${running.url}/rt-sms/callback/${SECRET}`);
    const calls: Seen[] = [];
    let release: () => void;
    const released = new Promise<void>((resolve) => (release = resolve));
    // Otherwise the end of the application could hang, and with it the following tests.
    atEnd(() => release());
    running.app.get(EventEmitter2).on(`rt-sms.${hanging}`, (event: Seen): unknown => {
      calls.push(event);
      return released;
    });
    return { ...running, gateway, calls };
  }

  it.each(['accepted', 'status.delivered'])(
    'of %s: all messages are sent and reach their final status, and the event comes again',
    async (hanging) => {
      const { sms, gateway, calls, heard } = await start(hanging, LIMITED);
      await sms.enqueueMany(items);
      await eventually(async () => gateway.messages.length === MESSAGES);
      await Promise.all(gateway.messages.map(({ uid }) => heard('status.delivered', `default:${uid}:delivered`)));
      const again = () => calls.find((call, n) => calls.findIndex(({ id }) => id === call.id) < n);
      await eventually(async () => again());
      expect(again()).toEqual(calls.find(({ id }) => id === again()!.id));
      expect(gateway.requests.post).toBe(MESSAGES);
    },
  );

  it('one error says that they hold all places', async () => {
    const error = jest.spyOn(Logger.prototype, 'error');
    atEnd(() => error.mockRestore());
    const { sms, gateway } = await start('accepted', LIMITED);
    await sms.enqueueMany(items);
    await eventually(async () => gateway.messages.length === MESSAGES);
    const lines = error.mock.calls.map(([line]) => String(line));
    expect(lines.filter((line) => /\ball 5\b/i.test(line))).toEqual([expect.stringMatching(/handler/i)]);
  });

  it.each(['accepted', 'status.delivered'])('of %s: close() ends in the time of the documentation', async (hanging) => {
    const { app, sms, calls } = await start(hanging, { concurrency: CONCURRENCY });
    await sms.enqueueMany(items);
    await eventually(async () => calls.length === CONCURRENCY);
    const closed = app.close().then(() => 'closed');
    await expect(Promise.race([closed, sleep(SHUTDOWN_MS, 'hangs', { ref: false })])).resolves.toBe('closed');
  });

  it.each(['accepted', 'status'])('of %s: SIGTERM ends the process', async (hanging) => {
    const gateway = await gatewayOf({ lifecycle: { awaitingMs: 50, finalMs: 100 } });
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      engine: { concurrency: CONCURRENCY },
      hanging,
      shutdownHooks: true,
    });
    const replica = await replicas.fork();
    gateway.callTo(`${replica.url}/rt-sms/callback/${SECRET}`);
    await replica.enqueue(items.map(({ id }) => id));
    await replicas.until(() => replicas.events.filter(({ event }) => event === hanging).length === CONCURRENCY);
    replica.signal('SIGTERM');
    const end = await Promise.race([replica.exited, sleep(SHUTDOWN_MS, 'hangs', { ref: false })]);
    expect(end).toEqual([null, 'SIGTERM']);
  });
});
