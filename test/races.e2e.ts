import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { runEngine } from './engine-conformance.js';
import { atEnd } from './platforms.js';

const inMemory = () => undefined;
const hello = { msisdn: '79270000001', text: 'Hello' };

describe('at the same time', () => {
  it('a listener of `accepted` that waits for the final status does not remove the ref from events', async () => {
    const { app, sms, gateway, events, until } = await runEngine(inMemory);
    app.get(EventEmitter2).on('rt-sms.accepted', ({ uid }: { uid: string }) => void sms.waitForFinal(uid));
    await sms.enqueue({ ...hello, ref: 'order 7' }, { id: 'a' });
    const { uid } = await gateway.waitForMessage();
    await until(() => events.some(({ event }) => event === 'rt-sms.accepted'));
    await gateway.report(uid, 'delivered');
    await until(() => events.some(({ status }) => status === 'delivered'));
    expect(events.filter(({ status }) => status === 'delivered').map(({ ref }) => ref)).toEqual(['order 7', 'order 7']);
  });

  it('a callback that waits for a pending send is emitted, even if the application ends meanwhile', async () => {
    let answer = () => undefined as unknown;
    const posts = createServer((_, response) => {
      answer = () => response.end(JSON.stringify({ status: 'ok', result: { uid: 'message-id-1' } }));
      posts.emit('post');
    }).listen(0, '127.0.0.1');
    atEnd(() => posts.close());
    await once(posts, 'listening');
    const url = `http://127.0.0.1:${(posts.address() as AddressInfo).port}/send`;
    const { app, sms, events } = await runEngine(inMemory, { url });
    const post = once(posts, 'post');
    await sms.enqueue({ ...hello, ref: 'order 7' }, { id: 'a' });
    await post;
    const callback = { id: 'message-id-1', status: 'delivered' };
    await expect(sms.handleCallback(callback, { secret: 'a-secret-of-sixteen' })).resolves.toBe('accepted');
    const end = sms.beforeApplicationShutdown.bind(sms);
    sms.beforeApplicationShutdown = () => {
      const ended = end();
      answer();
      return ended;
    };
    expect(events).toEqual([]);
    await app.close();
    expect(events.map(({ event, ref }) => [event, ref])).toEqual([
      ['rt-sms.accepted', 'order 7'],
      ['rt-sms.status', 'order 7'],
      ['rt-sms.status.delivered', 'order 7'],
    ]);
  });

  it('a send that gets its connection after its deadline does not leave, even if no timer could run', async () => {
    const { sms, gateway, settled, outcomes } = await runEngine(inMemory);
    const others = createTcpServer().listen(0, '127.0.0.1');
    atEnd(() => others.close());
    await once(others, 'listening');
    const other = connect((others.address() as AddressInfo).port, '127.0.0.1');
    const [busy] = (await once(others, 'connection')) as [Socket];
    atEnd(() => [other.destroy(), busy.destroy()]);
    other.write('x');
    await once(busy, 'data');
    // The event loop handles this and the new connection in one turn, before its timers.
    const expiresAt = new Date(Date.now() + 300);
    busy.once('data', () => {
      while (Date.now() <= expiresAt.getTime());
    });
    other.write('x');
    await sms.enqueue(hello, { id: 'late', expiresAt });
    await settled('late');
    expect(outcomes('late')).toEqual(['expired']);
    expect(gateway.messages).toEqual([]);
  });
});
