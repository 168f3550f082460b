import type { Telemetry } from 'bullmq';
import { RtSmsConfigError } from 'nestjs-rt-sms';

/** Values of `BullMqRole`. */
export const BULLMQ_ROLES = ['both', 'producer', 'worker'] as const;
/**
 * Role of a replica: a `producer` only queues messages (an API); `worker` and `both` also send them. Every role receives
 * callbacks.
 */
export type BullMqRole = (typeof BULLMQ_ROLES)[number];

/**
 * Names of the three queues of an account, for a dashboard: `send` holds the messages, `check` has one job per uid until its
 * final status, `unknown` holds callbacks with uids that are not in `check`. Prefix (Redis) and schema (PostgreSQL) are those of
 * the engine.
 */
export const rtSmsQueueNames = (account = 'default'): { send: string; check: string; unknown: string } => ({
  send: queueName(account, 'send'),
  check: queueName(account, 'check'),
  unknown: queueName(account, 'unknown'),
});

export const queueName = (account: string, queue: string): string => `rt-sms-${account}-${queue}`;

/** Options of the durable engine. Set either `connection` or `postgres`. */
export interface BullMqOptions {
  /** Redis: its URL, or the options of `ioredis`. Its eviction policy has to be `noeviction`. */
  connection?: string | object;
  /**
   * PostgreSQL 13 or newer: its URL, or the options of a pool of `pg`. All accounts of a process with equal `postgres`, `schema`
   * and `migrate` share one pool: `max` connections (10), and one that listens unless every account is a `producer`.
   */
  postgres?: string | object;
  /** Role of this process. @default 'both' */
  role?: BullMqRole;
  /** Messages that this replica sends at once, and check jobs that it runs at once, 1 to 1000. @default 10 */
  concurrency?: number;
  /** Milliseconds without a sign of life after which the jobs of a worker go to other workers. @default 30000 */
  lockDurationMs?: number;
  /** Interval in milliseconds at which jobs of dead workers are searched. @default 30000 */
  stalledIntervalMs?: number;
  /**
   * Milliseconds that the handlers of an event may take. Handlers that have not settled then count as failed and are called
   * again later, as if they had thrown. @default 60000
   */
  handlerTimeoutMs?: number;
  /** Redis only: prefix of the keys. @default 'bull' */
  prefix?: string;
  /** PostgreSQL only: the schema of BullMQ's tables. @default 'bullmq' */
  schema?: string;
  /** PostgreSQL only: creates and updates the tables at the start; safe when replicas start together. @default true */
  migrate?: boolean;
  /**
   * Keys of 32 bytes or more each, as Base64 or hex, in a list or separated by commas. Number, sender and text of waiting
   * messages are sealed with the first key and opened with any of them, so that a key can be replaced. A message that was not
   * sealed with one of them, or was changed, is refused. Without keys, messages are stored in the clear.
   */
  keys?: string | readonly string[];
  /** A telemetry of BullMQ, such as `new BullMQOtel(…)` of `bullmq-otel`. */
  telemetry?: object;
}

export type ResolvedBullMqOptions = ReturnType<typeof resolveBullMqOptions>;

const isUrl = (value: unknown, protocols: RegExp) =>
  typeof value === 'string' && URL.canParse(value) && protocols.test(value) && new URL(value).hash === '';
/** False for a client or a pool. */
const isOptions = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !('on' in value);
/** ioredis accepts any object, and connects to localhost if it contains no address. */
const hasAddress = (value: object) => ['host', 'port', 'path', 'sentinels', 'url'].some((name) => name in value);
const MIN_KEY_BYTES = 32;

/** Reads the option `keys`; `undefined` if one of them is unusable. */
function readKeys(value: unknown): Buffer[] | undefined {
  const list: unknown = typeof value === 'string' ? value.split(',') : (value ?? []);
  if (!Array.isArray(list)) return undefined;
  const keys = list.map((key: unknown) => {
    const text = typeof key === 'string' ? key.trim() : '';
    if (/^(?:[\da-f]{2})+$/i.test(text)) return Buffer.from(text, 'hex');
    return /^[\w+/-]+=*$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0);
  });
  const isUsable = typeof value !== 'string' || keys.length > 0;
  return isUsable && keys.every((key) => key.length >= MIN_KEY_BYTES) ? keys : undefined;
}

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
  handlerTimeoutMs: ['a whole number of milliseconds, 100 or more', isMs],
  prefix: ['a string of A-Z a-z 0-9 _ . : { } -', (value) => typeof value === 'string' && /^[\w.:{}-]+$/.test(value)],
  schema: ['a plain SQL name', (value) => typeof value === 'string' && /^[A-Za-z_][\w$]{0,62}$/.test(value)],
  migrate: ['true or false', (value) => typeof value === 'boolean'],
  keys: [
    `keys of ${MIN_KEY_BYTES} bytes or more each, as Base64 or hex (a new one: openssl rand -base64 32)`,
    (value) => readKeys(value) !== undefined,
  ],
  telemetry: ['a telemetry of BullMQ', (value) => typeof value === 'object' && value !== null],
};

/** @throws RtSmsConfigError with every problem, without the values, because a URL may contain a password */
export function resolveBullMqOptions(input: BullMqOptions, account: string) {
  if (!isOptions(input))
    throw new RtSmsConfigError(['engine: bullMq needs an object with either connection (Redis) or postgres'], account);
  const problems: string[] = [];
  for (const [name, value] of Object.entries(input)) {
    const check = CHECKS[name as keyof BullMqOptions] as (typeof CHECKS)[keyof BullMqOptions] | undefined;
    if (!check) problems.push(`engine: bullMq has no option '${name}'`);
    else if (value !== undefined && !check[1](value)) problems.push(`engine: bullMq's ${name} must be ${check[0]}`);
  }
  if ((input.connection === undefined) === (input.postgres === undefined)) {
    problems.push('engine: bullMq needs either connection (Redis) or postgres');
  }
  if (isOptions(input.connection) && 'keyPrefix' in input.connection)
    problems.push("engine: bullMq's connection takes no keyPrefix; use prefix");
  if (input.connection !== undefined && input.schema !== undefined)
    problems.push("engine: bullMq's schema is for postgres; with Redis use prefix");
  if (input.postgres !== undefined && input.prefix !== undefined)
    problems.push("engine: bullMq's prefix is for Redis; with postgres use schema");
  if (problems.length > 0) throw new RtSmsConfigError(problems, account);
  return {
    connection: input.connection,
    postgres: input.postgres,
    role: input.role ?? 'both',
    concurrency: input.concurrency ?? 10,
    lockDurationMs: input.lockDurationMs ?? 30_000,
    stalledIntervalMs: input.stalledIntervalMs ?? 30_000,
    handlerTimeoutMs: input.handlerTimeoutMs ?? 60_000,
    prefix: input.prefix ?? 'bull',
    schema: input.schema ?? 'bullmq',
    migrate: input.migrate ?? true,
    keys: readKeys(input.keys) ?? [],
    telemetry: input.telemetry,
  };
}

/** BullMQ's options for the connections of a queue (`producer`) or of a worker. */
export function connectionOptions(options: ResolvedBullMqOptions, role: 'producer' | 'worker') {
  const { connection, prefix, telemetry } = options;
  const common = telemetry ? { telemetry: telemetry as Telemetry } : {};
  if (connection !== undefined) {
    const input = typeof connection === 'string' ? { url: connection } : connection;
    return {
      ...common,
      prefix,
      connection: {
        retryStrategy: (times: number) => Math.min(times * 100, 2_000),
        ...input,
        // An HTTP request must not wait for a Redis that is down. A worker can wait.
        ...(role === 'producer' ? { enableOfflineQueue: false } : { maxRetriesPerRequest: null }),
      },
    };
  }
  // The connections are those of `PostgresPool`. BullMQ only checks that there is an object.
  return { ...common, connection: {} };
}
