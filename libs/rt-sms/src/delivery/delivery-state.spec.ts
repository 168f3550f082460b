import * as fc from 'fast-check';
import { isFinal, SMS_STATUSES, type SmsStatus } from '../message/status.js';
import { applyReport, finalOf, statusEvent, type DeliveryState } from './delivery-state.js';

interface Reported {
  status: SmsStatus;
  gatewayStatus: string;
  source: 'callback' | 'poll';
  confirmed: boolean;
}

const reported: fc.Arbitrary<Reported> = fc
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

/** Applies a history. Returns the emitted statuses, and the kind of each transition. */
function play(history: readonly Reported[]) {
  let state: DeliveryState = {};
  const kinds: string[] = [];
  const emitted: NonNullable<DeliveryState['last']>[] = [];
  for (const { source, confirmed, ...report } of history) {
    const before = JSON.stringify(state);
    const transition = applyReport(state, report, source, confirmed, emitted.length);
    expect(JSON.stringify(state)).toBe(before);
    kinds.push(transition.kind);
    if (transition.kind !== 'changed') continue;
    // Passed through JSON, as a store does.
    state = JSON.parse(JSON.stringify(transition.state)) as DeliveryState;
    emitted.push(transition.state.last);
  }
  return { state, kinds, emitted };
}
const callback = (status: SmsStatus, gatewayStatus: string = status): Reported => ({
  status,
  gatewayStatus,
  source: 'callback',
  confirmed: false,
});
const answer = (status: SmsStatus): Reported => ({ status, gatewayStatus: status, source: 'poll', confirmed: true });

describe('applyReport', () => {
  it('emits each status once, and none after a final status', () => {
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

  it('a second final status corrects the first one only after the gateway confirms it, and only once', () => {
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

  it('remembers a limited number of unknown statuses, and still accepts a final one', () => {
    const unknown = Array.from({ length: 40 }, (_, n) => callback('unknown', `word${n}`));
    const { emitted, state } = play([...unknown, callback('delivered')]);
    expect(emitted).toHaveLength(17);
    expect(state).toEqual({ last: expect.objectContaining({ status: 'delivered' }) });
  });

  it('does not store the number and text of a status answer', () => {
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

  it('any history emits no status twice, and after the final one only one confirmed correction', () => {
    fc.assert(
      fc.property(fc.array(reported, { maxLength: 40 }), (history) => {
        const { emitted, state } = play(history);
        const names = emitted.map(({ status, gatewayStatus, corrects }) => [status, gatewayStatus, corrects].join());
        expect(new Set(names).size).toBe(names.length);
        const finals = emitted.filter(({ status }) => isFinal(status));
        expect(emitted.slice(emitted.length - finals.length)).toEqual(finals);
        expect(finals.length).toBeLessThanOrEqual(2);
        expect(finals.map(({ corrects }) => corrects)).toEqual([undefined, finals[0]?.status].slice(0, finals.length));
        if (finals[1]) expect(finals[1].confirmed).toBe(true);
        // No final status is lost: the first reported one is the first emitted one.
        expect(finals[0]?.status).toBe(history.find(({ status }) => isFinal(status))?.status);
        expect(finalOf(state)?.status).toBe(finals.at(-1)?.status);
      }),
    );
  });
});

it('statusEvent returns an event of the record, with its stable id', () => {
  const [last] = play([callback('unknown', 'queued')]).emitted;
  expect(statusEvent('otp', 'message-id-1', 'order 1', { ...last!, at: 1_700_000_000_000 })).toMatchObject({
    id: 'otp:message-id-1:unknown:queued',
    account: 'otp',
    ref: 'order 1',
    final: false,
    receivedAt: new Date(1_700_000_000_000),
  });
});
