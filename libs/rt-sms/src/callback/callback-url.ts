import { randomBytes } from 'node:crypto';
import type { RtSmsExtras } from '../options/rt-sms.options.js';

/** Generates a secret for `callback.secrets`: 24 random bytes, as 32 characters of `A-Z a-z 0-9 _ -`. */
export const newCallbackSecret = (): string => randomBytes(24).toString('base64url');

/** Callback path of an account: the configured one, or the default. */
export const callbackPathOf = ({ name, callbackPath }: RtSmsExtras): string | false =>
  // `??` would hide null, which is a mistake that the caller reports.
  callbackPath === undefined ? (name === undefined ? 'rt-sms/callback' : `rt-sms/${name}/callback`) : callbackPath;

/**
 * Returns the address to enter in the cabinet ("Адрес для получения статуса сообщения"). `base` is the public address of the
 * application with its global prefix, such as `https://shop.example/api`; `account` repeats `name` and `callbackPath` of its
 * registration.
 * @throws TypeError if `base` is not an absolute URL
 */
export function callbackUrl(
  base: string,
  secret: string,
  account: { name?: string; callbackPath?: string } = {},
): string {
  const url = new URL(base);
  url.pathname = [url.pathname, callbackPathOf(account), secret].join('/').replace(/\/{2,}/g, '/');
  return url.href;
}
