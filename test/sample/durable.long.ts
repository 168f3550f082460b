import { setTimeout as pause } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { startStore, type Service } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { compileSample, SampleProcess } from './compiled.js';

// Long, because processes start on a busy machine, and some of them are killed.
jest.setTimeout(180_000);

interface Listed {
  id: string;
  uid?: string;
  text: string;
  status: string;
}

let sample: Awaited<ReturnType<typeof compileSample>>;
let postgres: Service;
let redis: Service;
const urls = { DATABASE_URL: '', REDIS_URL: '' };
beforeAll(async () => {
  [sample, postgres, redis] = await Promise.all([compileSample(), startStore('PostgreSQL'), startStore('Redis')]);
  if ('postgres' in postgres.options) urls.DATABASE_URL = postgres.options.postgres;
  if ('connection' in redis.options) urls.REDIS_URL = redis.options.connection;
}, 300_000);
afterAll(() => Promise.all([sample?.remove(), postgres?.close(), redis?.close()]));

async function startGateway(): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  return gateway;
}

/** Starts a sample process with the account of this gateway. Its callbacks are only hints. */
function startSample(gateway: RtSmsSimulator, variables: Record<string, string>): SampleProcess {
  const { login, password, url } = gateway.options;
  const account = { RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP' };
  return new SampleProcess(sample.main, { ...account, ...variables });
}

async function post(url: string, path: string, type: string, body: string): Promise<Record<string, unknown>> {
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': type }, body });
  expect(response.ok).toBe(true);
  return (await response.json()) as Record<string, unknown>;
}

const json = async (address: string) => (await fetch(address)).json();
const list = async (url: string) => (await json(`${url}/messages`)) as Listed[];
const rowsOf = async (url: string) => (await list(url)).filter(({ text }) => text.startsWith('Row '));

/** Polls until `look` returns a value, because the state is in another process. */
async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found) return found;
    await pause(50);
  }
}

const statusIs = (url: string, id: string, status: string) =>
  until(async () => (await list(url)).some((message) => message.id === id && message.status === status));

describe('the sample with a durable engine', () => {
  it('on PostgreSQL forgets nothing when it is killed, and learns what happened meanwhile', async () => {
    const gateway = await startGateway();
    const { DATABASE_URL } = urls;
    const first = startSample(gateway, { DATABASE_URL });
    const url = await first.url();
    gateway.callTo(`${url}/rt-sms/callback`);
    const send = async (url: string, text: string) => {
      const message = JSON.stringify({ msisdn: '8 927 000-00-01', text });
      return (await post(url, '/messages', 'application/json', message)) as unknown as Listed;
    };
    const one = await send(url, 'One');
    const two = await send(url, 'Two');
    for (const { id } of [one, two]) await statusIs(url, id, 'accepted');
    await gateway.report(gateway.messages.find(({ text }) => text === 'One')!.uid, 'awaiting_report');
    await statusIs(url, one.id, 'awaiting_report');
    const before = await list(url);
    await expect(first.end('SIGKILL')).resolves.toBe('SIGKILL');
    // No process receives this callback.
    await gateway.report(gateway.messages.find(({ text }) => text === 'Two')!.uid, 'delivered');

    const second = startSample(gateway, { DATABASE_URL });
    const again = await second.url();
    gateway.callTo(`${again}/rt-sms/callback`);
    const after = await list(again);
    expect(after.map(({ id, uid, text }) => ({ id, uid, text }))).toEqual(
      before.map(({ id, uid, text }) => ({ id, uid, text })),
    );
    await statusIs(again, two.id, 'delivered');
    await gateway.report(gateway.messages.find(({ text }) => text === 'One')!.uid, 'failed');
    await statusIs(again, one.id, 'failed');
    expect(gateway.messages.map(({ text }) => text).toSorted()).toEqual(['One', 'Two']);
    await expect(second.end('SIGTERM')).resolves.toBe(0);
  });

  it('as API and worker on PostgreSQL: a worker that is killed in the middle loses and repeats nothing', async () => {
    const gateway = await startGateway();
    gateway.adjust({ latencyMs: 40 });
    const api = startSample(gateway, { DATABASE_URL: urls.DATABASE_URL, QUEUE_ROLE: 'producer' });
    const worker = startSample(gateway, { DATABASE_URL: urls.DATABASE_URL, QUEUE_ROLE: 'worker' });
    const [url] = await Promise.all([api.url(), worker.url()]);
    gateway.callTo(`${url}/rt-sms/callback`);

    const changes = await fetch(`${url}/messages/changes`);
    let told = '';
    const hearing = (async () => {
      for await (const chunk of changes.body!.pipeThrough(new TextDecoderStream())) told += chunk;
    })().catch(() => undefined);

    const rows = Array.from({ length: 150 }, (_, n) => `${79_270_000_000 + n};Row ${n}`).join('\n');
    const { id } = await post(url, '/bulk', 'text/csv', rows);
    const halfway = gateway.waitForMessage(() => gateway.messages.length >= 40);
    await post(url, `/bulk/${String(id)}/start`, 'text/csv', '');
    await halfway;
    await worker.end('SIGKILL');
    const other = startSample(gateway, { DATABASE_URL: urls.DATABASE_URL, QUEUE_ROLE: 'worker' });
    // The jobs of the killed worker, at most ten, wait until their locks expire.
    const sent = await until(async () => {
      const accepted = (await rowsOf(url)).filter(({ uid }) => uid !== undefined);
      return accepted.length >= 140 && accepted;
    });
    const texts = gateway.messages.map(({ text }) => text);
    expect(new Set(texts).size).toBe(texts.length);

    await Promise.all(sent.map(({ uid }) => gateway.report(uid!, 'delivered')));
    await until(async () => (await rowsOf(url)).filter(({ status }) => status === 'delivered').length === sent.length);
    // Changes on one replica reach the page of the other, and the rows of its file.
    const [{ id: last }] = sent as [Listed];
    await until(async () => told.includes(`"id":"${last}"`) && /"status":"delivered"/.test(told));
    await until(async () => {
      const { counts } = (await json(`${url}/bulk/${String(id)}`)) as { counts: Record<string, number> };
      return counts['delivered'] === sent.length;
    });

    await expect(json(`${url}/page/about`)).resolves.toMatchObject({
      queues: [{ name: 'send' }, { name: 'check', failed: 0 }],
    });
    for (const running of [api, other]) await expect(running.end('SIGTERM')).resolves.toBe(0);
    await hearing;
  });

  it.each(['DATABASE_URL', 'REDIS_URL'] as const)(
    'with %s: of a file the messages that the policy refuses are left out, and the others are sent',
    async (variable) => {
      const gateway = await startGateway();
      const running = startSample(gateway, { [variable]: urls[variable] });
      const url = await running.url();
      const rows = Array.from({ length: 12 }, (_, n) => `${n < 8 ? 79_991_000_000 : 79_991_000_000 + n};Limited ${n}`);
      const { id } = await post(url, '/bulk', 'text/csv', rows.join('\n'));
      await post(url, `/bulk/${String(id)}/start`, 'text/csv', '');
      const progress = await until(async () => {
        const now = (await json(`${url}/bulk/${String(id)}`)) as { state: string; counts: Record<string, number> };
        return now.state !== 'sending' && !now.counts['queued'] && now;
      });
      expect(progress).toMatchObject({ state: 'done', counts: { accepted: 9, refused: 3 } });
      const refused = await json(`${url}/bulk/${String(id)}/rows?status=refused`);
      const row = { msisdn: '79991000000', error: { code: 'RT_SMS_POLICY', rule: 'perRecipient' } };
      expect(refused).toMatchObject({ total: 3, rows: [row, row, row] });
      expect(gateway.messages.filter(({ msisdn }) => msisdn === '79991000000')).toHaveLength(5);
      await expect(running.end('SIGTERM')).resolves.toBe(0);
    },
  );

  it('on Redis alone: queues to look at, without number and text once a message is sent', async () => {
    await redis.clear();
    const gateway = await startGateway();
    gateway.nextSend({ delayMs: 5_000 });
    const running = startSample(gateway, { REDIS_URL: urls.REDIS_URL });
    const url = await running.url();
    gateway.callTo(`${url}/rt-sms/callback`);
    const board = await fetch(`${url}/queues`);
    expect(board.status).toBe(200);
    await expect(board.text()).resolves.toMatch('<html');
    const jobs = async () =>
      (await fetch(`${url}/queues/api/queues?activeQueue=rt-sms-default-send&status=latest`)).text();

    const message = JSON.stringify({ msisdn: '79270000001', text: 'Between us' });
    const { id } = await post(url, '/messages', 'application/json', message);
    const active = await until(async () => {
      const shown = await jobs();
      return /"active":1/.test(shown) && shown;
    });
    expect(active).toMatch(String(id));
    expect(active).not.toMatch(/79270000001|Between us/);
    await statusIs(url, String(id), 'accepted');
    const done = await until(async () => {
      const shown = await jobs();
      return /"completed":1/.test(shown) && shown;
    });
    expect(done).not.toMatch(/79270000001|Between us/);
    // The dashboard is read-only.
    const pausing = await fetch(`${url}/queues/api/queues/rt-sms-default-send/pause`, { method: 'PUT' });
    expect(pausing.status).toBe(405);
    expect(gateway.messages).toHaveLength(1);
    await expect(running.end('SIGTERM')).resolves.toBe(0);
  });
});
