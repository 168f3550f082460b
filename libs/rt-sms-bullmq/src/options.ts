import { RtSmsConfigError } from 'nestjs-rt-sms';

/** What a process may do with the queue. */
export const BULLMQ_ROLES = ['both', 'producer', 'worker'] as const;
/**
 * What a replica does with the queues: `producer` only fills them (an API), `worker` empties them, too, and so does `both`.
 * Callbacks are taken by any of them.
 */
export type BullMqRole = (typeof BULLMQ_ROLES)[number];

/**
 * Names of the three queues of an account, for a dashboard: `send` holds the messages, `check` has one job per uid until its
 * final status, `unknown` has the callbacks about uids that are not in `check`. The prefix (Redis) or schema (PostgreSQL) is
 * that of the engine.
 */
export const rtSmsQueueNames = (account = 'default'): { send: string; check: string; unknown: string } => ({
  send: `rt-sms-${account}-send`,
  check: `rt-sms-${account}-check`,
  unknown: `rt-sms-${account}-unknown`,
});

/** The durable engine; either `connection` or `postgres` is given. */
export interface BullMqOptions {
  /** Redis: its URL, or the options of `ioredis`. Its eviction policy has to be `noeviction`. */
  connection?: string | object;
  /** PostgreSQL 13 or newer: its URL, or the options of a pool of `pg`. `max` is that of each of its three pools (10, 5 and 5). */
  postgres?: string | object;
  /** What this process does: enqueue, send, or both. @default 'both' */
  role?: BullMqRole;
  /** Messages that this replica sends at once, and checks that it runs at once. @default 10 */
  concurrency?: number;
  /** A worker that is silent for so long has lost its jobs to others, in milliseconds. @default 30000 */
  lockDurationMs?: number;
  /** How often jobs of lost workers are looked for, in milliseconds. @default 30000 */
  stalledIntervalMs?: number;
  /** Redis only: what its keys begin with. @default 'bull' */
  prefix?: string;
  /** PostgreSQL only: the schema of BullMQ's tables. @default 'bullmq' */
  schema?: string;
  /** PostgreSQL only: creates and updates the tables at the start; safe when replicas start together. @default true */
  migrate?: boolean;
  /** A telemetry of BullMQ, such as `new BullMQOtel(…)` of `bullmq-otel`. */
  telemetry?: object;
}

export type ResolvedBullMqOptions = ReturnType<typeof resolveBullMqOptions>;

const isUrl = (value: unknown, protocols: RegExp) =>
  typeof value === 'string' && URL.canParse(value) && protocols.test(value) && new URL(value).hash === '';
/** Not a client or a pool. */
const isOptions = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !('on' in value);
/** ioredis takes any object, and connects to this machine where it finds no address in it. */
const hasAddress = (value: object) => ['host', 'port', 'path', 'sentinels', 'url'].some((name) => name in value);
const isMs = (value: unknown) => Number.isInteger(value) && (value as number) >= 100 && (value as number) < 2 ** 31;
const CHECKS: Record<keyof BullMqOptions, readonly [accepted: string, test: (value: unknown) => boolean]> = {
  connection: [
    'the URL of a Redis (redis:// or rediss://), or options of ioredis with a host, port, path or sentinels (not a client)',
    (value) => isUrl(value, /^rediss?:\/\//) || (isOptions(value) && hasAddress(value)),
  ],
  postgres: [
    'the URL of a PostgreSQL (postgres:// or postgresql://), or options of a pg pool (not a pool)',
    (value) => isUrl(value, /^postgres(ql)?:\/\//) || isOptions(value),
  ],
  role: [BULLMQ_ROLES.map((role) => `'${role}'`).join(' or '), (value) => BULLMQ_ROLES.includes(value as BullMqRole)],
  concurrency: [
    'a whole number from 1 to 1000',
    (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000,
  ],
  lockDurationMs: ['a whole number of milliseconds, 100 or more', isMs],
  stalledIntervalMs: ['a whole number of milliseconds, 100 or more', isMs],
  prefix: ['a string of A-Z a-z 0-9 _ . : { } -', (value) => typeof value === 'string' && /^[\w.:{}-]+$/.test(value)],
  schema: ['a plain SQL name', (value) => typeof value === 'string' && /^[A-Za-z_][\w$]{0,62}$/.test(value)],
  migrate: ['true or false', (value) => typeof value === 'boolean'],
  telemetry: ['a telemetry of BullMQ', (value) => typeof value === 'object' && value !== null],
};

/** @throws RtSmsConfigError that lists every problem, without what was given: a URL may hold a password */
export function resolveBullMqOptions(given: BullMqOptions, account: string) {
  if (!isOptions(given))
    throw new RtSmsConfigError(['engine: bullMq needs an object with either connection (Redis) or postgres'], account);
  const problems: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    const check = CHECKS[name as keyof BullMqOptions] as (typeof CHECKS)[keyof BullMqOptions] | undefined;
    if (!check) problems.push(`engine: bullMq has no option '${name}'`);
    else if (value !== undefined && !check[1](value)) problems.push(`engine: bullMq's ${name} must be ${check[0]}`);
  }
  if ((given.connection === undefined) === (given.postgres === undefined)) {
    problems.push('engine: bullMq needs either connection (Redis) or postgres');
  }
  if (isOptions(given.connection) && 'keyPrefix' in given.connection)
    problems.push("engine: bullMq's connection takes no keyPrefix; use prefix");
  if (given.connection !== undefined && given.schema !== undefined)
    problems.push("engine: bullMq's schema is for postgres; with Redis use prefix");
  if (given.postgres !== undefined && given.prefix !== undefined)
    problems.push("engine: bullMq's prefix is for Redis; with postgres use schema");
  if (problems.length > 0) throw new RtSmsConfigError(problems, account);
  return {
    connection: given.connection,
    postgres: given.postgres,
    role: given.role ?? 'both',
    concurrency: given.concurrency ?? 10,
    lockDurationMs: given.lockDurationMs ?? 30_000,
    stalledIntervalMs: given.stalledIntervalMs ?? 30_000,
    prefix: given.prefix ?? 'bull',
    schema: given.schema ?? 'bullmq',
    migrate: given.migrate ?? true,
    telemetry: given.telemetry,
  };
}
