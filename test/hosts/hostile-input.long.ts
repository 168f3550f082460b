import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fc from 'fast-check';
import { PLATFORMS } from '../platforms.js';
import type { Emitted, Told } from './callback-process.js';
import { answerTo, sendAll, type RawRequest } from './pipeline.js';

const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const PATH = `/rt-sms/callback/${SECRET}`;
const FUZZED = 50_000;
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261_123);

/** Raw parts of a query other than the documented ones. */
const CORPUS = [
  'a&b',
  '[]',
  '[id]',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  '%5F%5Fproto%5F%5F',
  '%',
  '%%',
  '%2',
  '%zz',
  '%25',
  '%FF',
  '%C0%AF',
  '%E0%A4%A',
  '%ED%A0%80',
  '%EF%BF%BD',
  '%00',
  '%0D%0A',
  '%0a%0d%0a',
  '%E2%80%A8',
  '%E2%80%AE',
  '%EF%BB%BF',
  '%1B%5B31m',
  '%1B]0;title%07',
  "'%20OR%201=1--",
  '%27%3BDROP%20TABLE%20sms%3B--',
  '<script>alert(1)</script>',
  '{{7*7}}',
  '${jndi:ldap://x}',
  '../../etc/passwd',
  '..%2f..%2f',
  '%F0%9F%93%A9',
  'e%CC%81',
  '?id=1',
  '??',
  ';',
  '+',
  '%20',
  '=',
  '==',
  '&',
  '&&',
  'x'.repeat(64),
  'x'.repeat(65),
  'x'.repeat(129),
  '%D1%8F'.repeat(64),
  '1e3',
  '-1',
  '0',
  '0x10',
  '99999999999',
];
const piece = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...CORPUS) },
  // Any character that Node accepts in a request line.
  {
    weight: 2,
    arbitrary: fc.string({
      unit: fc
        .integer({ min: 0x21, max: 0x7e })
        .filter((code) => code !== 0x23)
        .map((code) => String.fromCharCode(code)),
      maxLength: 12,
    }),
  },
  // Any character, correctly encoded.
  {
    weight: 2,
    arbitrary: fc.string({ unit: 'binary', maxLength: 6 }).map((text) => encodeURIComponent(text)),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }).map((byte) => `%${byte.toString(16).padStart(2, '0')}`) },
);
const noise = fc.array(piece, { maxLength: 3 }).map((pieces) => pieces.join(''));
/** A valid word, unchanged or damaged at its end, at its beginning or completely. */
const spoilt = (word: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 3, arbitrary: word },
    { weight: 1, arbitrary: fc.tuple(word, noise).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: fc.tuple(noise, word).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: noise },
  );
const STATUSES = ['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected', 'sent', 'DELIVERED'];

interface Fuzzed extends RawRequest {
  /** True for the right secret and path, so that the query counts. */
  authentic: boolean;
}
/** Makes the n-th request, with a number that no other request has. */
type Make = (n: number) => Fuzzed;
const get = (target: string, authentic = false): Fuzzed => ({ method: 'GET', target, authentic });

/** Placeholder for the number of the request, where the noise has not replaced it. */
const N = '424242';
const numbered = (text: string, n: number) => text.replaceAll(N, String(n));

/** Requests with the right secret and a hostile query. */
const authentic: fc.Arbitrary<Make> = fc
  .record({
    id: spoilt(fc.constantFrom(N, `message-id-${N}`)),
    status: spoilt(fc.constantFrom(...STATUSES)),
    parts: fc.option(spoilt(fc.constantFrom('1', '2', '255'))),
    err: fc.option(spoilt(fc.constantFrom('E17', '42'))),
    more: fc.option(noise),
    shape: fc.nat(7),
    place: fc.nat(2),
    slash: fc.boolean(),
  })
  .map(({ id, status, parts, err, more, shape, place, slash }) => {
    const fields = [`id=${id}`, `status=${status}`];
    if (parts !== null) fields.push(`parts=${parts}`);
    if (err !== null) fields.push(`err=${err}`);
    if (more !== null) fields.splice(place, 0, more);
    if (shape === 0) fields.push(`id=${N}`);
    if (shape === 1) fields.push('status=failed');
    if (shape === 2) fields.reverse();
    const target = `${PATH}${slash ? '/' : ''}?${fields.join('&')}`;
    return (n) => get(numbered(target, n), true);
  });

/** Variations of the path, with the secret and without. */
const PATHS = [
  (secret: string) => `//rt-sms/callback/${secret}`,
  (secret: string) => `/rt-sms//callback/${secret}`,
  (secret: string) => `/rt-sms/callback//${secret}`,
  (secret: string) => `/rt-sms/callback/${secret}//`,
  (secret: string) => `/./rt-sms/callback/${secret}`,
  (secret: string) => `/rt-sms/%2e/callback/${secret}`,
  (secret: string) => `/x/%2e%2e/rt-sms/callback/${secret}`,
  (secret: string) => `/rt-sms/callback/${secret};a=b`,
  (secret: string) => `/rt-sms/callback;x/${secret}`,
  (secret: string) => `/rt-sms/callback/${secret}%00`,
  (secret: string) => `/rt-sms/callback/${secret}%0d%0a`,
  (secret: string) => `/rt-sms/callback/${secret}%2f`,
  (secret: string) => `/rt-sms/callback%2f${secret}`,
  (secret: string) => `/RT-SMS/Callback/${secret}`,
  (secret: string) => `/rt-sms/callback/${secret}/x`,
  (secret: string) => `/rt-sms/callback/${secret}?sig=t`,
  (secret: string) => `/rt-sms/callback?secret=${secret}`,
  (secret: string) => `/rt-sms/open/callback/${secret}`,
  (secret: string) => `/rt-sms/callback/%${secret.charCodeAt(0).toString(16)}${secret.slice(1)}`,
  (secret: string) => `http://other.example/rt-sms/callback/${secret}`,
];
const wrongSecret = fc.oneof(
  fc.constantFrom(
    '',
    SECRET.slice(0, -1),
    `${SECRET}A`,
    SECRET.toLowerCase(),
    SECRET.split('').toReversed().join(''),
    'x'.repeat(100),
    'x'.repeat(1_000),
    '%FF',
    '%',
    '..',
    '%2e%2e',
    '__proto__',
    ':secret',
    '*',
  ),
  noise.map((text) => text.replaceAll(/[?&]/g, '')),
);
const path = fc.oneof(
  fc.constant((secret: string) => `/rt-sms/callback/${secret}`),
  fc.constantFrom(...PATHS),
);
const forged: fc.Arbitrary<Make> = fc.tuple(path, wrongSecret, noise).map(
  ([path, secret, more]) =>
    (n) =>
      get(`${path(secret)}?id=forged-${n}&status=delivered&${more}`),
);
/** Requests with the right secret by another path, which may or may not cause an event. */
const otherWay: fc.Arbitrary<Make> = path.map((path) => (n) => get(`${path(SECRET)}?id=known-${n}&status=delivered`));
const withoutSecret: fc.Arbitrary<Make> = fc.tuple(fc.constantFrom('', '/'), noise).map(
  ([slash, more]) =>
    (n) =>
      get(`/rt-sms/open/callback${slash}?id=forged-${n}&status=delivered&${more}`),
);
const otherMethod: fc.Arbitrary<Make> = fc
  .record({
    method: fc.constantFrom('HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'SEARCH'),
    headers: fc.constantFrom(
      '',
      'Content-Type: application/json\r\n',
      'Content-Type: text/plain\r\n',
      'X-HTTP-Method-Override: GET\r\n',
    ),
    body: fc.constantFrom('', '{}', '{"__proto__":{"id":1}}', '{', 'id=1', '\0\xff'),
  })
  .map((request) => (n) => ({
    ...request,
    target: `${PATH}?id=forged-${n}&status=delivered&_method=GET`,
    authentic: false,
  }));

const anyRequest = fc.oneof(
  { weight: 6, arbitrary: authentic },
  { weight: 3, arbitrary: forged },
  { weight: 1, arbitrary: otherWay },
  { weight: 1, arbitrary: withoutSecret },
  { weight: 1, arbitrary: otherMethod },
);

/** A value as the platforms decode it; `undefined` if they leave an escape undecoded. */
function decoded(text: string): string | undefined {
  try {
    const value = decodeURIComponent(text.replaceAll('+', ' '));
    return value.includes('%') ? undefined : value;
  } catch {
    return undefined;
  }
}
const readable = (value: string | undefined): value is string =>
  value !== undefined &&
  value.trim() !== '' &&
  Array.from(value).length <= 64 &&
  !/[\p{C}\p{M}\uFFFD]|(?! )\p{Z}/u.test(value);

/** The word, or `unrecognised` if it may be a number, plain or in Base64, or contains the account's login. */
const passed = (word: string) =>
  [word, Buffer.from(word, 'base64').toString('latin1')].some((text) => text.replace(/\P{Nd}/gu, '').length >= 9) ||
  /shop/i.test(word.replace(/[^\p{L}\p{N}]/gu, ''))
    ? 'unrecognised'
    : word;

/** Reads a query independently, by the document alone; `undefined` if the result is not certain. */
function eventOf(target: string): Emitted | undefined {
  const fields = new Map<string, (string | undefined)[]>();
  for (const field of target.slice(target.indexOf('?') + 1).split('&')) {
    const at = field.includes('=') ? field.indexOf('=') : field.length;
    const name = decoded(field.slice(0, at)) ?? '%';
    fields.set(name, [...(fields.get(name) ?? []), decoded(field.slice(at + 1))]);
  }
  const only = (name: string) => (fields.get(name)?.length === 1 ? fields.get(name)![0] : undefined);
  const id = only('id')?.replace(/^message-id-/, '');
  const status = only('status');
  if (id === undefined || !/^[\w.~:=@+-]{1,128}$/.test(id) || !readable(status)) return undefined;
  const parts = only('parts');
  const err = only('err');
  return {
    uid: `message-id-${id}`,
    status: (STATUSES.slice(0, 5).includes(status) ? status : 'unknown') as Emitted['status'],
    gatewayStatus: STATUSES.includes(status) ? status : passed(status),
    confirmed: false,
    ...(parts !== undefined && /^\d{1,8}$/.test(parts) && Number(parts) > 0 ? { parts: Number(parts) } : {}),
    ...(status === 'rejected' && readable(err) ? { errorCode: passed(err) } : {}),
  };
}

describe.each(PLATFORMS)('callbacks on %s, whatever comes', (platform) => {
  let child: ChildProcess;
  let url: string;
  let output = '';
  let ended = false;

  beforeAll(async () => {
    child = fork(new URL('./callback-process.ts', import.meta.url), [platform, SECRET], {
      execArgv: ['--import', new URL('../child/ts.mjs', import.meta.url).href],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (data) => (output += String(data)));
    child.once('exit', () => (ended = true));
    [url] = (await once(child, 'message')) as [string];
  }, 120_000);
  afterAll(async () => {
    const exited = once(child, 'exit');
    child.disconnect();
    await exited;
  });

  async function tell(): Promise<Told> {
    const told = once(child, 'message') as Promise<[Told]>;
    child.send('tell');
    return (await told)[0];
  }
  function expectSoundLines({ logged, frames }: Told) {
    const unsound = (line: string) => /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(line) || line.includes(SECRET);
    expect(logged.filter(unsound).slice(0, 5)).toEqual([]);
    // A stack trace has one line for each frame, and no others.
    expect(frames.filter((line) => unsound(line) || !line.startsWith('    at ')).slice(0, 5)).toEqual([]);
    expect([output, ended]).toEqual(['', false]);
  }

  it(`${FUZZED.toLocaleString('en')} fuzzed ones: no fault, and exactly the events that are owed`, async () => {
    const requests = fc.sample(anyRequest, { numRuns: FUZZED, seed: SEED }).map((make, n) => make(n));
    await tell();
    const statuses = await sendAll(url, requests);
    /** The first requests with a wrong answer. */
    const wrong = (is: (request: Fuzzed, status: number) => boolean) =>
      requests
        .flatMap((request, n) =>
          is(request, statuses[n]!) ? `${statuses[n]} ${request.method} ${request.target}` : [],
        )
        .slice(0, 5);
    expect(wrong((_, status) => !(status >= 200 && status < 500))).toEqual([]);
    expect(wrong(({ authentic }, status) => authentic && status !== 200)).toEqual([]);
    const authentic = requests.filter(({ authentic }) => authentic);
    const told = await tell();
    const { emitted, logged } = told;
    const said = authentic.flatMap(({ target }) => eventOf(target) ?? []);
    const owed = new Map<string, Emitted[]>();
    for (const words of said) owed.set(words.uid, [...(owed.get(words.uid) ?? []), words]);
    const known = (uid: string) => /^message-id-known-\d+$/.test(uid);
    const same = (one: Emitted, other: Emitted) =>
      one.gatewayStatus === other.gatewayStatus &&
      one.status === other.status &&
      one.parts === other.parts &&
      one.errorCode === other.errorCode &&
      one.confirmed === other.confirmed;
    const untrue = emitted.filter(
      (event) => !known(event.uid) && !owed.get(event.uid)?.some((words) => same(words, event)),
    );
    expect(untrue.slice(0, 5)).toEqual([]);
    // With several callbacks about one message, the later ones may be steps back.
    const heard = new Set(emitted.map(({ uid }) => uid));
    expect([...owed.keys()].filter((uid) => !heard.has(uid)).slice(0, 5)).toEqual([]);
    expect(owed.size).toBeGreaterThan(FUZZED / 8);
    expect(said.length).toBeLessThan(authentic.length * 0.9);
    expectSoundLines(told);
    expect(logged.some((line) => line.includes(':unknown:'))).toBe(true);
  }, 240_000);

  it('what no client would send: no fault and no event', async () => {
    const query = `id=${'9'.repeat(6)}&status=delivered`;
    const lines = 'Host: shop.example\r\nConnection: close\r\n\r\n';
    const hostile = {
      'a query of 100 kB': `GET ${PATH}?${query}&x=${'x'.repeat(100_000)} HTTP/1.1\r\n${lines}`,
      '100 kB of parameters': `GET ${PATH}?${query}${'&a'.repeat(50_000)} HTTP/1.1\r\n${lines}`,
      'a path of 100 kB': `GET ${PATH}${'/x'.repeat(50_000)}?${query} HTTP/1.1\r\n${lines}`,
      'a header of 100 kB': `GET ${PATH}?${query} HTTP/1.1\r\nX-Long: ${'x'.repeat(100_000)}\r\n${lines}`,
      'a header that is no header': `GET ${PATH}?${query} HTTP/1.1\r\nInjected line\r\n${lines}`,
      'CR and LF': `GET ${PATH}?${query}\r\n X: y HTTP/1.1\r\n${lines}`,
      'a bare CR': `GET ${PATH}?${query}\rX HTTP/1.1\r\n${lines}`,
      NUL: `GET ${PATH}?${query}\0 HTTP/1.1\r\n${lines}`,
      'an escape sequence': `GET ${PATH}?${query}\x1b[31m HTTP/1.1\r\n${lines}`,
      'a lone surrogate as it is': `GET ${PATH}?${query}\xed\xa0\x80 HTTP/1.1\r\n${lines}`,
      'bytes that are no UTF-8': `GET ${PATH}?${query}\xff\xfe HTTP/1.1\r\n${lines}`,
      'a space': `GET ${PATH}?${query} x HTTP/1.1\r\n${lines}`,
      'no path': `GET ?${query} HTTP/1.1\r\n${lines}`,
      'a scheme without a host': `GET http:${PATH.slice(1)}?${query} HTTP/1.1\r\n${lines}`,
      'an asterisk': `OPTIONS * HTTP/1.1\r\n${lines}`,
      'an asterisk before the path': `GET *${PATH}?${query} HTTP/1.1\r\n${lines}`,
      'a method of its own': `DELIVER ${PATH}?${query} HTTP/1.1\r\n${lines}`,
      'a method in lower case': `get ${PATH}?${query} HTTP/1.1\r\n${lines}`,
      'a tunnel': `CONNECT ${PATH}?${query} HTTP/1.1\r\n${lines}`,
      'another version': `GET ${PATH}?${query} HTTP/3.7\r\n${lines}`,
      'two lengths': `POST ${PATH}?${query} HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n${lines}xx`,
      'a length and chunks': `POST ${PATH}?${query} HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n${lines}0\r\n\r\n`,
      TLS: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    };
    await tell();
    for (const [what, bytes] of Object.entries(hostile)) {
      const answer = await answerTo(url, bytes);
      expect([what, Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0) < 500]).toEqual([what, true]);
    }
    const told = await tell();
    expect(told.emitted).toEqual([]);
    expectSoundLines(told);
    // The application still answers.
    expect((await fetch(`${url}${PATH}?id=424242&status=delivered`)).status).toBe(200);
    expect((await tell()).emitted).toHaveLength(1);
  });
});
