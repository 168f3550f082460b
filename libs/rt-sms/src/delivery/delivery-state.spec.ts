import * as fc from 'fast-check';
import { isFinal, SMS_STATUSES, type SmsStatus } from '../message/status.js';
import { applyReport, finalOf, statusEvent, type DeliveryState } from './delivery-state.js';

interface Said {
  status: SmsStatus;
  gatewayStatus: string;
  source: 'callback' | 'poll';
  confirmed: boolean;
}

const said: fc.Arbitrary<Said> = fc
  .record({
    status: fc.constantFrom(...SMS_STATUSES),
    raw: fc.constantFrom('queued', 'moderation'),
    confirmed: fc.boolean(),
  })
  .map(({ status, raw, confirmed }) => ({
    status,
    gatewayStatus: status === 'unknown' ? raw : status,
    source: confirmed ? 'poll' : 'callback',
    confirmed,
  }));

/** Applies a history; what was emitted, and what each report came to. */
function play(history: readonly Said[]) {
  let state: DeliveryState = {};
  const kinds: string[] = [];
  const emitted: NonNullable<DeliveryState['last']>[] = [];
  for (const { source, confirmed, ...report } of history) {
    const before = JSON.stringify(state);
    const transition = applyReport(state, report, source, confirmed, emitted.length);
    expect(JSON.stringify(state)).toBe(before);
    kinds.push(transition.kind);
    if (transition.kind !== 'changed') continue;
    // As a store gives it back.
    state = JSON.parse(JSON.stringify(transition.state)) as DeliveryState;
    emitted.push(transition.state.last);
  }
  return { state, kinds, emitted };
}
const callback = (status: SmsStatus, gatewayStatus: string = status): Said => ({
  status,
  gatewayStatus,
  source: 'callback',
  confirmed: false,
});
const answer = (status: SmsStatus): Said => ({ status, gatewayStatus: status, source: 'poll', confirmed: true });

describe('applyReport', () => {
  it('emits each status once, and none after a final one', () => {
    const { emitted, kinds } = play([
      callback('awaiting_report'),
      answer('awaiting_report'),
      callback('unknown', 'queued'),
      callback('unknown', 'moderation'),
      callback('unknown', 'queued'),
      callback('delivered'),
      callback('delivered'),
      callback('awaiting_report'),
    ]);
    expect(emitted.map(({ gatewayStatus }) => gatewayStatus)).toEqual([
      'awaiting_report',
      'queued',
      'moderation',
      'delivered',
    ]);
    expect(kinds.filter((kind) => kind === 'duplicate')).toHaveLength(4);
  });

  it('a second final status needs the confirmation of the gateway, which corrects the first one, once', () => {
    const { emitted, kinds } = play([
      callback('delivered'),
      callback('failed'),
      answer('failed'),
      callback('delivered'),
      answer('rejected'),
    ]);
    expect(kinds).toEqual(['changed', 'needsConfirmation', 'changed', 'duplicate', 'duplicate']);
    expect(emitted).toMatchObject([{ status: 'delivered' }, { status: 'failed', corrects: 'delivered' }]);
  });

  it('remembers a bounded number of unknown statuses, and still takes a final one', () => {
    const words = Array.from({ length: 40 }, (_, n) => callback('unknown', `word${n}`));
    const { emitted, state } = play([...words, callback('delivered')]);
    expect(emitted).toHaveLength(17);
    expect(state).toEqual({ last: expect.objectContaining({ status: 'delivered' }) });
  });

  it('keeps neither number nor text of a status answer', () => {
    const report = { ...answer('delivered'), msisdn: '79270000001', text: 'Hello', parts: 2 };
    const { last } = (applyReport({}, report, 'poll', true, 7) as { state: DeliveryState }).state;
    expect(last).toEqual({
      status: 'delivered',
      gatewayStatus: 'delivered',
      parts: 2,
      source: 'poll',
      confirmed: true,
      at: 7,
    });
  });

  it('whatever the history: no status twice, nothing after the final one but one confirmed correction', () => {
    fc.assert(
      fc.property(fc.array(said, { maxLength: 40 }), (history) => {
        const { emitted, state } = play(history);
        const names = emitted.map(({ status, gatewayStatus, corrects }) => [status, gatewayStatus, corrects].join());
        expect(new Set(names).size).toBe(names.length);
        const finals = emitted.filter(({ status }) => isFinal(status));
        expect(emitted.slice(emitted.length - finals.length)).toEqual(finals);
        expect(finals.length).toBeLessThanOrEqual(2);
        expect(finals.map(({ corrects }) => corrects)).toEqual([undefined, finals[0]?.status].slice(0, finals.length));
        if (finals[1]) expect(finals[1].confirmed).toBe(true);
        // Nothing final is lost: the first one that was reported is the first one that was emitted.
        expect(finals[0]?.status).toBe(history.find(({ status }) => isFinal(status))?.status);
        expect(finalOf(state)?.status).toBe(finals.at(-1)?.status);
      }),
    );
  });
});

it('statusEvent gives an event of the record, with its stable id', () => {
  const [last] = play([callback('unknown', 'queued')]).emitted;
  expect(statusEvent('otp', 'message-id-1', 'order 1', { ...last!, at: 1_700_000_000_000 })).toMatchObject({
    id: 'otp:message-id-1:unknown:queued',
    account: 'otp',
    ref: 'order 1',
    final: false,
    receivedAt: new Date(1_700_000_000_000),
  });
});
