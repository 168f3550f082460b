import { RtSmsConfigError } from 'nestjs-rt-sms';
import { resolveBullMqOptions, type BullMqOptions } from './options.js';

const REDIS = { connection: 'redis://localhost:6379' };
function problemsOf(options: unknown): readonly string[] {
  try {
    resolveBullMqOptions(options as BullMqOptions, 'default');
  } catch (error) {
    expect(error).toBeInstanceOf(RtSmsConfigError);
    return (error as RtSmsConfigError).problems;
  }
  return [];
}

it.each<[object]>([
  [REDIS],
  [{ connection: 'rediss://:p%23ss@redis.example/3' }],
  [{ connection: { host: 'redis.example', password: 'x' } }],
  [{ connection: { path: '/run/redis.sock' } }],
  [{ connection: { sentinels: [{ host: 'a', port: 1 }], name: 'x' } }],
  [{ postgres: 'postgres://user:pass@db.example:5432/shop' }],
  [{ postgres: 'postgresql://db.example/shop?sslmode=require' }],
  // Where the rest is in PGHOST and its like.
  [{ postgres: {} }],
  [{ ...REDIS, role: 'worker', concurrency: 1, lockDurationMs: 100, stalledIntervalMs: 100, prefix: '{sms}' }],
])('takes %j', (options) => expect(problemsOf(options)).toEqual([]));

it.each<[unknown, RegExp]>([
  [undefined, /needs an object/],
  [null, /needs an object/],
  ['redis://:hush@localhost', /needs an object/],
  [[REDIS], /needs an object/],
  [{ connection: 'localhost:6379' }, /connection must be the URL of a Redis \(redis:\/\/ or rediss:\/\/\)/],
  [{ connection: 'redis' }, /connection must be/],
  [{ connection: 'http://localhost:6379' }, /connection must be/],
  [{ connection: 'redis://:hu#sh@localhost' }, /connection must be/],
  [{ connection: 'redis://localhost/#1' }, /connection must be/],
  // ioredis would take it, and connect to this machine.
  [{ connection: { hst: 'redis.example' } }, /connection must be/],
  [{ connection: {} }, /connection must be/],
  [{ postgres: 'localhost/shop' }, /postgres must be the URL of a PostgreSQL/],
  [{ postgres: 'mysql://localhost/shop' }, /postgres must be/],
  [{ postgres: 'postgres://user:hu#sh@localhost/shop' }, /postgres must be/],
  [{ ...REDIS, concurrency: 1.5 }, /concurrency must be a whole number/],
  [{ ...REDIS, concurrency: '5' }, /concurrency must be/],
  [{ ...REDIS, lockDurationMs: 99 }, /lockDurationMs must be/],
  [{ ...REDIS, stalledIntervalMs: Number.NaN }, /stalledIntervalMs must be/],
  [{ ...REDIS, prefix: 'a b' }, /prefix must be/],
  [{ ...REDIS, prefx: 'a' }, /no option 'prefx'/],
  [{ postgres: {}, migrate: 'yes' }, /migrate must be true or false/],
  [{ postgres: {}, schema: 'a-b' }, /schema must be/],
])('refuses %j', (options, problem) => {
  const problems = problemsOf(options);
  expect(problems).toEqual([expect.stringMatching(problem)]);
  expect(problems.join()).not.toMatch(/hush|hu#sh/);
});
