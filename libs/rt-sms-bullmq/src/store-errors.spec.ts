import { UnsupportedPostgresVersionError } from 'bullmq';
import { neverLeft, offline, reason, unfit } from './store-errors.js';

const failed = (message: string, code?: string) => Object.assign(new Error(message), { code });

describe('a store that can never be used', () => {
  it.each([
    ['an old PostgreSQL', new UnsupportedPostgresVersionError('12.4', 13), /too old; 13 is the oldest/],
    [
      'an old Redis',
      failed('Redis version needs to be greater or equal than 5.0.0 Current: 4.0.1'),
      /this Redis is too old/,
    ],
    ['no entry for the user', failed('no pg_hba.conf entry for host', '28000'), /pg_hba\.conf/],
    ['a wrong password', failed('WRONGPASS invalid username-password pair'), /this Redis refuses the user/],
    ['a node of a cluster', failed('MOVED 3999 127.0.0.1:6381'), /this Redis is a cluster/],
    ['no driver', failed('Could not load the optional dependency "pg"'), /optional dependency "pg"/],
  ])('%s', (_, error, problem) => {
    expect(unfit(error, 'otp')?.problems).toEqual([expect.stringMatching(problem)]);
  });

  it('is not one that is away for a while', () => {
    for (const error of [failed('connect ECONNREFUSED', 'ECONNREFUSED'), failed('the database starts', '57P03')]) {
      expect(unfit(error, 'otp')).toBeUndefined();
      expect(offline(error)).toBe(true);
    }
  });
});

describe('what was certainly not done', () => {
  it('is what could not be sent to the store, and a command that Redis refuses', () => {
    expect(neverLeft(failed("Stream isn't writeable and enableOfflineQueue options is false"))).toBe(true);
    expect(neverLeft(failed('OOM command not allowed'))).toBe(true);
    // Of several commands some may have been done.
    expect(offline(failed('OOM command not allowed'))).toBe(false);
  });

  it('is not what was lost on its way', () => {
    for (const error of [failed('read ECONNRESET', 'ECONNRESET'), failed('Connection terminated unexpectedly')])
      expect(neverLeft(error)).toBe(false);
  });
});

describe('the reason that is logged', () => {
  it('holds no password of a URL and no number', () => {
    expect(reason(failed('redis://me:s3cret@host said\n79270000001'))).toBe('redis://***@host said ***');
    expect(reason(failed('redis://me:s3@cret@host'))).toBe('redis://***@host');
  });
});
