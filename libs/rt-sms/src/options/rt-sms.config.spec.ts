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
/** What the variables come to, checked and with defaults. */
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

// Variable without its prefix, its value, what the options hold then.
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
  ['PROXY', 'http://proxy.example:3128', { proxy: 'http://proxy.example:3128' }],
  ['ALLOW_HTTP', 'true', { allowHttp: true }],
  ['ALLOW_HTTP', '1', { allowHttp: true }],
  ['ALLOW_HTTP', 'false', { allowHttp: false }],
  ['ALLOW_HTTP', '0', { allowHttp: false }],
];
const REQUIRED = { RT_SMS_LOGIN: 'login', RT_SMS_PASSWORD: 'password' };
/** Without what is there, but undefined. */
const given = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe.each([
  ['rtSmsConfig', 'RT_SMS', rtSmsConfig],
  ["rtSmsConfigFor('otp')", 'RT_SMS_OTP', rtSmsConfigFor('otp')],
  ["rtSmsConfigFor('night-shift')", 'RT_SMS_NIGHT_SHIFT', rtSmsConfigFor('night-shift')],
])('%s', (_, prefix, namespace) => {
  it.each(VARIABLES)(`reads ${prefix}_%s=%s`, (name, value, options) => {
    env({ [`${prefix}_${name}`]: value });
    const blank = { callback: {}, timeouts: {} };
    expect(given(namespace())).toEqual({ ...blank, ...options });
    env({ [`${prefix}_LOGIN`]: 'x', [`${prefix}_PASSWORD`]: 'x', [`${prefix}_${name}`]: value });
    expect(problems(namespace())).toEqual([]);
  });

  it('reads nothing of another account', () => {
    const others = ['RT_SMS', 'RT_SMS_OTP', 'RT_SMS_NIGHT_SHIFT', 'RTSMS', 'SMS'].filter((other) => other !== prefix);
    env(Object.fromEntries(others.flatMap((other) => VARIABLES.map(([name, value]) => [`${other}_${name}`, value]))));
    expect(given(namespace())).toEqual({ callback: {}, timeouts: {} });
  });
});

describe('rtSmsConfig', () => {
  it('comes to the defaults where only login and password are set, or the rest is empty', () => {
    env(REQUIRED);
    const defaults = resolveOptions({ login: 'login', password: 'password' }, 'default', true);
    expect(resolved(rtSmsConfig())).toEqual(defaults);
    env({ ...Object.fromEntries(VARIABLES.map(([name]) => [`RT_SMS_${name}`, ''])), ...REQUIRED });
    expect(resolved(rtSmsConfig())).toEqual(defaults);
  });

  it.each([
    ['RATE_PER_SECOND', 'abc', /^rate\.perSecond: must be a whole number from 1 to 10000, not NaN$/],
    ['RATE_PER_SECOND', '0', /^rate\.perSecond: .*not 0$/],
    ['RATE_PER_SECOND', '1.5', /^rate\.perSecond: .*not 1\.5$/],
    ['CONNECT_TIMEOUT_MS', '5s', /^timeouts\.connectMs: .*not NaN$/],
    ['SEND_TIMEOUT_MS', '-1', /^timeouts\.sendMs: .*not -1$/],
    ['STATUS_TIMEOUT_MS', 'abc', /^timeouts\.statusMs: .*not NaN$/],
    ['ALLOW_HTTP', 'yes', /^allowHttp: must be true or false, not 'yes'$/],
    ['CREDENTIALS', 'query', /^credentials: must be 'header' or 'body' or 'both', not 'query'$/],
    ['URL', 'http://sms.rt.ru/', /^url: must be an https address/],
    ['CALLBACK_SECRETS', 'short', /^callback\.secrets: /],
    ['CALLBACK_SECRETS', ' , ', /^callback\.secrets: /],
    ['CALLBACK_ALLOW_FROM', '10.0.0.0/33', /^callback\.allowFrom: /],
    ['PROXY', 'proxy:3128', /^proxy: /],
    ['LOGIN', 'a:b', /^login: /],
  ])('RT_SMS_%s=%s becomes a problem of the option', (name, value, problem) => {
    env({ ...REQUIRED, [`RT_SMS_${name}`]: value });
    expect(problems(rtSmsConfig())).toEqual([expect.stringMatching(problem)]);
  });

  it('misses login and password by the names of the options', () => {
    expect(problems(rtSmsConfig())).toEqual([
      'login: is missing; it must be a non-empty string without ":"',
      'password: is missing; it must be a non-empty string',
    ]);
  });

  it('is a namespace of its own for each account', () => {
    expect(rtSmsConfig.KEY).toBe('CONFIGURATION(rtSms)');
    expect(rtSmsConfigFor('otp').KEY).toBe('CONFIGURATION(rtSms:otp)');
    expect(rtSmsConfig.asProvider()).toMatchObject({ imports: [expect.anything()], inject: [rtSmsConfig.KEY] });
  });
});

describe('two accounts in one application, both from the environment', () => {
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
