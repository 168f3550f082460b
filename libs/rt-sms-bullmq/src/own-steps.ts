import type { IQueueBackend, JobsOptions, RedisClient } from 'bullmq';
import { Together } from './together.js';

/*
 * All that reaches into BullMQ's layout: steps that BullMQ has not, each of them one that no other worker can come between.
 * `misfit` finds out at the start whether the layout is still the one that is known here.
 */

interface RedisBackend {
  client: Promise<RedisClient>;
}

interface PostgresBackend {
  query(sql: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/** What a worker writes into the job that it has in its hands. */
export interface Keeping {
  jobId: string;
  /** Of the worker. Nothing is written where the job is no longer its own. */
  token: string;
  /** `edition` counts the writes: one whose answer was lost may come late, and must not undo the next. */
  data: object & { edition?: number | undefined };
  /** Another job, of the queue of checks, that is added in the same go, whether or not the first one is written. */
  other?: DelayedJob | undefined;
}

export interface DelayedJob {
  name: string;
  data: object;
  opts: JobsOptions & { jobId: string; delay: number; attempts: number };
}

export interface Kept {
  replaced: boolean;
  /** False where there was another one of its id. */
  added: boolean;
}

export interface OwnSteps {
  /** Writes `data` where nobody works on the message, nor did. */
  replaceUnsent(jobId: string, data: object): Promise<boolean>;
  /** Many that are asked for at once are one write. */
  keep(keeping: Keeping): Promise<Kept>;
  /**
   * Removes the jobs that were completed before `at` (Unix time in milliseconds), and BullMQ's events of that time, which hold
   * ids; but nothing that is added meanwhile under one of the ids. The work is done in small steps.
   */
  forget(at: number): Promise<void>;
}

/** Each step of a removal holds the store up for as long as it lasts. */
const FORGET_AT_ONCE = 1_000;
const FORGET_EVENTS_LUA = `return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])`;
const REPLACE_UNSENT_LUA = `
  local data = redis.call('HGET', KEYS[1], 'data')
  if not data or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
  data = cjson.decode(data)
  if data.state or data.intent then return 0 end
  redis.call('HSET', KEYS[1], 'data', ARGV[1])
  return 1`;
/** Of each: its job, token, data, and the id of the other one or nothing; then the name, data, options, times of that. */
const KEEP_LUA = `
  local jobs, others, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
  local done, at = {}, 2
  local function add(key, id, name, data, opts, delay)
    if redis.call('EXISTS', key) == 1 then
      -- What is there may have been added by this very step, whose answer was lost.
      return redis.call('HGET', key, 'data') == data and 2 or 0
    end
    redis.call('HSET', key, 'name', name, 'data', data, 'opts', opts, 'timestamp', now, 'delay', delay, 'priority', 0)
    redis.call('ZADD', others .. 'delayed', (now + delay) * 0x1000, id)
    return 2
  end
  while ARGV[at] do
    local key, kept = jobs .. ARGV[at], 0
    if redis.call('GET', key .. ':lock') == ARGV[at + 1] and redis.call('EXISTS', key) == 1 then
      redis.call('HSET', key, 'data', ARGV[at + 2])
      kept = 1
    end
    local id = ARGV[at + 3]
    at = at + 4
    if id ~= '' then
      kept = kept + add(others .. id, id, ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]))
      at = at + 4
    end
    done[#done + 1] = kept
  end
  -- Workers sleep until the first one is due.
  local first = redis.call('ZRANGE', others .. 'delayed', 0, 0, 'WITHSCORES')[2]
  if first then redis.call('ZADD', others .. 'marker', tonumber(first) / 0x1000, '1') end
  return done`;

/** `backend` is that of the queue whose keys begin with `jobs`. */
export function redisSteps(backend: IQueueBackend, jobs: string, others: string): OwnSteps {
  const defined = (backend as unknown as RedisBackend).client.then((client) => {
    client.defineCommand('rtSmsReplaceUnsent', { numberOfKeys: 2, lua: REPLACE_UNSENT_LUA });
    client.defineCommand('rtSmsKeep', { numberOfKeys: 2, lua: KEEP_LUA });
    client.defineCommand('rtSmsForgetEvents', { numberOfKeys: 1, lua: FORGET_EVENTS_LUA });
    return client;
  });
  const write = async (all: Keeping[]): Promise<Kept[]> => {
    const args: (string | number)[] = [jobs, others, Date.now()];
    for (const { jobId, token, data, other } of all) {
      args.push(jobId, token, JSON.stringify(data), other?.opts.jobId ?? '');
      if (other) args.push(other.name, JSON.stringify(other.data), JSON.stringify(other.opts), other.opts.delay);
    }
    const done = (await (await defined).runCommand('rtSmsKeep', args)) as number[];
    return done.map((kept) => ({ replaced: kept % 2 === 1, added: kept >= 2 }));
  };
  const together = new Together<Keeping, Kept>(write, async (one) => (await write([one]))[0]!);
  return {
    replaceUnsent: async (jobId, data) => {
      const keys = [`${jobs}${jobId}`, `${jobs}${jobId}:lock`];
      return (await (await defined).runCommand('rtSmsReplaceUnsent', [...keys, JSON.stringify(data)])) === 1;
    },
    keep: (one) => together.do(one),
    forget: async (at) => {
      while ((await backend.cleanJobsByState('completed', at, FORGET_AT_ONCE)).length === FORGET_AT_ONCE);
      await (await defined).runCommand('rtSmsForgetEvents', [`${jobs}events`, at]);
    },
  };
}

const REPLACE_UNSENT_SQL = `UPDATE job SET data = $3::jsonb
  WHERE queue = $1 AND id = $2 AND state IN ('waiting', 'delayed')
  AND data->'state' IS NULL AND data->'intent' IS NULL RETURNING id`;
/** What another replica removes just now is left to it. The last two conditions are for a job that has changed meanwhile. */
const FORGET_SQL = `WITH old AS (
    SELECT id FROM job WHERE queue = $1 AND state = 'completed' AND finished_at_ms < $2
    ORDER BY finished_at_ms LIMIT ${FORGET_AT_ONCE} FOR UPDATE SKIP LOCKED
  )
  DELETE FROM job USING old WHERE queue = $1 AND job.id = old.id AND state = 'completed' AND finished_at_ms < $2
  RETURNING 1`;
const FORGET_EVENTS_SQL = `DELETE FROM event WHERE queue = $1 AND created_at_ms < $2`;
/**
 * Of many, those whose job another one has locked just now are left, for two that wait for each other would be a deadlock.
 * A statement that its client has given up may still be carried out: an older edition writes nothing. (Redis answers in
 * order, and what a broken connection has sent is done before a new one is ready.)
 * Workers are woken only where they would sleep for longer: those that notify commit one after the other.
 */
const keepSql = (many: boolean) => `WITH step AS (
    SELECT * FROM jsonb_to_recordset($3::jsonb) AS step(
      n int, id text, token text, data jsonb, other text, name text, others jsonb, opts jsonb, delay bigint, attempts int)
  ), held AS (
    SELECT n FROM job JOIN step USING (id)
    WHERE queue = $1 AND state = 'active' AND lock_token = token
      AND coalesce((step.data->>'edition')::int, 0) >= coalesce((job.data->>'edition')::int, 0)
    FOR UPDATE OF job ${many ? 'SKIP LOCKED' : ''}
  ), replaced AS (
    UPDATE job SET data = step.data FROM step JOIN held USING (n)
    WHERE queue = $1 AND job.id = step.id AND state = 'active' AND lock_token = token RETURNING n
  ), added AS (
    INSERT INTO job (queue, id, seq, name, state, data, opts, delay_ms, max_attempts, added_at_ms, process_at_ms)
    SELECT $2, other, nextval('job_seq'), name, 'delayed', others, opts, delay, attempts, $4::bigint, $4::bigint + delay
    FROM step WHERE other IS NOT NULL ${many ? 'AND n IN (SELECT n FROM replaced)' : ''}
    ON CONFLICT (queue, id) DO NOTHING RETURNING id, process_at_ms
  ), woken AS (
    SELECT pg_notify('bullmq_jobs', $2) FROM (SELECT min(process_at_ms) AS first FROM added) AS next
    WHERE first IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM job WHERE queue = $2 AND state = 'delayed' AND process_at_ms <= first)
  )
  SELECT n, n IN (SELECT n FROM replaced) AS replaced, other IN (SELECT id FROM added) IS TRUE AS added,
    (SELECT count(*) FROM woken) AS woken FROM step`;

export function postgresSteps(backend: IQueueBackend, jobs: string, others: string): OwnSteps {
  const query = (sql: string, values: unknown[]) => (backend as unknown as PostgresBackend).query(sql, values);
  const write = async (all: Keeping[], sql: string): Promise<Kept[]> => {
    const steps = all.map(({ jobId, token, data, other }, n) => {
      const step = { n, id: jobId, token, data };
      if (!other) return step;
      const { name, data: others, opts } = other;
      return { ...step, other: opts.jobId, name, others, opts, delay: opts.delay, attempts: opts.attempts };
    });
    const { rows } = await query(sql, [jobs, others, JSON.stringify(steps), Date.now()]);
    const kept: Kept[] = [];
    for (const { n, replaced, added } of rows as unknown as (Kept & { n: number })[]) kept[n] = { replaced, added };
    return kept;
  };
  const alone = async (one: Keeping) => (await write([one], keepSql(false)))[0]!;
  const together = new Together<Keeping, Kept>(
    async (all) => (await write(all, keepSql(true))).map((kept) => (kept.replaced ? kept : undefined)),
    alone,
  );
  return {
    replaceUnsent: async (jobId, data) =>
      (await query(REPLACE_UNSENT_SQL, [jobs, jobId, JSON.stringify(data)])).rows.length === 1,
    keep: (one) => together.do(one),
    // BullMQ's own looks for ids first, and may then delete what is new under one of them (bullmq 6.7).
    forget: async (at) => {
      while ((await query(FORGET_SQL, [jobs, at])).rows.length === FORGET_AT_ONCE);
      await query(FORGET_EVENTS_SQL, [jobs, at]);
    },
  };
}
