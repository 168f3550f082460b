import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { jest } from '@jest/globals';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { Redis } from 'ioredis';
import { RtSmsModule } from 'nestjs-rt-sms';
import {
  memoryOtpStore,
  postgresOtpStore,
  redisOtpStore,
  RtSmsOtpModule,
  RtSmsOtpService,
  type OtpStore,
  type OtpVerification,
} from 'nestjs-rt-sms-otp';
import { otpStoreConformance } from 'nestjs-rt-sms-otp/testing';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { Pool } from 'pg';
import { describeStores, startStore, type Service } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { open, otpKey } from '../../libs/rt-sms-otp/src/otp-code.js';
import type { OtpAnswer, OtpCommand, OtpSetting } from './replica-process.js';

jest.setTimeout(120_000);

const PROGRAM = fileURLToPath(new URL('./replica-process.ts', import.meta.url));
const LOADER = new URL('../child/ts.mjs', import.meta.url).href;
const SECRET = 'a secret of the replicas, 32 bytes';
const LOGIN = { purpose: 'login' };
const NUMBER = '+79270000001';

const storeOf = (service: Service): OtpStore =>
  'connection' in service.options ? redisOtpStore(service.options) : postgresOtpStore(service.options);

async function gatewayOf(): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  return gateway;
}

/** An application in this process; a store of the user's own is possible. */
async function applicationOf(gateway: RtSmsSimulator, store: OtpStore): Promise<RtSmsOtpService> {
  const account = RtSmsModule.forRoot({ ...gateway.options, shortcode: 'SHOP', callbackPath: false });
  const text = ({ code }: { code: string }) => `Code ${code}`;
  const module = await Test.createTestingModule({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsOtpModule.forRoot({ secret: SECRET, text, store, imports: [account] }),
    ],
  }).compile();
  await module.init();
  atEnd(() => module.close());
  return module.get(RtSmsOtpService);
}
const codeIn = (gateway: RtSmsSimulator, at = -1) => /\d{6}/.exec(gateway.messages.at(at)!.text)![0];

/** Ids of the challenges in the store, by their number. */
async function challengesIn({ options }: Service): Promise<Map<string, string>> {
  const rows: { id: string; sealed: string }[] = [];
  if ('connection' in options) {
    const client = new Redis(options.connection);
    for (const key of await client.keys('rt-sms-otp:*'))
      rows.push({ id: key.slice('rt-sms-otp:'.length), sealed: (await client.hget(key, 'sealed'))! });
    client.disconnect();
  } else {
    const pool = new Pool({ connectionString: options.postgres });
    rows.push(...(await pool.query<(typeof rows)[number]>('SELECT id, sealed FROM rt_sms_otp.challenge')).rows);
    await pool.end();
  }
  return new Map(rows.map(({ id, sealed }) => [open([otpKey(SECRET)], id, sealed)?.msisdn ?? '', id]));
}

/** From now on, each transaction of PostgreSQL that writes takes 20 ms longer, in new connections. */
async function slowDisk({ options }: Service): Promise<void> {
  if (!('postgres' in options)) return;
  const pool = new Pool({ connectionString: options.postgres });
  for (const setting of ['commit_delay = 20000', 'commit_siblings = 0'])
    await pool.query(`ALTER DATABASE postgres SET ${setting}`);
  await pool.end();
}

class Replica {
  private readonly child: ChildProcess;

  private constructor(setting: OtpSetting) {
    this.child = fork(PROGRAM, [JSON.stringify(setting)], { execArgv: ['--import', LOADER] });
    atEnd(() => this.kill());
  }

  static async start(setting: OtpSetting): Promise<Replica> {
    const replica = new Replica(setting);
    await replica.answer();
    return replica;
  }

  async answer(): Promise<OtpAnswer> {
    const ended = once(this.child, 'exit').then(() => Promise.reject(new Error('the replica has ended')));
    const [answer] = (await Promise.race([once(this.child, 'message'), ended])) as [OtpAnswer];
    return answer;
  }

  send(command: OtpCommand): void {
    this.child.send(command);
  }

  async verify(challengeId: string, codes: string[]): Promise<{ results: OtpVerification[]; compared: number }> {
    const answer = this.answer();
    this.send({ verify: { challengeId, codes } });
    return (await answer) as { results: OtpVerification[]; compared: number };
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }
}

/** Other codes of six digits than this one, the first after it. */
const guesses = (code: string, count: number) =>
  Array.from({ length: count }, (_, n) => String((Number(code) + 1 + n) % 1_000_000).padStart(6, '0'));
const reasons = (results: OtpVerification[]) => results.map((result) => (result.ok ? 'ok' : result.reason));
const count = (list: string[], word: string) => list.filter((one) => one === word).length;

/** A negative control: it reads and writes in two requests, as a store without atomic steps does. */
function naive(store: OtpStore): OtpStore {
  const left = new Map<string, number>();
  return {
    ...Object.fromEntries((['create', 'remove'] as const).map((name) => [name, store[name].bind(store)])),
    step: async (id: string, step: Parameters<OtpStore['step']>[1], numbers?: readonly number[]) => {
      const record = (await store.step(id, 'find', numbers))!;
      const attemptsLeft = left.get(id) ?? record.attemptsLeft;
      await new Promise((done) => setImmediate(done));
      if (step === 'attempt') left.set(id, attemptsLeft - 1);
      return { ...record, done: true, attemptsLeft: attemptsLeft - 1 };
    },
  } as OtpStore;
}

it('the conformance suite finds a store without atomic steps', async () => {
  const failed: string[] = [];
  for (const { name, run } of otpStoreConformance)
    await run(naive(memoryOtpStore())).catch(() => void failed.push(name));
  expect(failed).toEqual(expect.arrayContaining([expect.stringMatching(/concurrent callers/)]));
  expect(failed.length).toBeGreaterThan(3);
});

describeStores('one-time codes in %s', (kind) => {
  let service: Service;
  let store: OtpStore;
  beforeAll(async () => {
    service = await startStore(kind);
    store = storeOf(service);
    await store.prepare?.();
  }, 120_000);
  afterAll(async () => {
    await store.close?.();
    await service.close();
  }, 60_000);

  it.each(otpStoreConformance)('$name', ({ run }) => run(store));

  it('a challenge disappears by itself at twice its life', async () => {
    const id = 'disappearing-challenge';
    await store.create(id, { sealed: 'x', ttlMs: 20, attempts: 1, resendAfterMs: 0 });
    await new Promise((done) => setTimeout(done, 60));
    // PostgreSQL deletes nothing by itself: each process does, at its start and once a minute.
    const other = storeOf(service);
    await other.prepare?.();
    expect(await service.dump()).not.toContain(id);
    await other.close?.();
  });

  it('replicas that start together create what is missing, and a store that cannot be used is an error', async () => {
    if (!('postgres' in service.options)) {
      await expect(redisOtpStore({ connection: { port: 1, retryStrategy: null } }).prepare!()).rejects.toThrow();
      return;
    }
    const { postgres } = service.options;
    const missing = postgresOtpStore({ postgres, schema: 'codes', migrate: false });
    await expect(missing.prepare!()).rejects.toThrow(/codes/);
    const stores = Array.from({ length: 5 }, () => postgresOtpStore({ postgres, schema: 'codes' }));
    await Promise.all(stores.map((one) => one.prepare!()));
    await missing.prepare!();
    for (const one of [...stores, missing]) await one.close!();
  });

  it('guesses at a locked challenge do not wait for a lock on its row', async () => {
    const id = 'challenge-that-is-locked';
    await store.create(id, { sealed: 'x', ttlMs: 60_000, attempts: 1, resendAfterMs: 0 });
    await store.step(id, 'attempt');
    const pool = 'postgres' in service.options && new Pool({ connectionString: service.options.postgres, max: 1 });
    if (pool) await pool.query('BEGIN');
    if (pool) await pool.query('SELECT 1 FROM rt_sms_otp.challenge WHERE id = $1 FOR SHARE', [id]);
    const records = await Promise.all(Array.from({ length: 100 }, () => store.step(id, 'attempt')));
    expect(records.map((record) => record?.state)).toEqual(Array(100).fill('locked'));
    if (pool) await pool.end();
  });

  describe('with three replicas', () => {
    let gateway: RtSmsSimulator;
    let replicas: Replica[];
    beforeAll(() => slowDisk(service));
    beforeEach(async () => {
      gateway = await gatewayOf();
      const { login, password, url } = gateway.options;
      const setting = { gateway: { login, password, url }, store: service.options, secret: SECRET };
      replicas = await Promise.all([1, 2, 3].map(() => Replica.start(setting)));
    });

    it('1,000 concurrent guesses at one challenge: as many are compared as there are attempts', async () => {
      const otp = await applicationOf(gateway, storeOf(service));
      const { challengeId } = await otp.start(NUMBER, LOGIN);
      const wrong = guesses(codeIn(gateway), 1_000);
      const shares = [wrong.slice(0, 333), wrong.slice(333, 666), wrong.slice(666)];
      const answers = await Promise.all(replicas.map((replica, at) => replica.verify(challengeId, shares[at]!)));
      expect(answers.reduce((sum, { compared }) => sum + compared, 0)).toBe(5);
      const all = reasons(answers.flatMap(({ results }) => results));
      expect([all.length, count(all, 'wrong'), count(all, 'locked')]).toEqual([1_000, 5, 995]);
      expect(await otp.verify(challengeId, codeIn(gateway), LOGIN)).toMatchObject({ reason: 'locked' });
    });

    it('100 concurrent right answers: exactly one is accepted', async () => {
      const otp = await applicationOf(gateway, storeOf(service));
      for (let round = 0; round < 5; round++) {
        const { challengeId } = await otp.start(NUMBER, LOGIN);
        const right = Array.from({ length: 34 }, () => codeIn(gateway));
        const answers = await Promise.all(replicas.map((replica) => replica.verify(challengeId, right)));
        const all = reasons(answers.flatMap(({ results }) => results));
        expect([all.length, count(all, 'ok')]).toEqual([102, 1]);
        expect(all.filter((one) => !['ok', 'used', 'locked'].includes(one))).toEqual([]);
      }
    });

    it('kill -9 between 300 sends and their answers: no code that has reached a handset is refused', async () => {
      gateway.adjust({ latencyMs: 100 });
      for (const [at, replica] of replicas.entries()) {
        const before = gateway.messages.length;
        const sent = gateway.waitForMessage(() => gateway.messages.length - before >= 20 + 30 * at);
        replica.send({ start: Array.from({ length: 100 }, (_, n) => `+7927100${at}${String(n).padStart(3, '0')}`) });
        await sent;
        await replica.kill();
      }
      const otp = await applicationOf(gateway, storeOf(service));
      const challenges = await challengesIn(service);
      const refused: string[] = [];
      for (const { msisdn, text } of gateway.messages) {
        const result = await otp.verify(challenges.get(msisdn) ?? '', /\d{6}/.exec(text)![0], LOGIN);
        if (!result.ok) refused.push(msisdn);
      }
      // Some were sent and some were not, so the replicas were killed in between.
      expect(gateway.messages.length).toBeGreaterThan(100);
      expect(gateway.messages.length).toBeLessThan(300);
      expect(refused).toEqual([]);
    });
  });
});
