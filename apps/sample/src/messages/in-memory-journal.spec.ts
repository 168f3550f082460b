import { RtSmsConnectionError, RtSmsStatusEvent, RtSmsUnexpectedResponseError, type SmsStatus } from 'nestjs-rt-sms';
import { InMemoryJournal } from './in-memory-journal.js';

const NEW = { msisdn: '79270000001', text: 'Hello', segments: 1, status: 'sending' } as const;
const sent = (uid: string) => ({ uid, msisdn: NEW.msisdn, shortcode: 'SHOP', segments: 1, attempts: 1 });

function event(uid: string, status: SmsStatus, ref?: string): RtSmsStatusEvent {
  return new RtSmsStatusEvent({
    account: 'default',
    uid,
    ...(ref !== undefined && { ref }),
    status,
    gatewayStatus: status,
    final: status !== 'awaiting_report',
    source: 'callback',
    confirmed: false,
    receivedAt: new Date(),
  });
}

async function openUids(journal: InMemoryJournal): Promise<unknown[]> {
  const open: unknown[] = [];
  for await (const uid of journal.open()) open.push(uid);
  return open;
}

describe('the journal in memory', () => {
  it('keeps a status that overtakes the answer to the POST', async () => {
    const journal = new InMemoryJournal();
    const { id } = await journal.begin(NEW);
    await journal.statusChanged(event('message-id-1', 'delivered', id));
    await expect(journal.accepted(id, sent('message-id-1'))).resolves.toMatchObject({ status: 'delivered' });
    await expect(journal.find({ uid: 'message-id-1' })).resolves.toMatchObject({
      id,
      status: 'delivered',
      shortcode: 'SHOP',
    });
  });

  it('finds the message of an event without ref by its uid', async () => {
    const journal = new InMemoryJournal();
    const { id } = await journal.begin(NEW);
    await journal.accepted(id, sent('message-id-1'));
    await journal.statusChanged(event('message-id-1', 'failed'));
    await journal.statusChanged(event('message-id-2', 'failed'));
    await expect(journal.list(200_000)).resolves.toMatchObject([{ id, status: 'failed' }]);
  });

  it('ignores late and repeated events', async () => {
    const journal = new InMemoryJournal();
    const { id } = await journal.begin(NEW);
    await journal.accepted(id, sent('message-id-1'));
    await journal.statusChanged(event('message-id-1', 'delivered'));
    await journal.statusChanged(event('message-id-1', 'awaiting_report'));
    await journal.accepted(id, sent('message-id-1'));
    await journal.failed(id, new RtSmsConnectionError('refused', false, {}));
    const known = await journal.find({ id });
    expect(known).toMatchObject({ status: 'delivered' });
    expect(known).not.toHaveProperty('error');
    await journal.statusChanged(event('message-id-1', 'failed'));
    await expect(journal.find({ id })).resolves.toMatchObject({ status: 'failed' });
  });

  it('lists accepted messages without a final status as open', async () => {
    const journal = new InMemoryJournal();
    const [first, second, third, fourth] = [
      await journal.begin(NEW),
      await journal.begin(NEW),
      await journal.begin(NEW),
      await journal.begin(NEW),
    ];
    await journal.accepted(second.id, sent('message-id-2'));
    await journal.accepted(third.id, sent('message-id-3'));
    await journal.statusChanged(event('message-id-3', 'awaiting_report'));
    await journal.accepted(fourth.id, sent('message-id-4'));
    await journal.statusChanged(event('message-id-4', 'delivered'));
    expect(first.status).toBe('sending');
    await expect(openUids(journal)).resolves.toEqual([
      { uid: 'message-id-2', sentAt: second.createdAt, ref: second.id },
      { uid: 'message-id-3', sentAt: third.createdAt, ref: third.id },
    ]);
  });

  it('distinguishes not sent from perhaps sent', async () => {
    const journal = new InMemoryJournal();
    const refused = await journal.begin(NEW);
    await journal.failed(refused.id, new RtSmsConnectionError('refused', false, {}));
    const unknown = await journal.begin(NEW);
    await journal.failed(unknown.id, new RtSmsUnexpectedResponseError('HTTP 503', {}));
    await expect(journal.list(200_000)).resolves.toMatchObject([
      { status: 'outcome_unknown', error: { code: 'RT_SMS_UNEXPECTED_RESPONSE', outcome: 'unknown' } },
      { status: 'refused', error: { code: 'RT_SMS_CONNECTION', outcome: 'not_sent' } },
    ]);
  });

  it('keeps the last 100,000', async () => {
    const journal = new InMemoryJournal();
    const { id } = await journal.begin(NEW);
    await journal.accepted(id, sent('message-id-1'));
    await journal.beginMany(Array.from({ length: 100_000 }, () => NEW));
    await expect(journal.find({ uid: 'message-id-1' })).resolves.toBeUndefined();
    await expect(journal.list(200_000)).resolves.toHaveLength(100_000);
  });
});
