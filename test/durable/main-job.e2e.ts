import { jest } from '@jest/globals';
import { callback, gatewayOf, run } from './account.js';
import { Replicas } from './replicas.js';
import { describeStores, storeOfSuite } from './services.js';

jest.setTimeout(60_000);

const hello = { msisdn: '79271234567', text: 'Your order is ready', ref: 'order 1' };

describeStores('the main job with the durable engine on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('a queued message is sent once by another replica, and its status comes back as an event', async () => {
    const gateway = await gatewayOf();
    const api = await run(gateway, store.options, { engine: { role: 'producer' } });
    const worker = await run(gateway, store.options, { engine: { role: 'worker' } });
    await Promise.all([1, 2, 3].map(() => api.sms.enqueue(hello, { id: 'a' })));
    const { uid, ref } = await worker.heard('accepted', 'a');
    expect(ref).toBe('order 1');
    await expect(callback(api.url, uid!, 'delivered')).resolves.toBe(200);
    await expect(worker.heard('status.delivered')).resolves.toMatchObject({ uid, ref: 'order 1', source: 'callback' });
    expect(gateway.messages).toMatchObject([{ msisdn: '79271234567', text: 'Your order is ready' }]);
    await expect(api.sms.find('a')).resolves.toEqual({ id: 'a', state: 'accepted', uid, ref: 'order 1' });
  });

  it('a status whose callback is lost is polled, after a restart as well', async () => {
    const gateway = await gatewayOf();
    const tracking = { schedule: [200] };
    const before = await run(gateway, store.options, { options: { tracking } });
    await before.sms.enqueue(hello, { id: 'a' });
    const { uid } = await before.heard('accepted', 'a');
    await before.app.close();
    await gateway.report(uid!, 'delivered');
    const { heard } = await run(gateway, store.options, { options: { tracking } });
    await expect(heard('status.delivered')).resolves.toMatchObject({ uid, ref: 'order 1', source: 'poll' });
  });

  it('a worker that is killed during the POST: the outcome is unknown, and the message is not sent again', async () => {
    const gateway = await gatewayOf();
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      engine: { lockDurationMs: 1_000, stalledIntervalMs: 500 },
    });
    gateway.nextSend({ fault: 'timeout', accepted: true });
    const sender = await replicas.fork();
    const posted = gateway.waitForMessage();
    await sender.enqueue(['a']);
    await posted;
    await sender.kill();
    await replicas.fork();
    await replicas.until(() => replicas.outcomes('a').length > 0);
    expect(replicas.outcomes('a')).toEqual(['outcome-unknown']);
    expect(gateway.requests.post).toBe(1);
  });
});
