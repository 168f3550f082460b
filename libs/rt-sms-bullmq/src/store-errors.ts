import { RtSmsConfigError } from 'nestjs-rt-sms';
import { messageOf, redact, safeCause } from 'nestjs-rt-sms/engine';
import { idOf, jobIdOf } from './job-id.js';

/* What the errors of Redis, PostgreSQL, their clients and BullMQ mean. */

/** No more of a message is looked at, and no more of it is shown. */
const MAX_READ = 2_000;
const MAX_SHOWN = 200;
/** Redis repeats the command here, whose arguments are a message with its number. */
const ARGUMENTS = 'with args beginning with';
/** PostgreSQL's data exceptions quote the value. */
const DATA_EXCEPTION = /^22[\dA-Z]{3}$/;

/** A foreign error that is fit for a log, a cause, and the store itself; nothing of `secrets` is in it. */
export function safeStoreError(error: unknown, secrets?: readonly string[]): Error {
  const safe: Error & { code?: string } = safeCause(error, secrets);
  const { code = '' } = safe;
  const [message = ''] = DATA_EXCEPTION.test(code) ? [] : messageOf(error).slice(0, MAX_READ).split(ARGUMENTS, 1);
  safe.message = redact(withPlainIds(message), secrets, MAX_SHOWN) || code || safe.name;
  safe.stack = `${safe.name}: ${safe.message}`;
  return safe;
}

/** BullMQ names a job by its id, in which the id of the message is encoded; plain it can be redacted. */
const withPlainIds = (message: string): string =>
  message.replace(/\bjob ([iw][\w-]+)/gi, (found, jobId: string) => {
    const id = idOf(jobId);
    return jobIdOf(id) === jobId ? `job '${id}'` : found;
  });

/** What BullMQ is to keep of an error; its own names of errors, which it goes by, are not for others. */
export function jobError(error: unknown, secrets?: readonly string[]): Error {
  const cause = safeStoreError(error, secrets);
  return new Error(cause.message, { cause });
}

/** What a foreign error says. */
export const reason = (error: unknown, secrets?: readonly string[]): string => safeStoreError(error, secrets).message;

/** BullMQ's codes of what is no failure of the store. */
export const isMissing = (error: unknown): boolean => (error as { code?: unknown }).code === -1;

export const POLICY = (policy: string) =>
  `the eviction policy of this Redis is ${policy}, so it may throw queued messages away; set maxmemory-policy noeviction, or take another Redis for the queue`;

export const LAYOUT = (what: string) =>
  `this version of nestjs-rt-sms-bullmq does not know the layout of this BullMQ (${what}); take a newer one`;

/** A store that answers, and that no retry makes usable. */
export class Unfit extends Error {}

const ADVICE: Record<string, string> = {
  '42501':
    'has not the rights it needs in this PostgreSQL; grant CREATE on the database, or create the schema beforehand',
  '28P01': 'is refused by this PostgreSQL: wrong user or password',
  '28000': 'is refused by this PostgreSQL: see its pg_hba.conf',
  '3D000': 'asks for a database that this PostgreSQL does not have; create it',
};

export function unfit(error: unknown, account: string): RtSmsConfigError | undefined {
  const { name, message, code } = error as Error & { code?: unknown };
  let what: string | undefined;
  if (error instanceof Unfit) what = message;
  else if (typeof code === 'string' && ADVICE[code]) what = `the user ${ADVICE[code]} (${reason(error)})`;
  else if (code === 'ERR_INVALID_URL')
    what = 'the URL of the store is none; percent-encode what is no letter or digit in its user and password';
  else if (name === 'UnsupportedPostgresVersionError')
    what = 'this PostgreSQL is too old; 13 is the oldest that serves';
  else if (name === 'SchemaMigrationRequiredError')
    what = 'the tables of BullMQ are not there; set migrate: true, or run its runMigrations() beforehand';
  else if (name === 'SchemaVersionMismatchError') what = 'the tables are those of a newer BullMQ; update bullmq';
  else if (message.startsWith('Redis version needs')) what = `this Redis is too old (${reason(error)})`;
  else if (/WRONGPASS|NOAUTH|NOPERM|invalid password|without any password/i.test(message))
    what = `this Redis refuses the user: ${reason(error)}`;
  else if (/^(CROSSSLOT|MOVED)\b/.test(message))
    what = 'this Redis is a cluster, and the queue needs one that is none; for fail-over take Sentinel';
  else if (/could not load the optional/i.test(message)) what = reason(error);
  // A column or a type that is not there, another one, or one more; a key of another type.
  else if (/^(42703|42704|42804|42883|23502)$/.test(String(code)) || message.startsWith('WRONGTYPE'))
    what = LAYOUT(reason(error));
  return what === undefined ? undefined : new RtSmsConfigError([`engine: ${what}`], account);
}

const OFFLINE_MESSAGE =
  /enableOfflineQueue|Stream isn't writeable|not reached yet|timeout exceeded when trying to connect/;
/** The last ones are of PostgreSQL: it starts, has no room for a connection or for data, is a replica. */
const OFFLINE_CODE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|57P03|53300|53100|25006)$/;

/** True only where no command can have reached the store. */
export function offline(error: unknown): boolean {
  const { message, code } = error as Error & { code?: unknown };
  return OFFLINE_MESSAGE.test(message) || (typeof code === 'string' && OFFLINE_CODE.test(code));
}

/** The same of a single command, to which Redis may say no before it does anything. */
export const neverLeft = (error: unknown): boolean =>
  offline(error) ||
  /^(OOM|READONLY|LOADING|MISCONF|MASTERDOWN|NOREPLICAS|CLUSTERDOWN)\b/.test((error as Error).message);
