import type { IQueueBackend, JobsOptions, RedisClient } from 'bullmq';
import { WriteBatcher } from './write-batcher.js';

/*
 * Everything that depends on the layout of BullMQ's data: atomic operations that BullMQ does not offer. `probeSchema` checks
 * at the start that the layout is the expected one.
 */

interface RedisBackend {
  client: Promise<RedisClient>;
}

interface PostgresBackend {
  query(sql: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/** A write to a job by the worker that holds it. */
export interface FencedUpdate {
  jobId: string;
  /** Lock token of the worker. Nothing is written if another worker holds the job. */
  token: string;
  /** `version` counts the writes: a write whose answer was lost may arrive late and must not undo a newer one. */
  data: object & { version?: number | undefined };
  /** A check job that is added in the same operation, even if the first job is not written. */
  checkJob?: DelayedJob | undefined;
}

export interface DelayedJob {
  name: string;
  data: object;
  opts: JobsOptions & { jobId: string; delay: number; attempts: number };
}

export interface UpdateResult {
  replaced: boolean;
  /** False if a check job with this id existed. */
  added: boolean;
}

/** What is known of the message that has a job id. */
export interface KnownJob {
  digest: string;
  /** Unix time in milliseconds at which the message settled. */
  finishedOn?: number | undefined;
}

/** A row for the log of a job, which is run now. Without a row it is only run. */
export interface Note {
  jobId: string;
  row?: string | undefined;
}

export type Noted = 'missing' | 'runs' | 'notDelayed';

export interface StoreOperations {
  /** Looks jobs up by id, all with one request. */
  lookUp(jobIds: string[]): Promise<(KnownJob | undefined)[]>;
  /** Appends the rows to the logs of delayed jobs and runs these now, all with one request. */
  note(notes: Note[]): Promise<Noted[]>;
  /** Replaces the data of a message that no worker holds and that has not been sent. */
  replaceUnsent(jobId: string, data: object): Promise<boolean>;
  /** Updates a job and may add a check job. Updates at the same time are batched. */
  update(keeping: FencedUpdate): Promise<UpdateResult>;
  /**
   * Removes the jobs that were completed before `at` (Unix time in milliseconds), and BullMQ's events of that time, which
   * contain ids. A new job with the same id stays. The work is done in small steps.
   */
  removeCompleted(at: number): Promise<void>;
}

/** Jobs removed in one step, which blocks the store. */
const REMOVE_AT_ONCE = 1_000;
const REMOVE_EVENTS_LUA = `return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])`;
const REPLACE_UNSENT_LUA = `
  local data = redis.call('HGET', KEYS[1], 'data')
  if not data or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
  data = cjson.decode(data)
  if data.state or data.sendStartedAt then return 0 end
  redis.call('HSET', KEYS[1], 'data', ARGV[1])
  return 1`;
const LOOK_UP_LUA = `
  local known = {}
  for n, id in ipairs(ARGV) do
    local data, finishedOn = unpack(redis.call('HMGET', KEYS[1] .. id, 'data', 'finishedOn'))
    known[n] = { data and cjson.decode(data).digest or '', finishedOn or '' }
  end
  return known`;
/** Arguments: the time; then job and row of each note. Results: -1 for a missing job, 0 for one that runs, -3 for any other. */
const NOTE_LUA = `
  local jobs, now, done = KEYS[1], tonumber(ARGV[1]), {}
  for at = 2, #ARGV, 2 do
    local id, row, code = ARGV[at], ARGV[at + 1], -1
    if redis.call('EXISTS', jobs .. id) == 1 then
      if row ~= '' then redis.call('RPUSH', jobs .. id .. ':logs', row) end
      code = redis.call('ZSCORE', jobs .. 'delayed', id) and 0 or -3
      if code == 0 then
        redis.call('ZADD', jobs .. 'delayed', now * 0x1000, id)
        redis.call('ZADD', jobs .. 'marker', now, '1')
      end
    end
    done[#done + 1] = code
  end
  return done`;
const NOTED: Record<string, Noted> = { '-1': 'missing', '0': 'runs', '-3': 'notDelayed' };
/** Arguments of each update: job, token, data, and the id of the check job or ''; then its name, data, options and delay. */
const UPDATE_LUA = `
  local jobs, others, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
  local done, at = {}, 2
  local function add(key, id, name, data, opts, delay)
    if redis.call('EXISTS', key) == 1 then
      -- It may have been added by this update, whose answer was lost.
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
  -- Workers sleep until the first delayed job is due.
  local first = redis.call('ZRANGE', others .. 'delayed', 0, 0, 'WITHSCORES')[2]
  if first then redis.call('ZADD', others .. 'marker', tonumber(first) / 0x1000, '1') end
  return done`;

/** `backend` belongs to the queue whose keys start with `jobs`; `checks` is the key prefix of the check queue. */
export function redisOperations(backend: IQueueBackend, jobs: string, checks: string): StoreOperations {
  const defined = (backend as unknown as RedisBackend).client.then((client) => {
    client.defineCommand('rtSmsReplaceUnsent', { numberOfKeys: 2, lua: REPLACE_UNSENT_LUA });
    client.defineCommand('rtSmsLookUp', { numberOfKeys: 1, lua: LOOK_UP_LUA });
    client.defineCommand('rtSmsNote', { numberOfKeys: 1, lua: NOTE_LUA });
    client.defineCommand('rtSmsUpdate', { numberOfKeys: 2, lua: UPDATE_LUA });
    client.defineCommand('rtSmsRemoveEvents', { numberOfKeys: 1, lua: REMOVE_EVENTS_LUA });
    return client;
  });
  const write = async (all: FencedUpdate[]): Promise<UpdateResult[]> => {
    const args: (string | number)[] = [jobs, checks, Date.now()];
    for (const { jobId, token, data, checkJob } of all) {
      args.push(jobId, token, JSON.stringify(data), checkJob?.opts.jobId ?? '');
      if (checkJob)
        args.push(checkJob.name, JSON.stringify(checkJob.data), JSON.stringify(checkJob.opts), checkJob.opts.delay);
    }
    const done = (await (await defined).runCommand('rtSmsUpdate', args)) as number[];
    return done.map((kept) => ({ replaced: kept % 2 === 1, added: kept >= 2 }));
  };
  const batcher = new WriteBatcher<FencedUpdate, UpdateResult>(write, async (one) => (await write([one]))[0]!);
  return {
    lookUp: async (jobIds) => {
      const known = (await (await defined).runCommand('rtSmsLookUp', [jobs, ...jobIds])) as [string, string][];
      return known.map(([digest, finishedOn]) =>
        digest === '' ? undefined : { digest, finishedOn: finishedOn === '' ? undefined : Number(finishedOn) },
      );
    },
    note: async (notes) => {
      const args = notes.flatMap(({ jobId, row = '' }) => [jobId, row]);
      const codes = (await (await defined).runCommand('rtSmsNote', [jobs, Date.now(), ...args])) as number[];
      return codes.map((code) => NOTED[code]!);
    },
    replaceUnsent: async (jobId, data) => {
      const keys = [`${jobs}${jobId}`, `${jobs}${jobId}:lock`];
      return (await (await defined).runCommand('rtSmsReplaceUnsent', [...keys, JSON.stringify(data)])) === 1;
    },
    update: (one) => batcher.write(one),
    removeCompleted: async (at) => {
      while ((await backend.cleanJobsByState('completed', at, REMOVE_AT_ONCE)).length === REMOVE_AT_ONCE);
      await (await defined).runCommand('rtSmsRemoveEvents', [`${jobs}events`, at]);
    },
  };
}

const REPLACE_UNSENT_SQL = `UPDATE job SET data = $3::jsonb
  WHERE queue = $1 AND id = $2 AND state IN ('waiting', 'delayed')
  AND data->'state' IS NULL AND data->'sendStartedAt' IS NULL RETURNING id`;
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

export function postgresOperations(backend: IQueueBackend, jobs: string, checks: string): StoreOperations {
  const query = (sql: string, values: unknown[]) => (backend as unknown as PostgresBackend).query(sql, values);
  const write = async (all: FencedUpdate[], sql: string): Promise<UpdateResult[]> => {
    const steps = all.map(({ jobId, token, data, checkJob }, n) => {
      const step = { n, id: jobId, token, data };
      if (!checkJob) return step;
      const { name, data: others, opts } = checkJob;
      return { ...step, other: opts.jobId, name, others, opts, delay: opts.delay, attempts: opts.attempts };
    });
    const { rows } = await query(sql, [jobs, checks, JSON.stringify(steps), Date.now()]);
    const kept: UpdateResult[] = [];
    for (const { n, replaced, added } of rows as unknown as (UpdateResult & { n: number })[])
      kept[n] = { replaced, added };
    return kept;
  };
  const writeOne = async (one: FencedUpdate) => (await write([one], updateSql(false)))[0]!;
  const batcher = new WriteBatcher<FencedUpdate, UpdateResult>(
    async (all) => (await write(all, updateSql(true))).map((kept) => (kept.replaced ? kept : undefined)),
    writeOne,
  );
  return {
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
      const { rows } = await query(NOTE_SQL, [jobs, JSON.stringify(steps), Date.now()]);
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
