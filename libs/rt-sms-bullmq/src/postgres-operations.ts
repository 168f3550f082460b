import type { IQueueBackend } from 'bullmq';
import {
  NOTED,
  REMOVE_AT_ONCE,
  type FencedUpdate,
  type Inbox,
  type StoreOperations,
  type UpdateResult,
} from './operations.js';
import { queryCreating, type PostgresBackend } from './postgres-backend.js';
import { WriteBatcher } from './write-batcher.js';

const REPLACE_UNSENT_SQL = `UPDATE job SET data = $3::jsonb
  WHERE queue = $1 AND id = $2 AND state IN ('waiting', 'delayed')
  AND data->'state' IS NULL AND data->'sendStartedAt' IS NULL RETURNING id`;
const INBOX_SQL = `SELECT
  ARRAY(SELECT row FROM job_log WHERE queue = $2 AND job_id = $3 ORDER BY idx OFFSET $4) AS rows,
  EXISTS (SELECT 1 FROM job WHERE queue = $1 AND id = $5 AND finished_at_ms IS NULL AND data->'failures' IS NULL)
    AS "isAnnouncing"`;
const NOW_SQL = 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now';
const CREATE_RATE_SQL =
  'CREATE TABLE IF NOT EXISTS rt_sms_rate (queue text PRIMARY KEY, reserved_until timestamptz NOT NULL)';
const RESERVE_SQL = `INSERT INTO rt_sms_rate AS rate (queue, reserved_until)
  VALUES ($1, clock_timestamp() + $2 * interval '1 ms')
  ON CONFLICT (queue) DO UPDATE
    SET reserved_until = greatest(rate.reserved_until, clock_timestamp()) + $2 * interval '1 ms'
  RETURNING extract(epoch FROM reserved_until - clock_timestamp()) * 1000 - $2 AS "waitMs"`;
const LOOK_UP_SQL = `SELECT id, data->>'digest' AS digest, finished_at_ms AS "finishedOn" FROM job WHERE queue = $1 AND id = ANY($2)`;
/** Jobs are locked in one order, because two batches that wait for each other would deadlock. */
const NOTE_SQL = `WITH note AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS note(n int, id text, row text)
  ), known AS (
    SELECT id FROM job WHERE queue = $1 AND id IN (SELECT id FROM note) ORDER BY id FOR NO KEY UPDATE
  ), logged AS (
    INSERT INTO job_log (queue, job_id, idx, row)
    SELECT $1, id, row_number() OVER (PARTITION BY id ORDER BY n)
      + coalesce((SELECT max(idx) FROM job_log WHERE queue = $1 AND job_id = id), -1), row
    FROM note JOIN known USING (id) WHERE row IS NOT NULL
  ), due AS MATERIALIZED (
    SELECT id, change_delay($1, id, 0, $3) AS code FROM known
  )
  SELECT n, coalesce(code, -1) AS code FROM note LEFT JOIN due USING (id) ORDER BY n`;
/** Skips rows that another replica is removing. The last two conditions exclude a job that has changed in the meantime. */
const REMOVE_SQL = `WITH old AS (
    SELECT id FROM job WHERE queue = $1 AND state = 'completed' AND finished_at_ms < $2
    ORDER BY finished_at_ms LIMIT ${REMOVE_AT_ONCE} FOR UPDATE SKIP LOCKED
  )
  DELETE FROM job USING old WHERE queue = $1 AND job.id = old.id AND state = 'completed' AND finished_at_ms < $2
  RETURNING 1`;
const REMOVE_EVENTS_SQL = `DELETE FROM event WHERE queue = $1 AND created_at_ms < $2`;
/**
 * A batch skips jobs that are locked, because two batches that wait for each other would deadlock. A statement that its
 * client has abandoned may still run, so an older version writes nothing. (Redis executes in order, and the commands of a
 * broken connection are done before a new one is ready.) Workers are notified only if they would sleep too long, because
 * transactions that notify commit one after the other.
 */
const updateSql = (many: boolean) => `WITH step AS (
    SELECT * FROM jsonb_to_recordset($3::jsonb) AS step(
      n int, id text, token text, data jsonb, other text, name text, others jsonb, opts jsonb, delay bigint, attempts int)
  ), held AS (
    SELECT n FROM job JOIN step USING (id)
    WHERE queue = $1 AND state = 'active' AND lock_token = token
      AND coalesce((step.data->>'version')::int, 0) >= coalesce((job.data->>'version')::int, 0)
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

export function postgresOperations(
  backend: IQueueBackend,
  jobs: string,
  checks: string,
  now: () => number,
): StoreOperations {
  const query = (sql: string, values: unknown[]) => (backend as unknown as PostgresBackend).query(sql, values);
  const write = async (all: FencedUpdate[], sql: string): Promise<UpdateResult[]> => {
    const steps = all.map(({ jobId, token, data, checkJob }, n) => {
      const step = { n, id: jobId, token, data };
      if (!checkJob) return step;
      const { name, data: others, opts } = checkJob;
      return { ...step, other: opts.jobId, name, others, opts, delay: opts.delay, attempts: opts.attempts };
    });
    const { rows } = await query(sql, [jobs, checks, JSON.stringify(steps), now()]);
    const kept: UpdateResult[] = [];
    for (const { n, replaced, added } of rows as unknown as (UpdateResult & { n: number })[])
      kept[n] = { replaced, added };
    return kept;
  };
  const withRate = queryCreating(backend as unknown as PostgresBackend, [CREATE_RATE_SQL]);
  const writeOne = async (one: FencedUpdate) => (await write([one], updateSql(false)))[0]!;
  const batcher = new WriteBatcher<FencedUpdate, UpdateResult>(
    async (all) => (await write(all, updateSql(true))).map((kept) => (kept.replaced ? kept : undefined)),
    writeOne,
  );
  return {
    inbox: async (checkJobId, from, sendJobId) => {
      const { rows } = await query(INBOX_SQL, [jobs, checks, checkJobId, from, sendJobId ?? null]);
      return rows[0] as unknown as Inbox;
    },
    now: async () => Number((await query(NOW_SQL, [])).rows[0]!.now),
    reserve: async (forMs) => Number((await withRate(RESERVE_SQL, [jobs, forMs])).rows[0]!.waitMs),
    lookUp: async (jobIds) => {
      const { rows } = await query(LOOK_UP_SQL, [jobs, jobIds]);
      const known = new Map(rows.map(({ id, digest, finishedOn }) => [id, { digest, finishedOn }]));
      return jobIds.map((id) => {
        const job = known.get(id);
        const { digest, finishedOn } = job ?? {};
        return job && { digest: String(digest), finishedOn: finishedOn === null ? undefined : Number(finishedOn) };
      });
    },
    note: async (notes) => {
      const steps = notes.map(({ jobId, row }, n) => ({ n, id: jobId, row }));
      const { rows } = await query(NOTE_SQL, [jobs, JSON.stringify(steps), now()]);
      return rows.map(({ code }) => NOTED[String(code)]!);
    },
    replaceUnsent: async (jobId, data) =>
      (await query(REPLACE_UNSENT_SQL, [jobs, jobId, JSON.stringify(data)])).rows.length === 1,
    update: (one) => batcher.write(one),
    // BullMQ's own removal selects ids first, and may then delete a new job with one of these ids (bullmq 6.7).
    removeCompleted: async (at) => {
      while ((await query(REMOVE_SQL, [jobs, at])).rows.length === REMOVE_AT_ONCE);
      await query(REMOVE_EVENTS_SQL, [jobs, at]);
    },
  };
}
