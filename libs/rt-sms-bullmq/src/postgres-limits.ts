import type { IQueueBackend } from 'bullmq';
import type { GroupResult, LimitOperations } from './limit-operations.js';
import { queryCreating, type PostgresBackend } from './postgres-backend.js';
import { isNotCreated } from './store-errors.js';

/** Version in the names of the functions, so that replicas of two versions do not replace each other's. */
const TAKE = 'rt_sms_take_1';
const GIVE_BACK = 'rt_sms_give_back_1';
const SWEPT_AT_ONCE = 5_000;

/** Times are Unix times in milliseconds. */
const CREATE_SQL = [
  `CREATE TABLE IF NOT EXISTS rt_sms_limit (
    queue text, key text, at bigint, units int NOT NULL, ends_at bigint NOT NULL, PRIMARY KEY (queue, key, at))`,
  `CREATE INDEX IF NOT EXISTS rt_sms_limit_ends ON rt_sms_limit (ends_at)`,
  `CREATE TABLE IF NOT EXISTS rt_sms_charge (
    queue text, id text, parts jsonb NOT NULL, at bigint NOT NULL, ends_at bigint NOT NULL, PRIMARY KEY (queue, id))`,
  `CREATE INDEX IF NOT EXISTS rt_sms_charge_ends ON rt_sms_charge (ends_at)`,
  // One lock for each account: groups are taken one after the other, so that none sees half of another. A crash of the server
  // may lose the counts of the last moments, but each commit would otherwise wait for the disk while it holds the lock.
  `CREATE OR REPLACE FUNCTION ${TAKE}(q text, keep_ms bigint, groups jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
  DECLARE
    now_ms bigint; members jsonb; member jsonb; charge_id text; job_id text; fresh jsonb; seen text[]; need record;
    total bigint; wait_ms bigint; longest bigint; refused text; results jsonb := '[]';
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(hashtextextended('rt_sms_limit ' || q, 0));
    FOR members IN SELECT value FROM jsonb_array_elements(groups) WITH ORDINALITY ORDER BY ordinality LOOP
      now_ms := extract(epoch FROM clock_timestamp()) * 1000;
      fresh := '[]'; seen := '{}';
      FOR member IN SELECT value FROM jsonb_array_elements(members) LOOP
        charge_id := member->>'id'; job_id := member->>'jobId';
        CONTINUE WHEN charge_id = ANY (seen);
        -- After this time an id of the caller may belong to a new message.
        CONTINUE WHEN EXISTS (SELECT 1 FROM rt_sms_charge WHERE queue = q AND id = charge_id AND ends_at > now_ms
          AND (job_id = '' OR at + keep_ms >= now_ms));
        CONTINUE WHEN job_id <> '' AND EXISTS (SELECT 1 FROM job WHERE queue = q AND id = job_id
          AND (finished_at_ms IS NULL OR finished_at_ms + keep_ms >= now_ms));
        fresh := fresh || jsonb_build_array(member); seen := seen || charge_id;
      END LOOP;
      refused := NULL; longest := 0;
      FOR need IN
        SELECT c->>'key' AS key, min((c->>'max')::bigint) AS max, max((c->>'perMs')::bigint) AS per_ms, sum((c->>'cost')::bigint) AS units
        FROM jsonb_array_elements(fresh) AS charge, jsonb_array_elements(charge->'counters') AS c GROUP BY 1
      LOOP
        SELECT coalesce(sum(units), 0) INTO total FROM rt_sms_limit
          WHERE queue = q AND key = need.key AND at > now_ms - need.per_ms;
        CONTINUE WHEN total + need.units <= need.max;
        IF need.units > need.max THEN wait_ms := -1; ELSE
          SELECT min(at) + need.per_ms - now_ms INTO wait_ms FROM (
            SELECT at, sum(units) OVER (ORDER BY at) AS freed FROM rt_sms_limit
            WHERE queue = q AND key = need.key AND at > now_ms - need.per_ms) AS times
          WHERE freed >= total + need.units - need.max;
        END IF;
        IF refused IS NULL OR (longest <> -1 AND (wait_ms = -1 OR wait_ms > longest)) THEN
          refused := need.key; longest := wait_ms;
        END IF;
      END LOOP;
      IF refused IS NOT NULL THEN
        results := results || jsonb_build_array(jsonb_build_object('refused', refused, 'waitMs', longest));
        CONTINUE;
      END IF;
      WITH part AS (
        SELECT charge->>'id' AS id, c->>'key' AS key, (c->>'cost')::int AS units, (c->>'perMs')::bigint AS per_ms,
          CASE WHEN (c->>'stepMs')::float8 = 0 THEN now_ms
            ELSE ceil((floor(now_ms / (c->>'stepMs')::float8) + 1) * (c->>'stepMs')::float8)::bigint END AS at
        FROM jsonb_array_elements(fresh) AS charge, jsonb_array_elements(charge->'counters') AS c
      ), counted AS (
        INSERT INTO rt_sms_limit AS l (queue, key, at, units, ends_at)
        SELECT q, key, at, sum(units), max(at + per_ms) FROM part GROUP BY key, at
        ON CONFLICT (queue, key, at) DO UPDATE SET units = l.units + excluded.units
      ), noted AS (
        INSERT INTO rt_sms_charge AS c (queue, id, parts, at, ends_at)
        SELECT q, id, jsonb_agg(jsonb_build_array(key, at, units)), now_ms, max(at + per_ms) FROM part GROUP BY id
        ON CONFLICT (queue, id) DO UPDATE SET parts = excluded.parts, at = excluded.at, ends_at = excluded.ends_at
      )
      SELECT results || jsonb_build_array(jsonb_build_object('taken', coalesce(jsonb_agg(charge->>'id'), '[]')))
        INTO results FROM jsonb_array_elements(fresh) AS charge;
    END LOOP;
    RETURN results;
  END $$`,
  `CREATE OR REPLACE FUNCTION ${GIVE_BACK}(q text, ids text[]) RETURNS void LANGUAGE plpgsql AS $$
  DECLARE part record;
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(hashtextextended('rt_sms_limit ' || q, 0));
    FOR part IN WITH gone AS (
        DELETE FROM rt_sms_charge WHERE queue = q AND id = ANY(ids) RETURNING parts
      )
      SELECT p->>0 AS key, (p->>1)::bigint AS at, sum((p->>2)::int) AS units
      FROM gone, jsonb_array_elements(parts) AS p GROUP BY 1, 2
    LOOP
      UPDATE rt_sms_limit l SET units = l.units - part.units WHERE l.queue = q AND l.key = part.key AND l.at = part.at;
      DELETE FROM rt_sms_limit l WHERE l.queue = q AND l.key = part.key AND l.at = part.at AND l.units <= 0;
    END LOOP;
  END $$`,
];
const sweepSql = (table: string) => `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${table}
  WHERE queue = $1 AND ends_at < extract(epoch FROM clock_timestamp()) * 1000 LIMIT ${SWEPT_AT_ONCE})) RETURNING 1`;

/** Counters of the send policy in PostgreSQL; `jobs` is the name of the send queue. */
export function postgresLimits(backend: IQueueBackend, jobs: string): LimitOperations {
  const postgres = backend as unknown as PostgresBackend;
  const query = queryCreating(postgres, CREATE_SQL);
  return {
    take: async (groups, idempotencyMs) => {
      const values = [jobs, Math.round(idempotencyMs), JSON.stringify(groups)];
      const { rows } = await query(`SELECT ${TAKE}($1, $2, $3::jsonb) AS results`, values);
      return rows[0]!.results as GroupResult[];
    },
    giveBack: async (ids) => void (await query(`SELECT ${GIVE_BACK}($1, $2::text[])`, [jobs, ids])),
    sweep: async () => {
      for (const table of ['rt_sms_limit', 'rt_sms_charge'])
        try {
          while ((await postgres.query(sweepSql(table), [jobs])).rows.length === SWEPT_AT_ONCE);
        } catch (error) {
          if (!isNotCreated(error)) throw error;
        }
    },
  };
}
