import {
  RtSmsAuthError,
  RtSmsConnectionError,
  RtSmsOverloadedError,
  RtSmsRejectedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  type RtSmsError,
} from '../rt-sms.errors.js';
import { afterFailedSend, queueBackoffMs } from './queue-retry.js';

const connection = new RtSmsConnectionError('refused', false, {});
const permanent = new RtSmsConnectionError('certificate', true, {});
const auth = new RtSmsAuthError('wrong_ip', {});
const rejected = new RtSmsRejectedError('invalid_field_text', {});
const unsaved = new RtSmsRejectedError('system_error', {});
const unknown = new RtSmsUnexpectedResponseError('HTTP 502', {});
const late = new RtSmsTimeoutError('late', 'unknown', {});
const early = new RtSmsTimeoutError('early', 'not_sent', {});
const full = new RtSmsOverloadedError('full', {});

it.each<[string, RtSmsError, number, boolean, string]>([
  ['a connection that failed', connection, 1, false, 'retry'],
  ['a connection that failed a last time', connection, 1_440, false, 'refused'],
  ['an expired message without a connection', connection, 1, true, 'expired'],
  ['a permanent failure', permanent, 1, false, 'refused'],
  ['a permanent failure of an expired message', permanent, 1, true, 'refused'],
  ['a rejected address', auth, 1_440, false, 'hold'],
  ['a rejected address and an expired message', auth, 1, true, 'expired'],
  ['a rejection', rejected, 1, false, 'refused'],
  ['a rejection of an expired message', rejected, 1, true, 'refused'],
  ['a message that the gateway did not save', unsaved, 1, false, 'retry'],
  ['an unusable answer', unknown, 1, false, 'unknown'],
  ['an unusable answer about an expired message', unknown, 1_440, true, 'unknown'],
  ['a deadline after the request left', late, 1, false, 'unknown'],
  ['a deadline before the request left', early, 1, false, 'retry'],
  ['a full queue', full, 1, false, 'retry'],
])('%s', (_, error, attempts, isExpired, next) => {
  expect(afterFailedSend(error, attempts, isExpired)).toBe(next);
});

it('a message with an unknown outcome is never retried', () => {
  for (const error of [unknown, late])
    for (let attempts = 1; attempts < 2_000; attempts++)
      expect(afterFailedSend(error, attempts, false)).toBe('unknown');
});

it('the back-off has full jitter, doubles and ends at a minute', () => {
  const bounds = [1, 2, 3, 12, 1_000].map((attempts) => {
    const pauses = Array.from({ length: 2_000 }, () => queueBackoffMs(attempts));
    return [Math.min(...pauses), Math.max(...pauses)].map((ms) => Math.round(ms / 100) * 100);
  });
  expect(bounds.slice(0, 3)).toEqual([
    [100, 600],
    [100, 1_100],
    [100, 2_100],
  ]);
  for (const [least, most] of bounds.slice(3)) {
    expect(least).toBeLessThan(1_000);
    expect(most).toBeGreaterThan(59_000);
    expect(most).toBeLessThanOrEqual(60_100);
  }
});
