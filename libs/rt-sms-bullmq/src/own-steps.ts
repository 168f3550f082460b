import type { IQueueBackend, JobsOptions, RedisClient } from 'bullmq';
import type { StoredQueue } from './store.js';

/*
 * All that reaches into BullMQ's layout: steps that BullMQ has not, each of them one that no other worker can come between.
 * `LAYOUT_SQL` finds out at the start whether the tables are still those that are known here; the Redis ones rest on the
 * field `data` and the key `<job>:lock` with the token of the worker in it.
 */

interface RedisBackend {
  client: Promise<RedisClient>;
}

interface PostgresBackend {
  query(sql: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/** A job to be added to another queue, some time from now. */
export interface DelayedJob<T> {
  queue: StoredQueue<T>;
  name: string;
  data: T;
  opts: JobsOptions & { jobId: string; delay: number; attempts: number };
}

export interface OwnSteps {
  /** Writes `data` where nobody works on the message, nor did. */
  replaceUnsent(jobId: string, data: object): Promise<boolean>;
  /** Writes `data` where the job is still the one of the worker with this token. */
  replaceHeld(jobId: string, token: string, data: object): Promise<boolean>;
  /** The same, and adds another job whether or not it is. `added` is false where there was one of this id. */
  replaceHeldAndAdd<T>(
    jobId: string,
    token: string,
    data: object,
    other: DelayedJob<T>,
  ): Promise<{ replaced: boolean; added: boolean }>;
  /** What in the layout is not as it should be. */
  misfit(): Promise<string | undefined>;
}

const REPLACE_UNSENT_LUA = `
  local data = redis.call('HGET', KEYS[1], 'data')
  if not data or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
  data = cjson.decode(data)
  if data.state or data.intent then return 0 end
  redis.call('HSET', KEYS[1], 'data', ARGV[1])
  return 1`;
const REPLACE_HELD_LUA = `
  local replaced = 0
  if redis.call('GET', KEYS[2]) == ARGV[2] and redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'data', ARGV[1])
    replaced = 1
  end`;
const REPLACE_HELD_ONLY_LUA = `${REPLACE_HELD_LUA}
  return replaced`;
/** What was in the store before is not what was to be added. */
const REPLACE_HELD_AND_LOOK_LUA = `${REPLACE_HELD_LUA}
  local added = 0
  if redis.call('HGET', KEYS[3], 'data') == ARGV[3] then added = 1 end
  return { replaced, added }`;

export function redisSteps(backend: IQueueBackend, toKey: (jobId: string) => string): OwnSteps {
  const defined = (backend as unknown as RedisBackend).client.then((client) => {
    client.defineCommand('rtSmsReplaceUnsent', { numberOfKeys: 2, lua: REPLACE_UNSENT_LUA });
    client.defineCommand('rtSmsReplaceHeld', { numberOfKeys: 2, lua: REPLACE_HELD_ONLY_LUA });
    client.defineCommand('rtSmsReplaceHeldAndLook', { numberOfKeys: 3, lua: REPLACE_HELD_AND_LOOK_LUA });
    return client;
  });
  const run = async (name: string, jobId: string, ...args: string[]): Promise<unknown> => {
    const key = toKey(jobId);
    return (await defined).runCommand(name, [key, `${key}:lock`, ...args]);
  };
  return {
    replaceUnsent: async (jobId, data) => (await run('rtSmsReplaceUnsent', jobId, JSON.stringify(data))) === 1,
    replaceHeld: async (jobId, token, data) =>
      (await run('rtSmsReplaceHeld', jobId, JSON.stringify(data), token)) === 1,
    replaceHeldAndAdd: async (jobId, token, data, { queue, name, data: others, opts }) => {
      await queue.add(name, others, opts);
      const keys = [queue.toKey(opts.jobId), JSON.stringify(data), token, JSON.stringify(others)];
      const [replaced, added] = (await run('rtSmsReplaceHeldAndLook', jobId, ...keys)) as [number, number];
      return { replaced: replaced === 1, added: added === 1 };
    },
    misfit: () => Promise.resolve(undefined),
  };
}

const REPLACE_UNSENT_SQL = `UPDATE job SET data = $3::jsonb
  WHERE queue = $1 AND id = $2 AND state IN ('waiting', 'delayed')
  AND data->'state' IS NULL AND data->'intent' IS NULL RETURNING id`;
const REPLACE_HELD_SQL = `UPDATE job SET data = $3::jsonb
  WHERE queue = $1 AND id = $2 AND state = 'active' AND lock_token = $4 RETURNING id`;
/** Workers are woken only where they would sleep for longer: those that notify commit one after the other. */
const REPLACE_HELD_AND_ADD_SQL = `WITH replaced AS (${REPLACE_HELD_SQL}), added AS (
    INSERT INTO job (queue, id, seq, name, state, data, opts, delay_ms, max_attempts, added_at_ms, process_at_ms)
    VALUES ($5, $6, nextval('job_seq'), $7, 'delayed', $8::jsonb, $9::jsonb, $10, $11, $12::bigint, $12::bigint + $10)
    ON CONFLICT (queue, id) DO NOTHING RETURNING id
  ), woken AS (
    SELECT pg_notify('bullmq_jobs', $5) FROM added WHERE NOT EXISTS (
      SELECT 1 FROM job WHERE queue = $5 AND state = 'delayed' AND process_at_ms <= $12::bigint + $10)
  )
  SELECT EXISTS (SELECT 1 FROM replaced) AS replaced, EXISTS (SELECT 1 FROM added) AS added,
    (SELECT count(*) FROM woken) AS woken`;
const LAYOUT_SQL = `SELECT column_name AS name FROM information_schema.columns
  WHERE table_schema = current_schema() AND table_name = 'job' AND is_nullable = 'NO' AND column_default IS NULL`;
const GIVEN = ['queue', 'id', 'seq', 'name', 'state', 'added_at_ms'];

export function postgresSteps(backend: IQueueBackend, queue: string): OwnSteps {
  const query = (sql: string, values: unknown[]) => (backend as unknown as PostgresBackend).query(sql, values);
  const replaced = async (sql: string, ...values: unknown[]) =>
    (await query(sql, [queue, ...values])).rows.length === 1;
  return {
    replaceUnsent: (jobId, data) => replaced(REPLACE_UNSENT_SQL, jobId, JSON.stringify(data)),
    replaceHeld: (jobId, token, data) => replaced(REPLACE_HELD_SQL, jobId, JSON.stringify(data), token),
    replaceHeldAndAdd: async (jobId, token, data, { queue: others, name, data: otherData, opts }) => {
      const own = [queue, jobId, JSON.stringify(data), token];
      const other = [others.name, opts.jobId, name, JSON.stringify(otherData), JSON.stringify(opts)];
      const { rows } = await query(REPLACE_HELD_AND_ADD_SQL, [...own, ...other, opts.delay, opts.attempts, Date.now()]);
      return rows[0] as { replaced: boolean; added: boolean };
    },
    misfit: async () => {
      const { rows } = await query(LAYOUT_SQL, []);
      const unknown = rows.map(({ name }) => String(name)).filter((name) => !GIVEN.includes(name));
      if (unknown.length > 0) return `the table "job" has the column ${unknown.join(', ')}`;
      // Planned, not run: it fails where a name or a type is another one.
      await query(`EXPLAIN ${REPLACE_HELD_AND_ADD_SQL}`, ['', '', '{}', '', '', '', '', '{}', '{}', 0, 0, 0]);
      return undefined;
    },
  };
}
