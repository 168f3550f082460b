import { RtSmsConfigError } from 'nestjs-rt-sms';
import { messageOf, redact, safeCause } from 'nestjs-rt-sms/engine';
import { idOf, jobIdOf } from './job-id.js';

/* Classification of the errors of Redis, PostgreSQL, their clients and BullMQ. */

/** Characters of a message that are read, and that are shown. */
const MAX_READ = 2_000;
const MAX_SHOWN = 200;
/** Redis repeats the arguments of the command after these words: a message with its number. */
const ARGUMENTS = 'with args beginning with';
/** Data exceptions of PostgreSQL quote the value. */
const DATA_EXCEPTION = /^22[\dA-Z]{3}$/;

/** A foreign error made safe for a log, a cause and the store, without `secrets`. */
export function safeStoreError(error: unknown, secrets?: readonly string[]): Error {
  const safe: Error & { code?: string } = safeCause(error, secrets);
  const { code = '' } = safe;
  const [message = ''] = DATA_EXCEPTION.test(code) ? [] : messageOf(error).slice(0, MAX_READ).split(ARGUMENTS, 1);
  safe.message = redact(withPlainIds(message), secrets, MAX_SHOWN) || code || safe.name;
  safe.stack = `${safe.name}: ${safe.message}`;
  return safe;
}

/** Decodes the message ids in BullMQ's job ids, so that they can be redacted. */
const withPlainIds = (message: string): string =>
  message.replace(/\bjob ([iw][\w-]+)/gi, (found, jobId: string) => {
    const id = idOf(jobId);
    return jobIdOf(id) === jobId ? `job '${id}'` : found;
  });

/** The error that BullMQ stores. It never has one of the error names that control BullMQ. */
export function jobError(error: unknown, secrets?: readonly string[]): Error {
  const cause = safeStoreError(error, secrets);
  return new Error(cause.message, { cause });
}

/** The safe message of a foreign error. */
export const reason = (error: unknown, secrets?: readonly string[]): string => safeStoreError(error, secrets).message;

/** True for BullMQ's code of a missing job, which is not a failure of the store. */
export const isMissing = (error: unknown): boolean => (error as { code?: unknown }).code === -1;

/** PostgreSQL: a table, a schema or a function does not exist. */
export const isNotCreated = (error: unknown): boolean =>
  /^(42P01|3F000|42883)$/.test(String((error as { code?: unknown }).code));

export const evictionPolicyProblem = (policy: string) =>
  `the eviction policy of this Redis is ${policy}, so it may delete queued messages; set maxmemory-policy noeviction, or use another Redis for the queue`;

export const layoutProblem = (what: string) =>
  `this version of nestjs-rt-sms-bullmq does not support the data layout of this BullMQ (${what}); update nestjs-rt-sms-bullmq`;

export const searchPathProblem = (schema: string, found: string | null, role: string) =>
  `PostgreSQL is behind a pooler in transaction mode, such as PgBouncer, which keeps no search_path, and that of the role "${role}" leads to ${found === null ? 'no schema' : `the schema "${found}"`} instead of "${schema}"; set the pooler to session mode, or use a role for the queue alone, run ALTER ROLE "${role}" SET search_path = "${schema}" and reconnect the pooler`;

/** Thrown if the store answers but no retry can make it usable. */
export class StoreUnusableError extends Error {}

const ADVICE: Record<string, string> = {
  '42501':
    'lacks rights in this PostgreSQL; grant CREATE on the database and the schema, or start once as a user who has it, and grant SELECT, INSERT, UPDATE and DELETE on all tables of the schema',
  '28P01': 'is rejected by this PostgreSQL: wrong user or password',
  '28000': 'is rejected by this PostgreSQL: see its pg_hba.conf',
  '3D000': 'needs a database that does not exist in this PostgreSQL; create it',
};

/** Errors of PgBouncer, which have a common code. */
const STARTUP_PARAMETER = /unsupported startup parameter(?: in options)?: ([\w.]+)/;

export function toConfigError(error: unknown, account: string): RtSmsConfigError | undefined {
  const { name, message, code } = error as Error & { code?: unknown };
  let what: string | undefined;
  if (error instanceof StoreUnusableError) what = message;
  else if (typeof code === 'string' && ADVICE[code]) what = `the user ${ADVICE[code]} (${reason(error)})`;
  else if (STARTUP_PARAMETER.test(message)) {
    const parameter = STARTUP_PARAMETER.exec(message)![1];
    what = `PgBouncer does not accept the connection parameter '${parameter}'; remove it from postgres (set it with ALTER ROLE), or list it in PgBouncer's ignore_startup_parameters, which ignores it`;
  } else if (message.includes('statement pooling mode'))
    what = 'PgBouncer in statement mode is not supported; set pool_mode = session or transaction';
  else if (code === 'ERR_INVALID_URL')
    what =
      'the URL of the store is invalid; percent-encode all characters of user and password except letters and digits';
  else if (name === 'UnsupportedPostgresVersionError')
    what = 'this PostgreSQL is too old; update it to version 13 or newer';
  else if (name === 'SchemaMigrationRequiredError')
    what = 'the tables of BullMQ are missing; set migrate: true, or run its runMigrations() beforehand';
  else if (name === 'SchemaVersionMismatchError') what = 'the tables belong to a newer BullMQ; update bullmq';
  else if (message.startsWith('Redis version needs')) what = `this Redis is too old (${reason(error)})`;
  else if (/WRONGPASS|NOAUTH|NOPERM|invalid password|without any password/i.test(message))
    what = `this Redis rejects the user: ${reason(error)}`;
  else if (/^(CROSSSLOT|MOVED)\b/.test(message))
    what = 'this Redis is a cluster, which the queue does not support; use a single Redis, or Sentinel for fail-over';
  else if (/could not load the optional/i.test(message)) what = reason(error);
  // A missing, changed or additional column or type, or a key of another type.
  else if (/^(42703|42704|42804|42883|23502)$/.test(String(code)) || message.startsWith('WRONGTYPE'))
    what = layoutProblem(reason(error));
  return what === undefined ? undefined : new RtSmsConfigError([`engine: ${what}`], account);
}

/** Beginning of the error if PostgreSQL, or a pooler, does not accept a connection in time. */
export const CONNECT_TIMEOUT = 'PostgreSQL accepted no connection';
/** The last four are PgBouncer's: no connection for a query. */
const OFFLINE_MESSAGE = new RegExp(
  `enableOfflineQueue|Stream isn't writeable|not reached yet|${CONNECT_TIMEOUT}|query_wait_timeout|server login has been failing|cannot connect to server|no more connections allowed`,
);
/** The last four are PostgreSQL's: starting up, too many connections, disk full, read-only. */
const OFFLINE_CODE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|57P03|53300|53100|25006)$/;

/** True only if no command can have reached the store. */
export function isOffline(error: unknown): boolean {
  const { message, code } = error as Error & { code?: unknown };
  return OFFLINE_MESSAGE.test(message) || (typeof code === 'string' && OFFLINE_CODE.test(code));
}

/** True if a single command certainly was not executed: Redis rejects some before it does anything. */
export const certainlyNotExecuted = (error: unknown): boolean =>
  isOffline(error) ||
  /^(OOM|READONLY|LOADING|MISCONF|MASTERDOWN|NOREPLICAS|CLUSTERDOWN)\b/.test((error as Error).message);

/** The connection was lost, perhaps after the store had executed the request; the codes 57P… are those of a server that ends. */
const LOST_CODE = /^(ECONNRESET|EPIPE|ETIMEDOUT|57P01|57P02|08000|08001|08003|08004|08006)$/;
const LOST_MESSAGE =
  /Connection (is closed|terminated|ended)|max retries per request|connections to PostgreSQL are closed/;
/** A busy store: too many connections or clients; a connection, statement or lock that took too long; a conflict. */
const SLOW_CODE = /^(53300|55P03|57014|40001|40P01)$/;
const SLOW_MESSAGE = new RegExp(`${CONNECT_TIMEOUT}|query_wait_timeout|no more connections allowed|^BUSY\\b`);

const matches = (error: unknown, inCode: RegExp, inMessage: RegExp): boolean => {
  const { message, code } = error as Error & { code?: unknown };
  return inMessage.test(message) || (typeof code === 'string' && inCode.test(code));
};

/** True for an error of a store that is up, but too busy for the request. It certainly did not execute it. */
export const isSlow = (error: unknown): boolean => matches(error, SLOW_CODE, SLOW_MESSAGE);

/** True if the store could not be reached, was lost, or executes no writes at all. */
export const isDown = (error: unknown): boolean =>
  !isSlow(error) && (certainlyNotExecuted(error) || matches(error, LOST_CODE, LOST_MESSAGE));
