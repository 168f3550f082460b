import { randomBytes } from 'node:crypto';
import type { RtSmsExtras } from '../options/rt-sms.options.js';

/** A fresh secret for `callback.secrets`: 24 random bytes, as 32 characters of `A-Z a-z 0-9 _ -`. */
export const newCallbackSecret = (): string => randomBytes(24).toString('base64url');

/** The path of an account's callback as it was asked for, or the default. */
export const callbackPathOf = ({ name, callbackPath }: RtSmsExtras): string | false =>
  // Not `??`: null is a mistake, and has to be seen as one.
  callbackPath === undefined ? (name === undefined ? 'rt-sms/callback' : `rt-sms/${name}/callback`) : callbackPath;

/**
 * The address to enter in the cabinet ("Адрес для получения статуса сообщения"). `base` is the application's public address,
 * with its global prefix if it has one, such as `https://shop.example/api`; `account` says what its module was told.
 * @throws TypeError if `base` is no address
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
