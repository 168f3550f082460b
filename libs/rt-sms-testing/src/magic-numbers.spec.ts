import { once } from 'node:events';
import { get, post, Receiver, SMS, statusOf } from '../test/support.js';
import { MAGIC_NUMBERS, REASONS, RtSmsSimulator, type SimulatedMessage, STATUSES } from './index.js';

let gateway: RtSmsSimulator;
let receiver: Receiver;
beforeEach(async () => {
  receiver = await Receiver.start();
  gateway = await RtSmsSimulator.start({ callbackUrl: receiver.url, lifecycle: { awaitingMs: 5, finalMs: 5 } });
});
afterEach(async () => {
  await gateway.close();
  await receiver.close();
});

async function sendTo(msisdn: string): Promise<string> {
  await post(gateway, { ...SMS, msisdn });
  return (await gateway.waitForMessage((message) => message.msisdn === msisdn)).uid;
}

async function untilStatus(status: string): Promise<SimulatedMessage> {
  for (;;) {
    const [message] = (await once(gateway, 'status')) as [SimulatedMessage];
    if (message.status === status) return message;
  }
}

it('are distinct numbers of one range', () => {
  const numbers = MAGIC_NUMBERS.map(({ msisdn }) => msisdn);
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(numbers.filter((msisdn) => !/^799900000\d\d$/.test(msisdn))).toEqual([]);
});

it.each(['79270000001', '79990000001'])('%s is delivered', async (msisdn) => {
  await sendTo(msisdn);
  await receiver.count(2);
  expect(receiver.statuses).toEqual(['awaiting_report', 'delivered']);
});

it.each([
  ['79990000002', ['awaiting_report', 'failed']],
  ['79990000003', ['rejected']],
  ['79990000004', ['insufficient_balance']],
  ['79990000006', ['awaiting_report', 'expired']],
])('%s goes through %j', async (msisdn, statuses) => {
  const uid = await sendTo(msisdn);
  await receiver.count(statuses.length);
  expect(receiver.statuses).toEqual(statuses);
  expect(receiver.queries.at(-1)?.get('err')).toBe(msisdn === '79990000003' ? '11' : null);
  expect(await statusOf(gateway, uid)).toMatchObject({ status: statuses.at(-1) });
});

it('79990000005 stays in awaiting_report', async () => {
  await sendTo('79990000005');
  const delivered = untilStatus('delivered');
  await receiver.count(1);
  await sendTo('79990000001');
  await delivered;
  expect(gateway.messages.map(({ status }) => status)).toEqual(['awaiting_report', 'delivered']);
});

it('79990000007 is deleted after acceptance', async () => {
  const uid = await sendTo('79990000007');
  expect((await get(gateway, uid)).text).toBe('{"reason":"transaction_not_found","status":"error"}');
});

it('each status and each reason has a number', async () => {
  const does = MAGIC_NUMBERS.map((magic) => magic.does).join('\n');
  for (const word of [...STATUSES, ...REASONS]) expect(does).toContain(word);
});

it.each(MAGIC_NUMBERS.filter(({ msisdn }) => /1\d$/.test(msisdn)))(
  '$msisdn is rejected: $does',
  async ({ msisdn, fault }) => {
    expect(JSON.parse((await post(gateway, { ...SMS, msisdn })).text)).toEqual({ reason: fault, status: 'error' });
    expect(gateway.messages).toEqual([]);
  },
);

it('79990000016 fails every other time, 79990000015 every time', async () => {
  const answers = async (msisdn: string) => {
    const texts = [];
    for (let n = 0; n < 4; n++) texts.push((await post(gateway, { ...SMS, msisdn })).text.includes('"ok"'));
    return texts;
  };
  expect(await answers('79990000016')).toEqual([false, true, false, true]);
  expect(await answers('79990000015')).toEqual([false, false, false, false]);
});

it.each([
  ['79990000022', false],
  ['79990000023', true],
  ['79990000027', true],
])('%s breaks the answer, accepted: %s', async (msisdn, accepted) => {
  await expect(post(gateway, { ...SMS, msisdn })).rejects.toThrow();
  expect(gateway.messages).toHaveLength(accepted ? 1 : 0);
});

it.each([
  ['79990000024', 503],
  ['79990000025', 200],
  ['79990000026', 200],
])('%s answers %d without JSON', async (msisdn, status) => {
  const reply = await post(gateway, { ...SMS, msisdn });
  expect([reply.status, reply.headers['content-type']]).toEqual([status, 'text/html']);
});

it('79990000021 is never answered, yet delivered', async () => {
  const aborted = post(gateway, { ...SMS, msisdn: '79990000021' }).catch(() => 'aborted');
  await receiver.count(2);
  expect(receiver.statuses).toEqual(['awaiting_report', 'delivered']);
  await gateway.close();
  expect(await aborted).toBe('aborted');
});

it('79990000030 loses every callback', async () => {
  const delivered = untilStatus('delivered');
  await sendTo('79990000030');
  await delivered;
  expect(receiver.seen).toEqual([]);
  expect(gateway.callbacks.map(({ status, lost }) => [status, lost])).toEqual([
    ['awaiting_report', true],
    ['delivered', true],
  ]);
});

it('79990000031 duplicates every callback', async () => {
  await sendTo('79990000031');
  await receiver.count(4);
  expect(receiver.statuses).toEqual(['awaiting_report', 'awaiting_report', 'delivered', 'delivered']);
});

it('79990000032 reverses the order', async () => {
  await sendTo('79990000032');
  await receiver.count(2);
  expect(receiver.statuses).toEqual(['delivered', 'awaiting_report']);
});
