import { registerAs, type ConfigFactory, type ConfigFactoryKeyHost } from '@nestjs/config';
import type { RtSmsOptions } from './rt-sms.options.js';

type Namespace = ConfigFactory<RtSmsOptions> & ConfigFactoryKeyHost<RtSmsOptions>;

/** Only reads the environment; what it finds is checked with the options of the module, at start-up. */
function read(prefix: string): RtSmsOptions {
  const text = (name: string) => process.env[`${prefix}_${name}`]?.trim() || undefined;
  const number = (name: string) => (text(name) === undefined ? undefined : Number(text(name)));
  const list = (name: string) =>
    text(name)
      ?.split(',')
      .map((item) => item.trim())
      .filter(Boolean);
  const flag = text('ALLOW_HTTP');
  const perSecond = number('RATE_PER_SECOND');
  const options = {
    login: text('LOGIN'),
    // Not trimmed: a password may end in a space.
    password: process.env[`${prefix}_PASSWORD`] || undefined,
    url: text('URL'),
    shortcode: text('SHORTCODE'),
    credentials: text('CREDENTIALS'),
    allowHttp: flag === undefined ? undefined : /^(true|false|1|0)$/i.test(flag) ? /^(true|1)$/i.test(flag) : flag,
    callback: { secrets: list('CALLBACK_SECRETS'), allowFrom: list('CALLBACK_ALLOW_FROM') },
    rate: perSecond === undefined ? undefined : { perSecond },
    timeouts: {
      connectMs: number('CONNECT_TIMEOUT_MS'),
      sendMs: number('SEND_TIMEOUT_MS'),
      statusMs: number('STATUS_TIMEOUT_MS'),
    },
    proxy: text('PROXY'),
  };
  // Unchecked on purpose: a wrong value is reported with all the others, and by the option's name.
  return options as unknown as RtSmsOptions;
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
