import { inspect } from 'node:util';
import { UnsupportedPostgresVersionError } from 'bullmq';
import { jobIdOf } from './job-id.js';
import { jobError, certainlyNotExecuted, isOffline, reason, toConfigError } from './store-errors.js';

const failed = (message: string, code?: string) => Object.assign(new Error(message), { code });

describe('a store that can never be used', () => {
  it.each([
    ['an old PostgreSQL', new UnsupportedPostgresVersionError('12.4', 13), /too old; update it to version 13/],
    [
      'an old Redis',
      failed('Redis version needs to be greater or equal than 5.0.0 Current: 4.0.1'),
      /this Redis is too old/,
    ],
    ['no entry for the user', failed('no pg_hba.conf entry for host', '28000'), /pg_hba\.conf/],
    ['a wrong password', failed('WRONGPASS invalid username-password pair'), /this Redis rejects the user/],
    ['a node of a cluster', failed('MOVED 3999 127.0.0.1:6381'), /this Redis is a cluster/],
    [
      'a parameter that PgBouncer 1.20 rejects',
      failed('unsupported startup parameter in options: statement_timeout', '08P01'),
      /does not accept the connection parameter 'statement_timeout'/,
    ],
    ['no driver', failed('Could not load the optional dependency "pg"'), /optional dependency "pg"/],
  ])('%s', (_, error, problem) => {
    expect(toConfigError(error, 'otp')?.problems).toEqual([expect.stringMatching(problem)]);
  });

  it('is not one that is away for a while', () => {
    for (const error of [
      failed('connect ECONNREFUSED', 'ECONNREFUSED'),
      failed('the database starts', '57P03'),
      failed('query_wait_timeout', '08P01'),
    ]) {
      expect(toConfigError(error, 'otp')).toBeUndefined();
      expect(isOffline(error)).toBe(true);
    }
  });
});

describe('what was certainly not done', () => {
  it('is what could not be sent to the store, and a command that Redis refuses', () => {
    expect(certainlyNotExecuted(failed("Stream isn't writeable and enableOfflineQueue options is false"))).toBe(true);
    expect(certainlyNotExecuted(failed('OOM command not allowed'))).toBe(true);
    // Of several commands some may have been done.
    expect(isOffline(failed('OOM command not allowed'))).toBe(false);
  });

  it('is not what was lost on its way', () => {
    for (const error of [failed('read ECONNRESET', 'ECONNRESET'), failed('Connection terminated unexpectedly')])
      expect(certainlyNotExecuted(error)).toBe(false);
  });
});

describe('the reason that is logged', () => {
  it.each([
    [failed('redis://me:s3cret@host said\n79270000001'), 'redis://***@host said 7927*****01'],
    [failed('redis://me:s3@cret@host'), 'redis://***@host'],
    [
      failed(`Missing lock for job ${jobIdOf('otp 8 (927) 123-45-67')}. moveToDelayed`),
      "Missing lock for job 'otp 8927*****67'. moveToDelayed",
    ],
    [failed('Another worker has the job in its hands'), 'Another worker has the job in its hands'],
    [
      failed("ERR unknown command 'EVALSHA', with args beginning with: 'a1' '2' '{\"message\":\"Code 4711\"}'"),
      "ERR unknown command 'EVALSHA',",
    ],
    [failed('invalid input syntax for type json: "Code 4711"', '22P02'), '22P02'],
    [failed('', 'ECONNREFUSED'), 'ECONNREFUSED'],
    [failed(''), 'Error'],
    ['thrown', 'thrown'],
    [undefined, 'undefined'],
  ])('%s is told as %s', (error, told) => expect(reason(error).trim()).toBe(told));

  it.each(['//', '/', '1', ' ', 'job i', '@', 'with args beginning with'])(
    'is that of the beginning of a message without end: %j',
    (unit) => expect(reason(failed(unit.repeat(500_000)))).toBe(reason(failed(unit.repeat(2_000)))),
  );
});

it('of an error that BullMQ stores nothing is left but a message without the words of the job', () => {
  const foreign = Object.assign(failed('no room for Code4711 to 79270000001', '53100'), {
    name: 'UnrecoverableError',
    cause: 'Code4711',
  });
  const stored = jobError(foreign, [JSON.stringify(['79270000001', 'SHOP', 'Code4711'])]);
  expect(stored).toMatchObject({ name: 'Error', message: 'no room for *** to ***' });
  expect(stored.cause).toMatchObject({ code: '53100', message: 'no room for *** to ***' });
  expect(inspect(stored, { showHidden: true, depth: 9 })).not.toMatch(/4711|79270000001/);
});
