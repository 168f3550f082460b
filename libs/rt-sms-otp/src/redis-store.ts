import { createHash } from 'node:crypto';
import type { NewOtpChallenge, OtpRecord, OtpState, OtpStep, OtpStore } from './store.js';

/** Options of the store in Redis. */
export interface RedisOtpStoreOptions {
  /** URL of a Redis 5 or newer, options of `ioredis`, or a client of `ioredis`, which the store does not close. */
  connection: string | object;
  /** Prefix of the keys. @default 'rt-sms-otp' */
  prefix?: string;
}

/** A client of `ioredis`, as far as the store uses it. */
interface RedisClient {
  eval(script: string, keys: number, ...rest: (string | number)[]): Promise<unknown>;
  evalsha(sha: string, keys: number, ...rest: (string | number)[]): Promise<unknown>;
  ping(): Promise<unknown>;
  del(key: string): Promise<unknown>;
  disconnect(): void;
}

// Without limits a request would wait for as long as Redis is down.
const LIMITS = { maxRetriesPerRequest: 1, connectTimeout: 5_000, commandTimeout: 5_000 };

const CLOCK = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;
const CREATE = `${CLOCK}redis.call('HSET', KEYS[1], 'sealed', ARGV[1], 'expires', now + ARGV[2], 'left', ARGV[3], 'sends', 1,
  'resend', now + ARGV[4])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])`;
const STEP = `${CLOCK}local row = redis.call('HMGET', KEYS[1], 'sealed', 'expires', 'left', 'sends', 'resend', 'used')
if not row[1] then return false end
local expires, left, sends, resend = row[2] + 0, row[3] + 0, row[4] + 0, row[5] + 0
local state = row[6] and 'used' or expires <= now and 'expired' or left <= 0 and 'locked' or 'open'
local step, done = ARGV[1], 1
if step == 'attempt' and state == 'open' then left = redis.call('HINCRBY', KEYS[1], 'left', -1)
elseif step == 'use' and state ~= 'used' then redis.call('HSET', KEYS[1], 'used', 1)
elseif step == 'resend' and state == 'open' and resend <= now then
  sends = sends + 1
  resend = now + ARGV[math.min(sends + 1, #ARGV)]
  redis.call('HSET', KEYS[1], 'sends', sends, 'resend', resend)
elseif step == 'undo' and sends == tonumber(ARGV[2]) then
  sends, resend = sends - 1, now
  redis.call('HSET', KEYS[1], 'sends', sends, 'resend', resend)
else done = 0 end
return { state, done, row[1], left, sends, resend - now, expires - now }`;
const STEP_SHA = createHash('sha1').update(STEP).digest('hex');

class RedisOtpStore implements OtpStore {
  private client: Promise<RedisClient> | undefined;

  constructor(private readonly options: RedisOtpStoreOptions) {}

  prepare(): Promise<unknown> {
    return this.use((client) => client.ping());
  }

  create(id: string, { sealed, ttlMs, attempts, resendAfterMs }: NewOtpChallenge): Promise<unknown> {
    return this.use((client) => client.eval(CREATE, 1, this.key(id), sealed, ttlMs, attempts, resendAfterMs));
  }

  async step(id: string, step: OtpStep, numbers: readonly number[] = []): Promise<OtpRecord | undefined> {
    const answer = await this.use((client) =>
      client.evalsha(STEP_SHA, 1, this.key(id), step, ...numbers).catch((error: Error) => {
        // Redis has been started, or its scripts were removed. It has done nothing.
        if (!error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(STEP, 1, this.key(id), step, ...numbers);
      }),
    );
    if (!answer) return undefined;
    const [state, done, sealed, attemptsLeft, sends, resendInMs, expiresInMs] = answer as Answer;
    return { state, done: done === 1, sealed, attemptsLeft, sends, resendInMs, expiresInMs };
  }

  remove(id: string): Promise<unknown> {
    return this.use((client) => client.del(this.key(id)));
  }

  async close(): Promise<void> {
    if (!isClient(this.options.connection)) (await this.client)?.disconnect();
  }

  private key(id: string): string {
    return `${this.options.prefix ?? 'rt-sms-otp'}:${id}`;
  }

  private async use<T>(request: (client: RedisClient) => Promise<T>): Promise<T> {
    return request(await (this.client ??= open(this.options.connection)));
  }
}

type Answer = [
  state: OtpState,
  done: number,
  sealed: string,
  left: number,
  sends: number,
  resend: number,
  expires: number,
];
const isClient = (given: string | object): given is RedisClient => typeof given === 'object' && 'eval' in given;

async function open(connection: string | object): Promise<RedisClient> {
  if (isClient(connection)) return connection;
  const { Redis } = await import('ioredis');
  const client =
    typeof connection === 'string' ? new Redis(connection, LIMITS) : new Redis({ ...LIMITS, ...connection });
  // Each request reports its own error; without a listener ioredis would also write it to the console.
  return client.on('error', () => undefined);
}

/** A store in Redis (`ioredis`) for any number of replicas. Each step is one script. */
export const redisOtpStore = (options: RedisOtpStoreOptions): OtpStore => new RedisOtpStore(options);
