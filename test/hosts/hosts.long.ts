import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { PLATFORMS } from '../platforms.js';
import type { Addresses } from './host-process.js';
import type { HostName } from './hosts.js';
import { answerTo, bytesOf } from './pipeline.js';

const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const OTP_SECRET = 'pW2uE6iO9aS4dG8hK1lZ5xC3vB7nM0qT';
const WRONG = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
const CALLBACKS = 200;
const IN_FLIGHT = 20;

const status = async (url: string, init?: RequestInit) => (await fetch(url, init)).status;
const header = (name: string, headers?: Record<string, string>) => async (url: string) =>
  (await fetch(url, { headers: headers ?? {} })).headers.get(name);

/** How to call a host, and how its route `/orders` shows that its setting is active. */
interface Visit {
  /** Prefix of the callback's path. */
  prefix?: string;
  /** Prefix of the host's own route, if it differs. */
  orders?: string;
  /** Headers of a callback when it arrives. */
  headers?: Record<string, string>;
  /** Headers of a callback from an address that is not allowed. */
  forged?: Record<string, string>;
  shows: (orders: string) => Promise<unknown>;
  shown: unknown;
}

const GZIP = { 'accept-encoding': 'gzip' };
const ELSEWHERE = { origin: 'https://elsewhere.example' };
const ALLOWED = { 'x-forwarded-for': '10.0.0.1, 203.0.113.7' };
const FORGED = { 'x-forwarded-for': '203.0.113.7, 198.51.100.1' };

const VISITS: Record<HostName, Visit> = {
  'nothing of its own': { shows: status, shown: 200 },
  'a global ValidationPipe that forbids': { shows: (orders) => status(`${orders}?id=1`), shown: 400 },
  'a JWT guard, @Public()': { shows: status, shown: 401 },
  'a throttler, @SkipThrottle()': {
    shows: async (orders) => [await status(orders), await status(orders), await status(orders), await status(orders)],
    shown: [200, 200, 200, 429],
  },
  'a global prefix': { prefix: '/api/shop', shows: status, shown: 200 },
  'a global prefix that the callback is excluded from': { orders: '/api', shows: status, shown: 200 },
  'URI versioning': { orders: '/v2', shows: status, shown: 200 },
  'header versioning': {
    shows: (orders) => Promise.all(['1', '2'].map((version) => status(orders, { headers: { 'x-version': version } }))),
    shown: [404, 200],
  },
  'an interceptor that wraps answers': {
    shows: async (orders) => Object.keys((await (await fetch(orders)).json()) as object),
    shown: ['success', 'data'],
  },
  'an exception filter that catches all': { shows: (orders) => status(`${orders}?page=torn`), shown: 418 },
  rawBody: { shows: status, shown: 200 },
  'a trusted proxy, and allowFrom': { headers: ALLOWED, forged: FORGED, shows: status, shown: 200 },
  'a slash at the end ignored': { shows: (orders) => status(`${orders}/`), shown: 200 },
  compression: { headers: GZIP, shows: header('content-encoding', GZIP), shown: 'gzip' },
  CORS: {
    headers: ELSEWHERE,
    shows: header('access-control-allow-credentials', { origin: 'https://shop.example' }),
    shown: 'true',
  },
  helmet: { shows: header('x-content-type-options'), shown: 'nosniff' },
  'all of it at once': {
    prefix: '/api',
    orders: '/api/v2',
    headers: { ...ALLOWED, ...GZIP, ...ELSEWHERE },
    forged: { ...FORGED, ...GZIP, ...ELSEWHERE },
    shows: status,
    shown: 401,
  },
};

/** The bytes of an answer without its date. */
async function bytesFrom(url: string, target: string, headers: Record<string, string>): Promise<string> {
  const lines = Object.entries({ connection: 'close', ...headers }).map((line) => `${line.join(': ')}\r\n`);
  const answer = await answerTo(url, bytesOf({ method: 'GET', target, headers: lines.join('') }));
  return answer.replace(/^date: .*\r\n/im, '');
}

describe.each(PLATFORMS)('%s, an application with', (platform) => {
  let child: ChildProcess;
  let addresses: Addresses;

  beforeAll(async () => {
    child = fork(new URL('./host-process.ts', import.meta.url), [platform, SECRET, OTP_SECRET], {
      execArgv: ['--import', new URL('../child/ts.mjs', import.meta.url).href],
    });
    const failed = once(child, 'exit').then(() => Promise.reject(new Error('the applications did not start')));
    [addresses] = (await Promise.race([once(child, 'message'), failed])) as [Addresses];
    failed.catch(() => undefined);
  }, 120_000);
  afterAll(async () => {
    const ended = once(child, 'exit');
    child.disconnect();
    await ended;
  });

  const heardBy = async (name: HostName) => {
    const told = once(child, 'message') as Promise<[string[]]>;
    child.send(name);
    return (await told)[0];
  };

  describe.each(Object.entries(VISITS) as [HostName, Visit][])('%s', (name, visit) => {
    const { prefix = '', orders = prefix, headers = {}, forged, shows, shown } = visit;
    const [first, otp] = [`${prefix}/rt-sms/callback`, `${prefix}/rt-sms/otp/callback`];

    it('has that setting', async () => {
      expect(await shows(`${addresses[name].url}${orders}/orders`)).toEqual(shown);
    });

    it('answers what is not authentic as an unknown route, byte for byte', async () => {
      const { url, blank } = addresses[name];
      const targets = [`${first}/${WRONG}`, `${first}/${OTP_SECRET}/`, first, `${otp}/${SECRET}`, `${otp}/`];
      for (const [target, from] of [
        ...targets.map((target) => [target, headers] as const),
        ...(forged ? [[`${first}/${SECRET}`, forged] as const] : []),
      ]) {
        const answer = await bytesFrom(url, `${target}?id=1&status=delivered`, from);
        expect([target, answer.slice(0, 12)]).toEqual([target, 'HTTP/1.1 404']);
        expect(answer).toBe(await bytesFrom(blank, `${target}?id=1&status=delivered`, from));
      }
      expect(await heardBy(name)).toEqual([]);
    });

    it('loses no callback of either account', async () => {
      const { url } = addresses[name];
      const call = async (n: number) => {
        const path = n % 2 === 0 ? `${first}/${SECRET}` : `${otp}/${OTP_SECRET}`;
        const words = n % 3 === 0 ? 'status=rejected&err=E17' : 'status=delivered&parts=2';
        const target = `${path}${n % 4 < 2 ? '' : '/'}?id=${n}&${words}&more=than%20documented`;
        const answer = await fetch(url + target, { headers });
        expect([target, answer.status, answer.headers.get('cache-control')]).toEqual([target, 200, 'no-store']);
        expect(await answer.text()).toContain('ok');
      };
      let next = 0;
      const worker = async () => {
        while (next < CALLBACKS) await call(next++);
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
      const expected = Array.from({ length: CALLBACKS }, (_, n) => {
        return `${n % 2 === 0 ? 'default' : 'otp'}:message-id-${n}:${n % 3 === 0 ? 'rejected' : 'delivered'}`;
      });
      expect((await heardBy(name)).toSorted()).toEqual(expected.toSorted());
    });
  });
});
