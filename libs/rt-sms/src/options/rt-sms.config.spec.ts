import { join } from 'node:path';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { rtSmsConfig, rtSmsConfigFor } from './rt-sms.config.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { RtSmsModule } from '../rt-sms.module.js';
import { resolveOptions } from './resolve-options.js';
import type { RtSmsOptions } from './rt-sms.options.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';

const before = { ...process.env };
afterEach(() => {
  process.env = { ...before };
});
function env(variables: Record<string, string>): void {
  process.env = { ...before, ...variables };
}
/** Options that result from the variables, checked and with defaults. */
const resolved = (options: unknown) => resolveOptions(options, 'default', true);
function problems(options: unknown): readonly string[] {
  try {
    resolved(options);
  } catch (error) {
    expect(error).toBeInstanceOf(RtSmsConfigError);
    return (error as RtSmsConfigError).problems;
  }
  return [];
}

const CERTIFICATE = join(import.meta.dirname, '../../../../test/faults/certs/ca.pem');
// Variable without its prefix, its value, and the options that result.
const VARIABLES: [string, string, Partial<RtSmsOptions>][] = [
  ['LOGIN', 'shop', { login: 'shop' }],
  ['PASSWORD', ' p:a,s s ', { password: ' p:a,s s ' }],
  ['URL', 'https://target.t2.ru/api/v2/send_message', { url: 'https://target.t2.ru/api/v2/send_message' }],
  ['SHORTCODE', 'AVARIA', { shortcode: 'AVARIA' }],
  ['CREDENTIALS', 'both', { credentials: 'both' }],
  ['CALLBACK_SECRETS', 'a-secret-of-sixteen', { callback: { secrets: ['a-secret-of-sixteen'] } }],
  [
    'CALLBACK_SECRETS',
    'a-secret-of-sixteen, another-secret-of-mine,',
    { callback: { secrets: ['a-secret-of-sixteen', 'another-secret-of-mine'] } },
  ],
  ['CALLBACK_ALLOW_FROM', '10.0.0.0/8 ,::1', { callback: { allowFrom: ['10.0.0.0/8', '::1'] } }],
  ['RATE_PER_SECOND', '20', { rate: { perSecond: 20 } }],
  ['CONNECT_TIMEOUT_MS', '1000', { timeouts: { connectMs: 1000 } }],
  ['SEND_TIMEOUT_MS', '2000', { timeouts: { sendMs: 2000 } }],
  ['STATUS_TIMEOUT_MS', ' 3000 ', { timeouts: { statusMs: 3000 } }],
  ['TLS_CA', CERTIFICATE, { tls: { ca: CERTIFICATE } }],
  ['PROXY', 'http://proxy.example:3128', { proxy: 'http://proxy.example:3128' }],
  ['ALLOW_HTTP', 'true', { allowHttp: true }],
  ['ALLOW_HTTP', '1', { allowHttp: true }],
  ['ALLOW_HTTP', 'false', { allowHttp: false }],
  ['ALLOW_HTTP', '0', { allowHttp: false }],
];
const REQUIRED = { RT_SMS_LOGIN: 'login', RT_SMS_PASSWORD: 'password' };
/** Copy without keys whose value is undefined. */
const withoutUndefined = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe.each([
  ['rtSmsConfig', 'RT_SMS', rtSmsConfig],
  ["rtSmsConfigFor('otp')", 'RT_SMS_OTP', rtSmsConfigFor('otp')],
  ["rtSmsConfigFor('night-shift')", 'RT_SMS_NIGHT_SHIFT', rtSmsConfigFor('night-shift')],
])('%s', (_, prefix, namespace) => {
  it.each(VARIABLES)(`reads ${prefix}_%s=%s`, (name, value, options) => {
    env({ [`${prefix}_${name}`]: value });
    const blank = { callback: {}, timeouts: {} };
    expect(withoutUndefined(namespace())).toEqual({ ...blank, ...options });
    env({ [`${prefix}_LOGIN`]: 'x', [`${prefix}_PASSWORD`]: 'x', [`${prefix}_${name}`]: value });
    expect(problems(namespace())).toEqual([]);
  });

  it('does not read the variables of another account', () => {
    const others = ['RT_SMS', 'RT_SMS_OTP', 'RT_SMS_NIGHT_SHIFT', 'RTSMS', 'SMS'].filter((other) => other !== prefix);
    env(Object.fromEntries(others.flatMap((other) => VARIABLES.map(([name, value]) => [`${other}_${name}`, value]))));
    expect(withoutUndefined(namespace())).toEqual({ callback: {}, timeouts: {} });
  });
});

describe('rtSmsConfig', () => {
  it('gives the defaults if only login and password are set, or the other variables are empty', () => {
    env(REQUIRED);
    const defaults = resolveOptions({ login: 'login', password: 'password' }, 'default', true);
    expect(resolved(rtSmsConfig())).toEqual(defaults);
    env({ ...Object.fromEntries(VARIABLES.map(([name]) => [`RT_SMS_${name}`, ''])), ...REQUIRED });
    expect(resolved(rtSmsConfig())).toEqual(defaults);
  });

  it.each([
    ['RATE_PER_SECOND', 'abc', "rate.perSecond: {} must be a whole number from 1 to 10000, not 'abc'"],
    ['RATE_PER_SECOND', '0', 'rate.perSecond: {} must be a whole number from 1 to 10000, not 0'],
    ['RATE_PER_SECOND', '1.5', 'rate.perSecond: {} must be a whole number from 1 to 10000, not 1.5'],
    ['RATE_PER_SECOND', '0x10', "rate.perSecond: {} must be a whole number from 1 to 10000, not '0x10'"],
    ['RATE_PER_SECOND', '1e3', "rate.perSecond: {} must be a whole number from 1 to 10000, not '1e3'"],
    ['RATE_PER_SECOND', '5,5', "rate.perSecond: {} must be a whole number from 1 to 10000, not '5,5'"],
    ['CONNECT_TIMEOUT_MS', '5s', /^timeouts\.connectMs: {} .*not '5s'$/],
    ['CONNECT_TIMEOUT_MS', '5 сек', /^timeouts\.connectMs: {} .*not '5 сек'$/],
    ['SEND_TIMEOUT_MS', '-1', /^timeouts\.sendMs: {} .*not -1$/],
    ['SEND_TIMEOUT_MS', '30_000', /^timeouts\.sendMs: {} .*not '30_000'$/],
    ['STATUS_TIMEOUT_MS', 'Infinity', /^timeouts\.statusMs: {} .*not 'Infinity'$/],
    // The value may be a password in the wrong line.
    ['STATUS_TIMEOUT_MS', 'a-password-of-mine', /^timeouts\.statusMs: {} .*\(value hidden\)$/],
    ['ALLOW_HTTP', 'yes', "allowHttp: {} must be true or false, not 'yes'"],
    ['CREDENTIALS', 'query', "credentials: {} must be 'header' or 'body' or 'both', not 'query'"],
    ['URL', 'http://sms.rt.ru/', /^url: {} must be an https address/],
    ['CALLBACK_SECRETS', 'short', /^callback\.secrets: {} must be/],
    ['CALLBACK_SECRETS', ' , ', /^callback\.secrets: {} must be/],
    ['CALLBACK_ALLOW_FROM', '10.0.0.0/33', /^callback\.allowFrom: {} must be/],
    ['CALLBACK_ALLOW_FROM', ' , ', /^callback\.allowFrom: {} must be/],
    ['PROXY', 'proxy:3128', /^proxy: {} must be/],
    ['LOGIN', 'a:b', /^login: {} must be/],
    ['TLS_CA', '/no/such/ca.pem', "tls.ca: {} names a file that cannot be read: '/no/such/ca.pem' (ENOENT)"],
  ])('RT_SMS_%s=%s is rejected with the names of its option and its variable', (name, value, problem) => {
    for (const [prefix, namespace] of [
      ['RT_SMS', rtSmsConfig],
      ['RT_SMS_OTP', rtSmsConfigFor('otp')],
    ] as const) {
      const variable = `${prefix}_${name}`;
      const expected =
        typeof problem === 'string'
          ? problem.replace('{}', variable)
          : expect.stringMatching(new RegExp(problem.source.replace('{}', variable)));
      env({ [`${prefix}_LOGIN`]: 'x', [`${prefix}_PASSWORD`]: 'x', [variable]: value });
      expect(problems(namespace())).toEqual([expected]);
    }
  });

  it('reports a missing login and password with the names of their options and variables', () => {
    expect(problems(rtSmsConfig())).toEqual([
      'login: RT_SMS_LOGIN is missing; it must be a non-empty string without ":"',
      'password: RT_SMS_PASSWORD is missing; it must be a non-empty string, or a function that returns one',
    ]);
    env({ RT_SMS_LOGIN: 'x', RT_SMS_PASSWORD: 'x', RT_SMS_TLS_CERT: CERTIFICATE });
    expect(problems(rtSmsConfig())).toEqual(['tls.key: RT_SMS_TLS_KEY is missing; set the private key of tls.cert']);
  });

  it('does not name the variable of a value that was changed after it was read', () => {
    env({ ...REQUIRED, RT_SMS_SHORTCODE: 'SHOP', RT_SMS_SEND_TIMEOUT_MS: '5s' });
    const changed = { ...(rtSmsConfig() as RtSmsOptions), shortcode: '', timeouts: { sendMs: 0 } };
    expect(problems(changed)).toEqual([
      expect.stringMatching(/^shortcode: must be .* not empty$/),
      expect.stringMatching(/^timeouts\.sendMs: must be .* not 0$/),
    ]);
  });

  it('reads a password and a passphrase unchanged', () => {
    env({ ...REQUIRED, RT_SMS_PASSWORD: ' pa#ss$HOME ', RT_SMS_TLS_PASSPHRASE: ' ' });
    expect(rtSmsConfig()).toMatchObject({ password: ' pa#ss$HOME ', tls: { passphrase: ' ' } });
  });

  it('is a separate namespace for each account', () => {
    expect(rtSmsConfig.KEY).toBe('CONFIGURATION(rtSms)');
    expect(rtSmsConfigFor('otp').KEY).toBe('CONFIGURATION(rtSms:otp)');
    expect(rtSmsConfig.asProvider()).toMatchObject({ imports: [expect.anything()], inject: [rtSmsConfig.KEY] });
  });
});

describe('an invalid variable stops the start with its name', () => {
  const config = ConfigModule.forRoot({ ignoreEnvFile: true, isGlobal: true, load: [rtSmsConfig] });
  it.each([
    ['asProvider()', RtSmsModule.forRootAsync(rtSmsConfig.asProvider())],
    [
      'the KEY, and a copy',
      RtSmsModule.forRootAsync({
        inject: [rtSmsConfig.KEY],
        useFactory: (read: RtSmsOptions) => ({ ...read, connections: 2 }),
      }),
    ],
    [
      'ConfigService',
      RtSmsModule.forRootAsync({
        inject: [ConfigService],
        useFactory: (service: ConfigService) => service.getOrThrow<RtSmsOptions>('rtSms'),
      }),
    ],
  ])('%s', async (_, account) => {
    env({ RT_SMS_LOGIN: 'shop' });
    const module = Test.createTestingModule({ imports: [EventEmitterModule.forRoot(), config, account] });
    await expect(module.compile()).rejects.toMatchObject({
      problems: ['password: RT_SMS_PASSWORD is missing; it must be a non-empty string, or a function that returns one'],
    });
  });
});

describe('two accounts of one application, both read from the environment', () => {
  const account = (name?: string) =>
    RtSmsModule.forRootAsync({
      ...(name === undefined ? rtSmsConfig : rtSmsConfigFor(name)).asProvider(),
      ...(name === undefined ? {} : { name }),
    });

  it.each([
    ['the named one last', ConfigModule.forRoot({ ignoreEnvFile: true }), [undefined, 'otp']],
    ['the named one first', ConfigModule.forRoot({ ignoreEnvFile: true }), ['otp', undefined]],
    [
      'both loaded',
      ConfigModule.forRoot({ ignoreEnvFile: true, load: [rtSmsConfig, rtSmsConfigFor('otp')] }),
      [undefined, 'otp'],
    ],
  ])('%s', async (_, config, names: (string | undefined)[]) => {
    env({ ...REQUIRED, RT_SMS_OTP_LOGIN: 'otp', RT_SMS_OTP_PASSWORD: 'password' });
    const module = await Test.createTestingModule({
      imports: [EventEmitterModule.forRoot(), config, ...names.map(account)],
    }).compile();
    for (const name of names) expect(module.get(getRtSmsToken(name), { strict: false })).toBeDefined();
    expect(module.get(ConfigService).get('rtSms')).not.toHaveProperty('otp');
    await module.close();
  });
});
