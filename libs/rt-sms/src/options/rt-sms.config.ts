import { registerAs, type ConfigFactory, type ConfigFactoryKeyHost } from '@nestjs/config';
import { defined } from '../defined.js';
import { passwordFile } from './password-file.js';
import { READ_FROM, READ_PROBLEMS, type ReadFromEnvironment } from './resolve-options.js';
import type { RtSmsOptions } from './rt-sms.options.js';

type Namespace = ConfigFactory<RtSmsOptions> & ConfigFactoryKeyHost<RtSmsOptions>;

// A value that cannot be parsed stays unchanged, so that the check of the options rejects and shows it.
const asNumber = (text: string) => (/^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) : text);
const asFlag = (text: string) => (/^(true|1)$/i.test(text) ? true : /^(false|0)$/i.test(text) ? false : text);
function asList(text: string): string[] | string {
  const items = text.split(',').map((item) => item.trim());
  const filled = items.filter(Boolean);
  return filled.length > 0 ? filled : text;
}

/** Prefix of the variables of an account, by default of the default account. A `-` in the name becomes `_`. */
export const prefixOf = (account?: string): string =>
  account === undefined ? 'RT_SMS' : `RT_SMS_${account.toUpperCase().replaceAll('-', '_')}`;

/** Reads the environment. The values are checked at the start, with the options of the module. */
export function readEnvironment(prefix: string, env: Readonly<Record<string, unknown>> = process.env): RtSmsOptions {
  const sources = new Map<string, [variable: string, value: unknown]>();
  const take = (option: string, name: string, parse: (text: string) => unknown = (text) => text, trim = true) => {
    const variable = `${prefix}_${name}`;
    const given = env[variable];
    const text = (typeof given === 'string' && (trim ? given.trim() : given)) || undefined;
    const value = text === undefined ? undefined : parse(text);
    sources.set(option, [variable, value]);
    return value;
  };
  /** Returns nothing for a group without values. */
  const group = (values: object) => (Object.keys(defined(values)).length > 0 ? values : undefined);
  // A password or passphrase may end in a space, so it is not trimmed.
  const secret = (option: string, name: string) => take(option, name, undefined, false);
  const file = take('password', 'PASSWORD_FILE', passwordFile);
  const fileSource = sources.get('password')!;
  const constant = secret('password', 'PASSWORD');
  if (file !== undefined && constant === undefined) sources.set('password', fileSource);
  const password = constant ?? file;
  const options = {
    login: take('login', 'LOGIN'),
    password,
    url: take('url', 'URL'),
    shortcode: take('shortcode', 'SHORTCODE'),
    credentials: take('credentials', 'CREDENTIALS'),
    allowHttp: take('allowHttp', 'ALLOW_HTTP', asFlag),
    callback: {
      secrets: take('callback.secrets', 'CALLBACK_SECRETS', asList),
      allowFrom: take('callback.allowFrom', 'CALLBACK_ALLOW_FROM', asList),
    },
    rate: group({ perSecond: take('rate.perSecond', 'RATE_PER_SECOND', asNumber) }),
    policy: group({
      onlyTo: take('policy.onlyTo', 'ONLY_TO', asList),
      countries: take('policy.countries', 'COUNTRIES', asList),
      maxSegments: take('policy.maxSegments', 'MAX_SEGMENTS', asNumber),
      segmentsPerDay: take('policy.segmentsPerDay', 'SEGMENTS_PER_DAY', asNumber),
    }),
    timeouts: {
      connectMs: take('timeouts.connectMs', 'CONNECT_TIMEOUT_MS', asNumber),
      sendMs: take('timeouts.sendMs', 'SEND_TIMEOUT_MS', asNumber),
      statusMs: take('timeouts.statusMs', 'STATUS_TIMEOUT_MS', asNumber),
    },
    tls: group({
      ca: take('tls.ca', 'TLS_CA'),
      cert: take('tls.cert', 'TLS_CERT'),
      key: take('tls.key', 'TLS_KEY'),
      passphrase: secret('tls.passphrase', 'TLS_PASSPHRASE'),
    }),
    proxy: take('proxy', 'PROXY'),
  };
  const source: ReadFromEnvironment = {
    // Names the variable only if the value is unchanged, because options may be changed after they were read.
    [READ_FROM]: (option, value) => {
      const [variable, was] = sources.get(option) ?? [];
      return was === value ? variable : undefined;
    },
    [READ_PROBLEMS]: (options) =>
      file !== undefined && constant !== undefined && (options as Partial<RtSmsOptions>).password === password
        ? [{ option: 'password', text: `and ${prefix}_PASSWORD_FILE are both set; unset one of them` }]
        : [],
  };
  // Unchecked, so that an invalid value is reported together with all others, with its option and its variable.
  return { ...options, ...source } as unknown as RtSmsOptions;
}

/**
 * Namespace `rtSms` of `@nestjs/config`. It reads `RT_SMS_LOGIN`, `RT_SMS_PASSWORD` and the other `RT_SMS_*` variables.
 * `RT_SMS_PASSWORD_FILE` names a file with the password, which is read at the start and again when the gateway rejects it.
 * Use it as `RtSmsModule.forRootAsync(rtSmsConfig.asProvider())`.
 */
export const rtSmsConfig: Namespace = registerAs('rtSms', () => readEnvironment(prefixOf()));

/**
 * Namespace of a named account: `rtSmsConfigFor('otp')` is `rtSms:otp` and reads `RT_SMS_OTP_*`. A `-` in the name becomes
 * `_` in the variables.
 */
export function rtSmsConfigFor(account: string): Namespace {
  // A colon, because a dot would nest this account's options in the namespace `rtSms`, where the name is an unknown option.
  return registerAs(`rtSms:${account}`, () => readEnvironment(prefixOf(account)));
}
