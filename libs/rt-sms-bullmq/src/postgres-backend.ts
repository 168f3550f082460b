import { isNotCreated } from './store-errors.js';

/** Backend of BullMQ in PostgreSQL, as far as the engine uses it directly. */
export interface PostgresBackend {
  query(sql: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/**
 * A `query` for tables and functions that are not BullMQ's: if they are missing, it creates them in BullMQ's schema and repeats the
 * statement, which has done nothing then. Replicas create them one after the other.
 */
export function queryCreating(backend: PostgresBackend, statements: readonly string[]): PostgresBackend['query'] {
  const create = `DO $create$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('rt_sms_create', 0));
    ${statements.map((statement) => `${statement};`).join('\n')}
  END $create$`;
  let creating: Promise<unknown> | undefined;
  return async (sql, values) => {
    try {
      return await backend.query(sql, values);
    } catch (error) {
      if (!isNotCreated(error)) throw error;
      await (creating ??= backend.query(create, []).finally(() => (creating = undefined)));
      return backend.query(sql, values);
    }
  };
}
