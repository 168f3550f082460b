import type { IQueueBackend, RedisClient } from 'bullmq';
import { NOTED, REMOVE_AT_ONCE, type FencedUpdate, type StoreOperations, type UpdateResult } from './operations.js';
import { WriteBatcher } from './write-batcher.js';

export interface RedisBackend {
  client: Promise<RedisClient>;
}

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
const INBOX_LUA = `
  local rows = redis.call('LRANGE', KEYS[2] .. ARGV[1] .. ':logs', ARGV[2], -1)
  if ARGV[3] == '' then return { rows, 0 } end
  local data, finishedOn = unpack(redis.call('HMGET', KEYS[1] .. ARGV[3], 'data', 'finishedOn'))
  return { rows, data and not finishedOn and not cjson.decode(data).failures and 1 or 0 }`;
const NOW_LUA = `local now = redis.call('TIME') return now[1] .. string.format('%06d', now[2])`;
/** The key holds the time in milliseconds up to which the rate is reserved. */
const RESERVE_LUA = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + time[2] / 1000
  local from = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
  local waitMs = from - now
  redis.call('SET', KEYS[1], string.format('%.3f', from + ARGV[1]), 'PX', math.ceil(waitMs + ARGV[1]) + 1000)
  return string.format('%.3f', waitMs)`;
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
export function redisOperations(
  backend: IQueueBackend,
  jobs: string,
  checks: string,
  now: () => number,
): StoreOperations {
  const defined = (backend as unknown as RedisBackend).client.then((client) => {
    client.defineCommand('rtSmsReplaceUnsent', { numberOfKeys: 2, lua: REPLACE_UNSENT_LUA });
    client.defineCommand('rtSmsLookUp', { numberOfKeys: 1, lua: LOOK_UP_LUA });
    client.defineCommand('rtSmsInbox', { numberOfKeys: 2, lua: INBOX_LUA });
    client.defineCommand('rtSmsNow', { numberOfKeys: 0, lua: NOW_LUA });
    client.defineCommand('rtSmsReserve', { numberOfKeys: 1, lua: RESERVE_LUA });
    client.defineCommand('rtSmsNote', { numberOfKeys: 1, lua: NOTE_LUA });
    client.defineCommand('rtSmsUpdate', { numberOfKeys: 2, lua: UPDATE_LUA });
    client.defineCommand('rtSmsRemoveEvents', { numberOfKeys: 1, lua: REMOVE_EVENTS_LUA });
    return client;
  });
  const write = async (all: FencedUpdate[]): Promise<UpdateResult[]> => {
    const args: (string | number)[] = [jobs, checks, now()];
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
    inbox: async (checkJobId, from, sendJobId = '') => {
      const args = [jobs, checks, checkJobId, from, sendJobId];
      const [rows, isAnnouncing] = (await (await defined).runCommand('rtSmsInbox', args)) as [string[], number];
      return { rows, isAnnouncing: isAnnouncing === 1 };
    },
    now: async () => Number(await (await defined).runCommand('rtSmsNow', [])) / 1_000,
    reserve: async (forMs) => Number(await (await defined).runCommand('rtSmsReserve', [`${jobs}rate`, forMs])),
    lookUp: async (jobIds) => {
      const known = (await (await defined).runCommand('rtSmsLookUp', [jobs, ...jobIds])) as [string, string][];
      return known.map(([digest, finishedOn]) =>
        digest === '' ? undefined : { digest, finishedOn: finishedOn === '' ? undefined : Number(finishedOn) },
      );
    },
    note: async (notes) => {
      const args = notes.flatMap(({ jobId, row = '' }) => [jobId, row]);
      const codes = (await (await defined).runCommand('rtSmsNote', [jobs, now(), ...args])) as number[];
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
