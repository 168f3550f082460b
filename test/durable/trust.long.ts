import { jest } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { RtSmsValidationError } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { bareQueue, describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(120_000);

const [OLD, NEW] = [randomBytes(32).toString('base64'), randomBytes(32).toString('hex')];
const SMS = { msisdn: '+79271234567', text: 'Your code QX-ZJKW', ref: 'order-4711' };
const QUICK = { lockDurationMs: 1_500, stalledIntervalMs: 700 };
/** As long as no message is sent. */
const LATER = { delayMs: 3_600_000 };

describeStores('what is written into the store by others: %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  async function queueOf(name: 'send' | 'check') {
    const queue = await bareQueue(store, rtSmsQueueNames()[name]);
    atEnd(() => queue.close());
    return queue;
  }

  it('with keys nothing of a waiting message can be read, and it is sent as it was', async () => {
    const gateway = await gatewayOf();
    const { sms, heard } = await run(gateway, store.options, { engine: { keys: NEW } });
    await sms.enqueue(SMS, { id: 'later', ...LATER });
    expect(await store.dump()).not.toMatch(/79271234567|QX-ZJKW/);
    await sms.enqueue(SMS, { id: 'now' });
    await heard('accepted', 'now');
    expect(gateway.messages).toMatchObject([{ msisdn: '79271234567', text: SMS.text }]);
  });

  it('the control: without keys a waiting message is stored in the clear', async () => {
    const { sms } = await run(await gatewayOf(), store.options);
    await sms.enqueue(SMS, LATER);
    expect(await store.dump()).toMatch(/79271234567.*QX-ZJKW/);
  });

  it.each([
    ['with keys', { keys: [NEW] }],
    ['without keys', {}],
  ])('a job that somebody else added is refused and not sent, %s', async (_, keys) => {
    const gateway = await gatewayOf();
    const { sms, heard, events } = await run(gateway, store.options, { engine: { ...keys, ...QUICK } });
    const send = await queueOf('send');
    const forged: Record<string, unknown> = {
      plain: { message: JSON.stringify(['79271234567', 'SHOP', 'Forged']) },
      array: { message: ['79271234567', 'SHOP', 'Forged'], digest: 'abcdef.abc' },
      number: { message: JSON.stringify([79271234567, 'SHOP', 'Forged']), digest: 7 },
      nothing: {},
      outcome: { state: 'refused', digest: 'abcdef.abc', ref: 'not JSON' },
      sent: { state: 'accepted', uid: '../x', sentAt: 'now' },
      invalid: { state: 'accepted', uid: 7, sentAt: 7 },
    };
    for (const [id, data] of Object.entries(forged))
      await send.add('send', data, { jobId: `i${Buffer.from(id).toString('base64url')}` });
    for (const id of Object.keys(forged)) await heard('refused', id);
    await sms.enqueue(SMS, { id: 'own' });
    await heard('accepted', 'own');
    expect(gateway.requests.post).toBe(1);
    expect(events.filter(({ event }) => event === 'refused')).toHaveLength(Object.keys(forged).length);
    expect(await store.dump()).not.toContain('Forged');
  });

  it('a message that was changed while it waited is refused: its text, its expiry, or the message of another id', async () => {
    const gateway = await gatewayOf();
    const { sms, heard } = await run(gateway, store.options, { engine: { keys: [NEW], ...QUICK } });
    const expiresAt = new Date(Date.now() + 7_200_000);
    const soon = { delayMs: 3_000 };
    await sms.enqueue(SMS, { id: 'swapped', ...soon });
    await sms.enqueue({ ...SMS, text: 'other' }, { id: 'other', ...soon });
    await sms.enqueue(SMS, { id: 'expiring', ...soon, expiresAt });
    const send = await queueOf('send');
    const job = async (id: string) => (await send.getJob(`i${Buffer.from(id).toString('base64url')}`))!;
    const other = await job('other');
    const swapped = await job('swapped');
    await swapped.updateData({ ...swapped.data, message: other.data.message, digest: other.data.digest });
    const expiring = await job('expiring');
    await expiring.updateData({ ...expiring.data, expiresAt: expiring.data.expiresAt + 1_000 });
    await heard('refused', 'swapped');
    await heard('refused', 'expiring');
    await heard('accepted', 'other');
    expect(gateway.messages.map(({ text }) => text)).toEqual(['other']);
  });

  it('a check job with an invalid uid, or with data of somebody else, requests nothing', async () => {
    const gateway = await gatewayOf();
    await run(gateway, store.options, { engine: QUICK });
    const check = await queueOf('check');
    const data = { sentAt: Date.now(), dueAt: Date.now() };
    await check.add('check', data, { jobId: '..' });
    await check.add('check', data, { jobId: 'a/../b' });
    await check.add('check', { sentAt: 'now' }, { jobId: 'message-id-1' });
    await check.add('check', data, { jobId: 'message-id-2' });
    const ended = async (id: string) => (await check.getJob(id))?.returnvalue as unknown;
    for (const id of ['..', 'a/../b']) await eventually(async () => (await ended(id)) === 'unresolved');
    await eventually(async () => (await ended('message-id-1')) === 'invalid');
    // The control: a job as the engine writes it.
    await eventually(async () => gateway.requests.get > 0);
    expect(gateway.exchanges.every(({ path }) => path.endsWith('message-id-2'))).toBe(true);
  });

  it('keys rotate while messages wait, and ids stay what they are', async () => {
    const gateway = await gatewayOf();
    const before = await run(gateway, store.options, { engine: { keys: [OLD], role: 'producer' } });
    await before.sms.enqueue(SMS, { id: 'waiting' });
    await before.app.close();
    const after = await run(gateway, store.options, { engine: { keys: [NEW, OLD] } });
    await after.sms.enqueue(SMS, { id: 'waiting' });
    await expect(after.sms.enqueue({ ...SMS, text: 'another' }, { id: 'waiting' })).rejects.toThrow(
      RtSmsValidationError,
    );
    await after.heard('accepted', 'waiting');
    expect(gateway.messages).toHaveLength(1);
  });

  it('without keys, a password that changes while messages wait changes nothing', async () => {
    const gateway = await gatewayOf();
    const options = { login: 'shop', password: 'a-former-password' };
    const before = await run(gateway, store.options, { options, engine: { role: 'producer' } });
    await before.sms.enqueue(SMS, { id: 'waiting' });
    await before.app.close();
    const { sms, heard } = await run(gateway, store.options);
    await expect(sms.enqueue({ ...SMS, text: 'another' }, { id: 'waiting' })).rejects.toThrow(RtSmsValidationError);
    await heard('accepted', 'waiting');
    expect(gateway.messages).toHaveLength(1);
    // Nothing in the store can be used to guess a password.
    expect(await store.dump()).not.toContain('former');
  });
});
