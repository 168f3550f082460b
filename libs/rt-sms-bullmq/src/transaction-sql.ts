import { quoteSchemaName } from 'bullmq';
import type { SendData } from './job-data.js';
import type { KnownJob } from './operations.js';

/*
 * Statements that run in a transaction of the application, on its connection and with its rights and its search_path. All names
 * are qualified, and all parameters and results are text, which every client and ORM passes on alike.
 */

/** A job as `add_job` of BullMQ takes it. */
export interface SqlJob {
  queue: string;
  id: string;
  name: string;
  data: SendData | object;
  opts: object;
  priority: number;
  delay: number;
  at: number;
  attempts: number;
}

/** A row of `begin`. */
export interface Place {
  database: string;
  /** Server, database and role: all that decides whether the schema is there and may be used. */
  place: string;
}

/** A row of `rights`. */
export interface Rights {
  hasSchema: boolean;
  /** The missing rights, as the statements that grant them. */
  grants: string | null;
}

/** A row of `lookUp`. */
export type KnownRow = { id: string } & { [Key in keyof KnownJob]: string | null };

/**
 * Setting that lasts until the end of the transaction: a second statement that finds it runs in the same one, and outside of a
 * transaction it is gone at once.
 */
const PROOF = 'rt_sms.transaction';

/** Parameter: proof. */
const BEGIN_SQL = `SELECT set_config('${PROOF}', CAST($1 AS text), true) AS proof, current_database()::text AS database,
  concat_ws('/', inet_server_addr(), inet_server_port(), pg_postmaster_start_time(), current_database(), current_user) AS place`;

/** Parameter: schema. Needs no rights, and fails in no transaction that has not failed before. */
const RIGHTS_SQL = `WITH home AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = CAST($1 AS text)
  ), need(kind, name, privilege) AS (VALUES
    ('TABLE', 'job', 'SELECT'), ('TABLE', 'job', 'INSERT'), ('TABLE', 'meta', 'SELECT'), ('TABLE', 'event', 'SELECT'),
    ('TABLE', 'event', 'INSERT'), ('TABLE', 'event', 'DELETE'), ('SEQUENCE', 'job_seq', 'USAGE'),
    ('SEQUENCE', 'event_seq', 'USAGE')
  ), missing(what) AS (
    SELECT format('USAGE ON SCHEMA %I', CAST($1 AS text)) FROM home WHERE NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT format('%s ON %s %I.%I', privilege, kind, CAST($1 AS text), name)
    FROM home CROSS JOIN need LEFT JOIN pg_catalog.pg_class AS class ON relnamespace = home.oid AND relname = name
    WHERE NOT CASE kind WHEN 'TABLE' THEN has_table_privilege(class.oid, privilege)
      ELSE has_sequence_privilege(class.oid, privilege) END
  )
  SELECT EXISTS (SELECT FROM home) AS "hasSchema",
    (SELECT string_agg(format('GRANT %s TO %I', what, current_user), '; ') FROM missing) AS grants`;

/** Adds nothing, and returns no row, unless the transaction is the one of `begin` and its database holds this store. */
const GUARD = `current_setting('${PROOF}', true) = CAST($2 AS text) AND EXISTS (
      SELECT FROM job AS store WHERE store.queue = CAST($3 AS text) AND store.id = CAST($4 AS text)
        AND store.data->>'id' = CAST($5 AS text))`;

/** Jobs are added in one order, because two transactions that wait for each other would deadlock. */
const addSql = (guard: string) => `WITH entry AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST($1 AS jsonb)) AS entry(
      queue text, id text, name text, data jsonb, opts jsonb, priority int, delay bigint, at bigint, attempts int)
    WHERE ${guard} ORDER BY queue, id
  )
  SELECT add_job(queue, id, name, data, opts, priority, delay, at, attempts, NULL, NULL, NULL, NULL, NULL, false) AS id
  FROM entry`;

/** Parameter: proof. */
const IS_OPEN_SQL = `SELECT coalesce(current_setting('${PROOF}', true) = CAST($1 AS text), false) AS "isOpen"`;

const LOOK_UP_SQL = `SELECT id, data->>'digest' AS digest, CAST(finished_at_ms AS text) AS "finishedOn" FROM job
  WHERE queue = CAST($1 AS text) AND id = ANY (CAST($2 AS text[])) ORDER BY seq`;

/** The statements for BullMQ's tables and functions in `schema`. */
export function transactionSql(schema: string) {
  const home = quoteSchemaName(schema);
  const qualified = (sql: string) =>
    sql.replaceAll('FROM job', `FROM ${home}.job`).replace('add_job(', `${home}.add_job(`);
  return {
    begin: BEGIN_SQL,
    rights: RIGHTS_SQL,
    isOpen: IS_OPEN_SQL,
    /** Parameters: jobs, proof, and queue, job id and identity of the mark of the store. */
    add: qualified(addSql(GUARD)),
    /** Parameter: jobs. For `probeSchema`, outside of a transaction. */
    addAnywhere: qualified(addSql('true')),
    /** Makes the transaction impossible to commit. */
    fail: `SELECT CAST('roll back: another transaction has queued one of these messages' AS int)`,
    /** Parameters: queue, job ids as the text of an array. */
    lookUp: qualified(LOOK_UP_SQL),
  };
}
