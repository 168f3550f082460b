import { EventEmitter2 } from '@nestjs/event-emitter';
import { runEngine } from './engine-conformance.js';

const inMemory = () => undefined;
const hello = { msisdn: '79270000001', text: 'Hello' };

describe('at the same time', () => {
  it('a listener of `accepted` that waits for the final status takes the ref from no event', async () => {
    const { app, sms, gateway, events, until } = await runEngine(inMemory);
    app.get(EventEmitter2).on('rt-sms.accepted', ({ uid }: { uid: string }) => sms.waitForFinal(uid));
    await sms.enqueue({ ...hello, ref: 'order 7' }, { id: 'a' });
    const { uid } = await gateway.waitForMessage();
    await until(() => events.some(({ event }) => event === 'rt-sms.accepted'));
    await gateway.report(uid, 'delivered');
    await until(() => events.some(({ status }) => status === 'delivered'));
    expect(events.filter(({ status }) => status === 'delivered').map(({ ref }) => ref)).toEqual(['order 7', 'order 7']);
  });
});
