import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';

const REQUIRED = { login: 'shop', password: 'pass-word-of-the-shop' };
const SECRET = 'a-secret-of-sixteen';
const resolve = (options: object, mounted = true): ResolvedOptions =>
  resolveOptions({ ...REQUIRED, ...options }, 'otp', mounted);

function problemsOf(options: unknown, mounted = true): readonly string[] {
  try {
    resolveOptions(options, 'otp', mounted);
  } catch (error) {
    expect(error).toBeInstanceOf(RtSmsConfigError);
    return (error as RtSmsConfigError).problems;
  }
  return [];
}
/** Options with one value: `a.b` becomes `{ a: { b: … } }`. */
function at(path: string, value: unknown): object {
  const [group, key] = path.split('.') as [string, string?];
  return key === undefined ? { [group]: value } : { [group]: { [key]: value } };
}
const read = (options: object, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], options);

const CERTIFICATES = join(import.meta.dirname, '../../../../test/faults/certs');
const pem = (file: string) => readFileSync(join(CERTIFICATES, file), 'utf8');
const CA = pem('ca.pem');

/** Array of holes, for which every() always returns true. */
const HOLES = Object.assign([], { length: 2 });
const MS = 2 ** 31 - 1;
const NO_MS = [0, -1, 1.5, MS + 1, Infinity, NaN, '5000', null, true, [5000]];
const NO_TEXT = ['', 7, null, true, ['x'], {}, 'two\nlines', 'nul\u0000', 'half a pair \ud800'];
const noWhole = (min: number, max: number) => [min - 1, max + 1, min + 0.5, NaN, String(min), null, [min], {}];
const NO_OBJECT = [null, false, true, 7, 'x', [], [{}], () => undefined];

// Option, description of the accepted values, accepted values, rejected values.
const OPTIONS: [string, RegExp, unknown[], unknown[]][] = [
  ['login', /non-empty string without ":"/, ['shop', 'логин', 'a b', '"'], [...NO_TEXT, 'a:b']],
  ['password', /non-empty string/, ['x', 'a:b', 'пароль ', ' '], NO_TEXT],
  [
    'url',
    /https address.*http only on a loopback host or with allowHttp: true.*without credentials, query and fragment/,
    [
      'https://target.t2.ru/api/v2/send_message',
      'https://gateway.example:8443/',
      'https://[2001:db8::1]/x',
      'http://127.0.0.1:4010/api/v2/send_message',
      'http://127.8.9.10/',
      'http://localhost:4010/x',
      'http://[::1]:4010/x',
    ],
    [
      'http://sms.rt.ru/api/v2/send_message',
      'http://127.0.0.1.example/',
      'http://localhost.example/',
      'http://10.0.0.1/',
      'https://shop:pass@sms.rt.ru/api/v2/send_message',
      'https://shop@sms.rt.ru/',
      'https://sms.rt.ru/?login=shop',
      'https://sms.rt.ru/?',
      'https://sms.rt.ru/#x',
      'https://sms.rt.ru/#',
      'ftp://sms.rt.ru/',
      'file:///etc/passwd',
      'sms.rt.ru/api/v2/send_message',
      'https://',
      '',
      null,
      7,
      {},
    ],
  ],
  ['allowHttp', /true or false/, [true, false], ['true', 1, 0, null, '', {}]],
  ['shortcode', /non-empty string/, ['AVARIA', 'Моё имя', '7000'], [...NO_TEXT, '  ']],
  ['credentials', /'header' or 'body' or 'both'/, ['header', 'body', 'both'], ['query', 'HEADER', '', null, true, 7]],
  ['timeouts', /an object/, [{}], NO_OBJECT],
  ['timeouts.connectMs', /milliseconds from 1 to 2147483647/, [1, 5_000, MS], NO_MS],
  ['timeouts.sendMs', /milliseconds from 1 to 2147483647/, [1, 30_000, MS], NO_MS],
  ['timeouts.statusMs', /milliseconds from 1 to 2147483647/, [1, 10_000, MS], NO_MS],
  ['connections', /whole number from 1 to 1000/, [1, 10, 1000], noWhole(1, 1000)],
  ['queueLimit', /whole number from 0 to 1000000/, [0, 1_000, 1_000_000], noWhole(0, 1_000_000)],
  ['retry', /an object/, [{}], NO_OBJECT],
  ['retry.send', /whole number from 0 to 10/, [0, 2, 10], noWhole(0, 10)],
  ['retry.status', /whole number from 0 to 10/, [0, 2, 10], noWhole(0, 10)],
  ['rate', /an object/, [{ perSecond: 5 }], NO_OBJECT],
  ['rate.perSecond', /whole number from 1 to 10000/, [1, 100, 10_000], [...noWhole(1, 10_000), undefined]],
  ['callback', /an object/, [{}], NO_OBJECT],
  [
    'callback.secrets',
    /a secret, or a non-empty array of secrets, each of 16 to 100 characters A-Z a-z 0-9 _ -/,
    [SECRET, 'x'.repeat(16), 'X'.repeat(100), 'aA0_-'.repeat(4), [SECRET], [SECRET, 'another-secret-of-mine']],
    [
      '',
      'x'.repeat(15),
      'x'.repeat(101),
      'a secret of sixteen',
      'секретсекретсекрет',
      'a/secret/of/sixteen',
      `${SECRET}\n`,
      [],
      [SECRET, 'short'],
      [SECRET, null],
      [[SECRET]],
      null,
      1234567890123456,
      {},
    ],
  ],
  [
    'callback.allowFrom',
    /an array of IP addresses and CIDRs/,
    [[], ['127.0.0.1', '::1'], ['10.0.0.0/8'], ['2001:db8::/32'], ['::ffff:10.1.2.3'], ['0.0.0.0/0']],
    [
      '127.0.0.1',
      ['sms.rt.ru'],
      ['10.0.0.0/33'],
      ['2001:db8::/129'],
      ['10.0.0.1', 'x'],
      ['10.1/16'],
      ['10/8'],
      ['10'],
      ['010.0.0.1'],
      ['0x7f.0.0.1'],
      ['fe80::1%eth0'],
      ['10.0.0.0/'],
      ['10.0.0.0/8/8'],
      ['10.0.0.0/-1'],
      [' 10.0.0.1'],
      [''],
      [7],
      [null],
      null,
      {},
    ],
  ],
  ['callback.confirm', /'auto' or 'always'/, ['auto', 'always'], ['never', false, true, '', null]],
  ['tracking', /false or an object/, [{}, false], [null, true, 0, 'x', [], [{}]]],
  [
    'tracking.schedule',
    /non-empty array of milliseconds, each 1 or more/,
    [[1], [5_000, 60_000, MS]],
    [[], [0], [1, -1], [1, '2'], [MS + 1], [NaN], HOLES, 5_000, null, {}],
  ],
  ['tracking.maxAgeMs', /milliseconds, 1 or more/, [1, 72 * 3_600_000, 1e12], [0, -1, NaN, Infinity, '1', null, [1]]],
  ['tracking.limit', /whole number from 1 to 10000000/, [1, 100_000], noWhole(1, 10_000_000)],
  ['tracking.remember', /whole number from 0 to 10000000/, [0, 100_000], noWhole(0, 10_000_000)],
  ['tracking.perSecond', /whole number from 1 to 10000/, [1, 50], noWhole(1, 10_000)],
  ['tracking.open', /a function that returns uids/, [() => [], async () => []], [[], 'x', null, {}]],
  ['engine', /an engine, such as bullMq/, [() => ({})], [{}, 'bullmq', null, []]],
  ['engineLimit', /whole number from 1 to 10000000/, [1, 10_000], noWhole(1, 10_000_000)],
  ['idempotencyMs', /milliseconds, 1 or more/, [1, 72 * 3_600_000], [0, -1, NaN, Infinity, '1', null]],
  ['tls', /an object/, [{}], NO_OBJECT],
  // The content of these is tested in tls-material.spec.ts.
  ['tls.ca', /PEM/, [CA, Buffer.from(CA), [CA, Buffer.from(CA)]], ['', 7, null, [], [''], {}, HOLES]],
  ['tls.caOnly', /true or false/, [false], ['true', 1, null, '']],
  ['tls.cert', /PEM/, [], ['', 7, null, [CA], {}]],
  ['tls.key', /PEM/, [], ['', 7, null, [CA], {}]],
  ['tls.passphrase', /a string/, [''], [7, null, true, {}]],
  [
    'proxy',
    /an http or https address without path, query and fragment/,
    ['http://proxy.example:3128', 'https://user:pass@proxy.example', 'http://proxy.example:3128/', 'http://[::1]:3128'],
    [
      'proxy.example:3128',
      'socks5://proxy.example',
      'http://proxy.example:3128/pac',
      'http://proxy.example/?x=1',
      'http://proxy.example/#x',
      '',
      7,
      null,
      true,
    ],
  ],
];

describe.each(OPTIONS)('%s', (path, accepted, good, bad) => {
  // Some options have no value that is valid alone.
  const accepts = good.length > 0 ? it.each(good.map((value) => [value])) : it.skip;
  accepts('accepts %j', (value?: unknown) => {
    const resolved = resolve(at(path, value), false);
    // This option only changes the check of `url`.
    if (path === 'allowHttp') return;
    const expected = path === 'callback.secrets' ? [value].flat() : path === 'url' ? new URL(value as string) : value;
    const isKept = !path.startsWith('tls') && (typeof value !== 'object' || Array.isArray(value));
    if (isKept) expect(read(resolved, path)).toEqual(expected);
  });

  it.each(bad.map((value) => [value]))('rejects %j', (value) => {
    const problems = problemsOf({ ...REQUIRED, ...at(path, value) });
    const own = problems.filter((problem) => problem.startsWith(`${path}: `));
    expect(own).toHaveLength(1);
    expect(own[0]).toMatch(accepted);
    expect(own[0]).toMatch(/(must be .+(, not .+| \(value hidden\)))|(is missing; it must be )/);
    // One problem only, except for the items of an array in place of another value.
    if (!Array.isArray(value)) expect(problems).toEqual(own);
  });

  if (!['login', 'password', 'rate.perSecond'].includes(path)) {
    it('undefined is the same as absent', () => {
      const resolved = resolve(at(path, undefined));
      expect(resolved).toEqual(resolve(path.startsWith('tls.') ? { tls: {} } : {}));
    });
  }
});

describe('resolveOptions', () => {
  const DEFAULTS = {
    account: 'otp',
    login: 'shop',
    password: 'pass-word-of-the-shop',
    url: new URL('https://sms.rt.ru/api/v2/send_message'),
    shortcode: undefined,
    credentials: 'header',
    timeouts: { connectMs: 5_000, sendMs: 30_000, statusMs: 10_000 },
    connections: 10,
    queueLimit: 1_000,
    retry: { send: 2, status: 2 },
    rate: undefined,
    callback: { secrets: [], allowFrom: [], confirm: 'auto' },
    tracking: {
      schedule: expect.any(Array),
      maxAgeMs: 72 * 3_600_000,
      limit: 100_000,
      remember: 100_000,
      perSecond: expect.any(Number),
      open: undefined,
    },
    engine: undefined,
    engineLimit: 10_000,
    idempotencyMs: 72 * 3_600_000,
    tls: undefined,
    proxy: undefined,
    warnings: [expect.stringMatching(/^shortcode: /)],
  };

  it('fills in every default', () => {
    expect(resolve({})).toEqual(DEFAULTS);
    const groups = { timeouts: {}, retry: {}, callback: {}, tracking: {}, tls: {} };
    expect(resolve(groups)).toEqual(DEFAULTS);
  });

  it('warns about a named account without a default sender name, which it does not inherit', () => {
    const warnings = (account: string, options: object) =>
      resolveOptions({ ...REQUIRED, ...options }, account, true).warnings;
    expect(warnings('otp', {})).toEqual([expect.stringMatching(/^shortcode: this account has no default sender name/)]);
    expect(warnings('otp', { shortcode: 'SHOP' })).toEqual([]);
    expect(warnings('default', {})).toEqual([]);
  });

  it('fills in the other defaults of a group', () => {
    expect(resolve({ timeouts: { sendMs: 1 }, retry: { status: 0 } })).toMatchObject({
      timeouts: { connectMs: 5_000, sendMs: 1, statusMs: 10_000 },
      retry: { send: 2, status: 0 },
    });
    expect(resolve({ tracking: { limit: 5 } }).tracking).toEqual({ ...DEFAULTS.tracking, limit: 5 });
  });

  it('polls first after 5 s, or after 60 s if a callback is expected, and finally once an hour', () => {
    for (const [callback, first] of [
      [{}, 5_000],
      [{ secrets: SECRET }, 60_000],
    ] as const) {
      const { tracking } = resolve({ callback });
      const schedule = tracking ? tracking.schedule : [];
      expect(schedule[0]).toBe(first);
      expect(schedule.at(-1)).toBe(3_600_000);
      expect(schedule).toEqual(schedule.toSorted((a, b) => a - b));
    }
  });

  it('accepts plain http on any host with allowHttp', () => {
    const url = 'http://gateway.example/api/v2/send_message';
    expect(resolve({ url, allowHttp: true }).url.href).toBe(url);
    expect(problemsOf({ ...REQUIRED, url, allowHttp: false })).toHaveLength(1);
    expect(problemsOf({ ...REQUIRED, url: 'ftp://gateway.example/', allowHttp: true })).toHaveLength(1);
    expect(problemsOf({ ...REQUIRED, url: `${url}?x=1`, allowHttp: true })).toHaveLength(1);
  });

  it('accepts an instance of a class of the application', () => {
    class Mine {
      login = 'shop';
      password = 'x';
      timeouts = new (class {
        sendMs = 7;
      })();
    }
    expect(resolveOptions(new Mine(), 'otp', true)).toMatchObject({ login: 'shop', timeouts: { sendMs: 7 } });
  });

  it('does not change its input', () => {
    const input = Object.freeze({ ...REQUIRED, timeouts: Object.freeze({ sendMs: 7 }), tracking: Object.freeze({}) });
    resolveOptions(input, 'otp', true);
    expect(input).toEqual({ ...REQUIRED, timeouts: { sendMs: 7 }, tracking: {} });
  });

  it.each([undefined, null, 'x', 7, [], () => REQUIRED])('rejects %p, which is not an object', (input) => {
    expect(problemsOf(input)).toEqual([expect.stringMatching(/options must be an object; did the factory return/)]);
  });

  it('lists all problems in one error, each with the name of its option', () => {
    const problems = problemsOf({
      login: 'a:b',
      url: 'http://sms.rt.ru/',
      timeouts: { sendMs: 0, statusMs: 'x' },
      rate: {},
      callback: { secrets: 'short', confirm: 'never' },
      tracking: { schedule: [] },
      pasword: 'x',
    });
    expect(problems.map((problem) => problem.split(':')[0]!).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'callback.confirm',
      'callback.secrets',
      'login',
      'password',
      'pasword',
      'rate.perSecond',
      'timeouts.sendMs',
      'timeouts.statusMs',
      'tracking.schedule',
      'url',
    ]);
    const error = new RtSmsConfigError(problems, 'otp');
    for (const problem of problems) expect(error.message).toContain(`\n  - ${problem}`);
  });

  it.each(['apiKey', 'callbackUrl', 'timeouts.idle', 'retry.delayMs', 'callback.path', 'tracking.interval', 'tls.pfx'])(
    'rejects the unknown option %s',
    (path) => expect(problemsOf({ ...REQUIRED, ...at(path, 'x') })).toEqual([`${path}: unknown option`]),
  );

  it.each([
    ['pasword', 'password'],
    ['pass', 'password'],
    ['Login', 'login'],
    ['timeout', 'timeouts'],
    ['shortCode', 'shortcode'],
    ['callback.secret', 'secrets'],
    ['callback.allow_from', 'allowFrom'],
    ['tracking.maxAgeMS', 'maxAgeMs'],
  ])('rejects the unknown option %s and suggests %s', (path, meant) => {
    expect(problemsOf({ ...REQUIRED, ...at(path, 'x') })).toContain(`${path}: unknown option; did you mean ${meant}?`);
  });

  it.each([
    ['name', 'otp'],
    ['isGlobal', true],
    ['callbackPath', false],
    ['callbackDecorators', []],
  ])('rejects %s in the result of the factory', (extra, value) => {
    expect(problemsOf({ ...REQUIRED, [extra]: value })).toEqual([
      expect.stringMatching(new RegExp(`^${extra}: belongs next to the factory, in forRootAsync`)),
    ]);
  });

  it('rejects a callback route that would drop every callback', () => {
    const options = { ...REQUIRED, tracking: false };
    expect(problemsOf(options)).toEqual([
      expect.stringMatching(/^callback\.secrets: .*tracking.*set a secret.*callbackPath: false/),
    ]);
    expect(problemsOf(options, false)).toEqual([]);
    expect(problemsOf({ ...options, callback: { secrets: SECRET } })).toEqual([]);
    expect(problemsOf({ ...options, tracking: {} })).toEqual([]);
    expect(problemsOf({ ...options, callback: { allowFrom: ['127.0.0.1'], confirm: 'always' } })).toHaveLength(1);
  });

  it('never prints the password, a secret or a value that may hold one', () => {
    const HIDDEN = 'hunter-22';
    const wrong = [HIDDEN + '\n', 4815162342, [HIDDEN], { [HIDDEN]: HIDDEN }, true];
    for (const password of wrong) {
      const options = {
        login: `${HIDDEN}:`,
        password,
        url: `https://shop:${HIDDEN}@sms.rt.ru/`,
        proxy: `socks5://shop:${HIDDEN}@proxy`,
        callback: { secrets: [HIDDEN, 4815162342] },
        tls: { ca: [HIDDEN, 7], cert: [HIDDEN], key: [HIDDEN], passphrase: [HIDDEN] },
      };
      const problems = problemsOf(options);
      expect(problems).toHaveLength(9);
      const error = new RtSmsConfigError(problems);
      expect(error.message + error.stack + inspect(error) + JSON.stringify(error)).not.toMatch(/hunter|4815162342/);
    }
    for (const value of [4815162342, '4815162342']) {
      for (const path of ['callback.secrets', 'login', 'tls.passphrase', 'tls.key', 'url', 'proxy']) {
        expect(problemsOf({ ...REQUIRED, ...at(path, value) }).join()).not.toContain('4815162342');
      }
    }
  });

  it('describes each problem of any input', () => {
    const names = OPTIONS.map(([path]) => path.split('.')[0]!);
    const values = fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true });
    const options = fc.dictionary(fc.constantFrom(...names, 'pasword', 'toString'), values);
    fc.assert(
      fc.property(options, fc.boolean(), (options, mounted) => {
        for (const problem of problemsOf(options, mounted)) expect(problem).toMatch(/^[\w.$\s-]*.*: \S/s);
      }),
    );
  });
});
