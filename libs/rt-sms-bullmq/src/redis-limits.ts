import type { IQueueBackend } from 'bullmq';
import type { GroupResult, LimitOperations } from './limit-operations.js';
import type { RedisBackend } from './redis-operations.js';

/**
 * Keys: `<key>` is a sorted set of times, `<key>:n` a hash of the units at each time with their sum in `s`; `c:<id>` lists what
 * a message was counted in. Arguments: the time for which a settled id is kept, and the groups as JSON.
 */
const TAKE_LUA = `
  local jobs, root, keepMs = KEYS[1], KEYS[1] .. 'limit:', tonumber(ARGV[1])
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local function isQueued(id)
    if id == '' then return false end
    local data, finishedOn = unpack(redis.call('HMGET', jobs .. id, 'data', 'finishedOn'))
    return data and not (finishedOn and tonumber(finishedOn) + keepMs < now)
  end
  local function isCounted(charge)
    if isQueued(charge.jobId) then return true end
    local known = redis.call('GET', root .. 'c:' .. charge.id)
    if not known then return false end
    -- After this time an id of the caller may belong to a new message.
    return charge.jobId == '' or tonumber(cjson.decode(known).at) + keepMs >= now
  end
  local function sumOf(key, perMs)
    local old = redis.call('ZRANGEBYSCORE', key, '-inf', now - perMs)
    local sum = tonumber(redis.call('HGET', key .. ':n', 's') or 0)
    for _, at in ipairs(old) do
      sum = sum - tonumber(redis.call('HGET', key .. ':n', at) or 0)
      redis.call('HDEL', key .. ':n', at)
    end
    if #old > 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now - perMs)
      redis.call('HSET', key .. ':n', 's', sum)
    end
    return sum
  end
  local function waitOf(key, need, sum)
    if need.units > need.max then return -1 end
    local tooMany = sum + need.units - need.max
    for _, at in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      tooMany = tooMany - tonumber(redis.call('HGET', key .. ':n', at) or 0)
      if tooMany <= 0 then return tonumber(at) + need.perMs - now end
    end
    return need.perMs
  end
  local function take(charges)
    local needs, fresh, seen = {}, {}, {}
    for _, charge in ipairs(charges) do
      if not seen[charge.id] and not isCounted(charge) then
        fresh[#fresh + 1] = charge
        seen[charge.id] = true
        for _, counter in ipairs(charge.counters) do
          local need = needs[counter.key] or { units = 0, max = counter.max, perMs = counter.perMs }
          need.units = need.units + counter.cost
          needs[counter.key] = need
        end
      end
    end
    local refused, longest = nil, 0
    for key, need in pairs(needs) do
      local sum = sumOf(root .. key, need.perMs)
      if sum + need.units > need.max then
        local wait = waitOf(root .. key, need, sum)
        if not refused or (longest ~= -1 and (wait == -1 or wait > longest)) then refused, longest = key, wait end
      end
    end
    if refused then return { refused = refused, waitMs = longest } end
    local taken = {}
    for _, charge in ipairs(fresh) do
      local parts, lastsMs = {}, 0
      for _, counter in ipairs(charge.counters) do
        local key, at = root .. counter.key, now
        if counter.stepMs > 0 then at = math.ceil((math.floor(now / counter.stepMs) + 1) * counter.stepMs) end
        at = string.format('%.0f', at)
        redis.call('ZADD', key, at, at)
        redis.call('HINCRBY', key .. ':n', at, counter.cost)
        redis.call('HINCRBY', key .. ':n', 's', counter.cost)
        local ms = counter.perMs + math.ceil(counter.stepMs) + 1000
        redis.call('PEXPIRE', key, ms)
        redis.call('PEXPIRE', key .. ':n', ms)
        parts[#parts + 1] = { counter.key, at, counter.cost }
        lastsMs = math.max(lastsMs, ms)
      end
      local known = cjson.encode({ at = string.format('%.0f', now), parts = parts })
      redis.call('SET', root .. 'c:' .. charge.id, known, 'PX', lastsMs)
      taken[#taken + 1] = charge.id
    end
    return { taken = taken }
  end
  local results = {}
  for n, group in ipairs(cjson.decode(ARGV[2])) do
    local result = take(group)
    results[n] = result.refused and { result.refused, tostring(result.waitMs) } or { '', unpack(result.taken) }
  end
  return results`;
const GIVE_BACK_LUA = `
  local root = KEYS[1] .. 'limit:'
  for _, id in ipairs(ARGV) do
    local known = redis.call('GET', root .. 'c:' .. id)
    redis.call('DEL', root .. 'c:' .. id)
    for _, part in ipairs(known and cjson.decode(known).parts or {}) do
      local counts = root .. part[1] .. ':n'
      -- Those that have left the window are not in the sum any more.
      if redis.call('HEXISTS', counts, part[2]) == 1 then
        redis.call('HINCRBY', counts, 's', -part[3])
        if redis.call('HINCRBY', counts, part[2], -part[3]) == 0 then
          redis.call('HDEL', counts, part[2])
          redis.call('ZREM', root .. part[1], part[2])
        end
      end
    end
  end`;

/** Counters of the send policy in Redis; `jobs` is the key prefix of the send queue. */
export function redisLimits(backend: IQueueBackend, jobs: string): LimitOperations {
  const defined = (backend as unknown as RedisBackend).client.then((client) => {
    client.defineCommand('rtSmsTake', { numberOfKeys: 1, lua: TAKE_LUA });
    client.defineCommand('rtSmsGiveBack', { numberOfKeys: 1, lua: GIVE_BACK_LUA });
    return client;
  });
  return {
    take: async (groups, idempotencyMs) => {
      const args = [jobs, idempotencyMs, JSON.stringify(groups)];
      const results = (await (await defined).runCommand('rtSmsTake', args)) as string[][];
      return results.map(([refused = '', ...rest]): GroupResult =>
        refused === '' ? { taken: rest } : { refused, waitMs: Number(rest[0]) },
      );
    },
    giveBack: async (ids) => void (await (await defined).runCommand('rtSmsGiveBack', [jobs, ...ids])),
    // Keys expire by themselves.
    sweep: async () => undefined,
  };
}
