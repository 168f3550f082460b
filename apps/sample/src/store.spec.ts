import { Store } from './store.js';

const REDIS_URL = 'redis://localhost:6379';
const DATABASE_URL = 'postgres://me@localhost/shop';

describe('the stores of queue and journal', () => {
  it.each([
    [{}, undefined, undefined],
    [{ REDIS_URL: ' ' }, undefined, undefined],
    [{ REDIS_URL }, { connection: REDIS_URL }, undefined],
    [{ DATABASE_URL }, { postgres: DATABASE_URL }, DATABASE_URL],
  ])('%j', (environment, queue, journal) => {
    expect(new Store(environment)).toEqual({ queue, journal, role: 'both' });
  });

  it('accepts a role if the journal is shared', () => {
    expect(new Store({ DATABASE_URL, QUEUE_ROLE: 'worker' }).role).toBe('worker');
  });

  it.each([
    [{ REDIS_URL: 'localhost:6379' }, 'REDIS_URL must be a URL that begins with redis:// or rediss://'],
    [
      { DATABASE_URL: 'postgres//me:password@db' },
      'DATABASE_URL must be a URL that begins with postgres:// or postgresql://',
    ],
    [
      { REDIS_URL, DATABASE_URL },
      'Set REDIS_URL or DATABASE_URL: with a database, the queue lies in it beside the journal',
    ],
    [{ DATABASE_URL, QUEUE_ROLE: 'boss' }, "QUEUE_ROLE must be both, producer, worker, not 'boss'"],
    [
      { REDIS_URL, QUEUE_ROLE: 'worker' },
      'QUEUE_ROLE=worker needs DATABASE_URL: several processes must share the journal',
    ],
  ])('rejects %j', (environment, message) => {
    expect(() => new Store(environment)).toThrow(message);
    expect(() => new Store(environment)).not.toThrow('password');
  });
});
