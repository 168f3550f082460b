import { registerAs, type ConfigFactory, type ConfigFactoryKeyHost } from '@nestjs/config';
import { defined } from '../defined.js';
import { READ_FROM, type ReadFromEnvironment } from './resolve-options.js';
import type { RtSmsOptions } from './rt-sms.options.js';

type Namespace = ConfigFactory<RtSmsOptions> & ConfigFactoryKeyHost<RtSmsOptions>;

// What cannot be read stays as it was written: the check of the options refuses it, and shows it.
const asNumber = (text: string) => (/^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) : text);
const asFlag = (text: string) => (/^(true|1)$/i.test(text) ? true : /^(false|0)$/i.test(text) ? false : text);
function asList(text: string): string[] | string {
  const items = text.split(',').map((item) => item.trim());
  const filled = items.filter(Boolean);
  return filled.length > 0 ? filled : text;
}

/** Only reads the environment; what it finds is checked with the options of the module, at start-up. */
function read(prefix: string): RtSmsOptions {
  const sources = new Map<string, [variable: string, value: unknown]>();
  const take = (option: string, name: string, parse: (text: string) => unknown = (text) => text, trim = true) => {
    const variable = `${prefix}_${name}`;
    const text = (trim ? process.env[variable]?.trim() : process.env[variable]) || undefined;
    const value = text === undefined ? undefined : parse(text);
    sources.set(option, [variable, value]);
    return value;
  };
  /** A group with nothing in it is absent. */
  const group = (values: object) => (Object.keys(defined(values)).length > 0 ? values : undefined);
  // Neither a password nor a passphrase is trimmed: it may end in a space.
  const secret = (option: string, name: string) => take(option, name, undefined, false);
  const options = {
    login: take('login', 'LOGIN'),
    password: secret('password', 'PASSWORD'),
    url: take('url', 'URL'),
    shortcode: take('shortcode', 'SHORTCODE'),
    credentials: take('credentials', 'CREDENTIALS'),
    allowHttp: take('allowHttp', 'ALLOW_HTTP', asFlag),
    callback: {
      secrets: take('callback.secrets', 'CALLBACK_SECRETS', asList),
      allowFrom: take('callback.allowFrom', 'CALLBACK_ALLOW_FROM', asList),
    },
    rate: group({ perSecond: take('rate.perSecond', 'RATE_PER_SECOND', asNumber) }),
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
    // Only of a value that is still the one of the variable: options may be changed after they were read.
    [READ_FROM]: (option, value) => {
      const [variable, was] = sources.get(option) ?? [];
      return was === value ? variable : undefined;
    },
  };
  // Unchecked on purpose: a wrong value is reported with all the others, by the names of its option and its variable.
  return { ...options, ...source } as unknown as RtSmsOptions;
}

/**
 * The namespace `rtSms` of `@nestjs/config`: reads `RT_SMS_LOGIN`, `RT_SMS_PASSWORD` and the other `RT_SMS_*` variables.
 * Use it as `RtSmsModule.forRootAsync(rtSmsConfig.asProvider())`.
 */
export const rtSmsConfig: Namespace = registerAs('rtSms', () => read('RT_SMS'));

/**
 * The same for a named account: `rtSmsConfigFor('otp')` is the namespace `rtSms:otp` and reads `RT_SMS_OTP_*`; `-` in the
 * name is `_` there.
 */
export function rtSmsConfigFor(account: string): Namespace {
  // No dot: it would put this account's settings into those of `rtSms`, where it is no option.
  return registerAs(`rtSms:${account}`, () => read(`RT_SMS_${account.toUpperCase().replaceAll('-', '_')}`));
}
