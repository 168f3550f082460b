import type { NewOtpChallenge, OtpRecord, OtpStep, OtpStore } from './store.js';

/** Options of the store in PostgreSQL. */
export interface PostgresOtpStoreOptions {
  /** URL of a PostgreSQL 12 or newer, options of a pool of `pg`, or a pool of `pg`, which the store does not close. */
  postgres: string | object;
  /** Schema of the table `challenge`. @default 'rt_sms_otp' */
  schema?: string;
  /** Creates schema and table at the start; safe when replicas start together. @default true */
  migrate?: boolean;
}

/** A pool of `pg`, as far as the store uses it. */
interface PostgresPool {
  query(sql: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
  end(): Promise<void>;
}

const LIMITS = { connectionTimeoutMillis: 5_000, query_timeout: 5_000 };
/** Interval in milliseconds at which this process deletes challenges. */
const SWEEP_MS = 60_000;

const NOW = 'clock_timestamp()';
const after = (ms: string) => `${NOW} + ${ms}::float8 * interval '1 ms'`;
const msUntil = (column: string) => `ceil(extract(epoch FROM ${column} - ${NOW}) * 1000)::float8`;

const stateOf = (used: string, left: string) =>
  `CASE WHEN ${used} THEN 'used' WHEN expires_at <= ${NOW} THEN 'expired' WHEN ${left} <= 0 THEN 'locked' ELSE 'open' END`;
const STATE = stateOf('used', 'attempts_left');
const SEEN = `sealed, sends, attempts_left AS "attemptsLeft", ${msUntil('resend_at')} AS "resendInMs", ${msUntil('expires_at')} AS "expiresInMs"`;

const statements = (schema: string, table: string) => ({
  // One transaction, and one replica at a time: IF NOT EXISTS fails when two of them create the same.
  migrate: `SELECT pg_advisory_xact_lock(hashtext('${table}')); CREATE SCHEMA IF NOT EXISTS ${schema};
    CREATE TABLE IF NOT EXISTS ${table} (id text PRIMARY KEY, sealed text NOT NULL, expires_at timestamptz NOT NULL,
      forget_at timestamptz NOT NULL, attempts_left int NOT NULL, sends int NOT NULL, resend_at timestamptz NOT NULL,
      used boolean NOT NULL DEFAULT false);
    CREATE INDEX IF NOT EXISTS challenge_forget_at ON ${table} (forget_at)`,
  sweep: `DELETE FROM ${table} WHERE forget_at <= ${NOW}`,
  create: `INSERT INTO ${table} (id, sealed, expires_at, forget_at, attempts_left, sends, resend_at)
    VALUES ($1, $2, ${after('$3')}, ${after('2 * $3')}, $4, 1, ${after('$5')})`,
  find: `SELECT ${SEEN}, false AS done, ${STATE} AS state FROM ${table} WHERE id = $1`,
  // The condition is checked again once the row is locked, so that concurrent steps are done one after the other.
  step: `UPDATE ${table} SET used = used OR $2 = 'use', attempts_left = attempts_left - ($2 = 'attempt')::int,
      sends = sends + ($2 = 'resend')::int - ($2 = 'undo')::int, resend_at = CASE $2 WHEN 'undo' THEN ${NOW}
        WHEN 'resend' THEN ${after('($3::float8[])[least(sends + 1, cardinality($3::float8[]))]')} ELSE resend_at END
    WHERE id = $1 AND CASE $2::text WHEN 'attempt' THEN ${STATE} = 'open' WHEN 'use' THEN NOT used
        WHEN 'resend' THEN ${STATE} = 'open' AND resend_at <= ${NOW} WHEN 'undo' THEN sends = ($3::float8[])[1] END
    RETURNING ${SEEN}, true AS done, ${stateOf("used AND $2 <> 'use'", "attempts_left + ($2 = 'attempt')::int")} AS state`,
  remove: `DELETE FROM ${table} WHERE id = $1`,
});

class PostgresOtpStore implements OtpStore {
  private readonly sql: ReturnType<typeof statements>;
  private pool: Promise<PostgresPool> | undefined;
  private sweeper: NodeJS.Timeout | undefined;

  constructor(private readonly options: PostgresOtpStoreOptions) {
    const schema = `"${(options.schema ?? 'rt_sms_otp').replaceAll(/["'\0]/g, '')}"`;
    this.sql = statements(schema, `${schema}.challenge`);
  }

  async prepare(): Promise<void> {
    if (this.options.migrate ?? true) await this.query('migrate');
    await this.query('sweep');
    this.sweeper ??= setInterval(() => void this.query('sweep').catch(() => undefined), SWEEP_MS).unref();
  }

  create(id: string, { sealed, ttlMs, attempts, resendAfterMs }: NewOtpChallenge): Promise<unknown> {
    return this.query('create', id, sealed, ttlMs, attempts, resendAfterMs);
  }

  async step(id: string, step: OtpStep, numbers: readonly number[] = []): Promise<OtpRecord | undefined> {
    const done = step === 'find' ? [] : await this.query('step', id, step, numbers);
    // A challenge that the step cannot change is only read, so many guesses at a locked one do not wait for each other.
    const [row] = done.length > 0 ? done : await this.query('find', id);
    return row as OtpRecord | undefined;
  }

  remove(id: string): Promise<unknown> {
    return this.query('remove', id);
  }

  async close(): Promise<void> {
    clearInterval(this.sweeper);
    if (!isPool(this.options.postgres)) await (await this.pool)?.end();
  }

  private async query(name: keyof typeof this.sql, ...values: unknown[]): Promise<unknown[]> {
    const pool = await (this.pool ??= open(this.options.postgres));
    return (await pool.query(this.sql[name], values.length > 0 ? values : undefined)).rows;
  }
}

const isPool = (given: string | object): given is PostgresPool => typeof given === 'object' && 'query' in given;

async function open(postgres: string | object): Promise<PostgresPool> {
  if (isPool(postgres)) return postgres;
  const { Pool } = (await import('pg')).default;
  const given = typeof postgres === 'string' ? { connectionString: postgres } : postgres;
  // Without a listener, an idle connection that is lost would end the process.
  return new Pool({ ...LIMITS, ...given }).on('error', () => undefined);
}

/** A store in PostgreSQL (`pg`) for any number of replicas. A step that cannot be done locks and writes nothing. */
export const postgresOtpStore = (options: PostgresOtpStoreOptions): OtpStore => new PostgresOtpStore(options);
