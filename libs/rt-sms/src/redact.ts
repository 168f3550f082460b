import { isNativeError } from 'node:util/types';
import { sharing } from './confidential.js';

/** Number of characters of a foreign text that are read. It bounds the time for a text of any length. */
const MAX_READ = 4_000;
const MAX_SHOWN = 300;

/**
 * Makes foreign text safe for errors, logs and spans; all redaction is here. Removes `secrets` and each word that shares
 * anything with them, the credentials in a URL and control characters, and masks everything that looks like a phone number.
 * The result is one line of at most `maxLength` characters.
 */
export function redact(text: string, secrets: readonly string[] = [], maxLength = MAX_SHOWN): string {
  const masked = without(text.slice(0, MAX_READ), secrets)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .replace(NUMBER_OR_ADDRESS, maskMatch);
  const line = eachWord(masked, withoutUserInfo).slice(0, maxLength).toWellFormed();
  if (secrets.length === 0) return line;
  const isShared = sharing(secrets);
  return eachWord(line, (word) => (isShared(word) ? '***' : word));
}

const eachWord = (text: string, change: (word: string) => string): string =>
  text
    .split(/(\p{Zs}+)/u)
    .map((word) => change(word))
    .join('');

/** Removes the secrets from a text, in plain form and as JSON escapes them. */
function without(text: string, secrets: readonly string[]): string {
  let safe = text;
  // The longest first, because a shorter secret may be a part of it.
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) {
    if (secret.length > 3) safe = safe.replaceAll(secret, '***').replaceAll(JSON.stringify(secret).slice(1, -1), '***');
  }
  return safe;
}

/** A phone number in any written form, or an IPv4 address, which is kept. The limits make the match linear. */
const NUMBER_OR_ADDRESS =
  /(?<!\p{Nd}\.?)(\d{1,3}(?:\.\d{1,3}){3})(?!\.?\p{Nd})|\p{Nd}(?:[\p{Zs}\p{Pd}()./_]{0,3}\p{Nd}){8,}/gu;

const maskMatch = (match: string, address?: string): string => address ?? maskNumber(match.match(/\p{Nd}/gu)!.join(''));

/** Masks a number as `7927*****01`: the first 4 and the last 2 digits are shown; with fewer than 10 digits, none. */
export function maskNumber(number: string): string {
  const digits = [...number];
  const shown = digits.length < 10 ? 0 : 2;
  return digits.map((digit, at) => (at < 2 * shown || at >= digits.length - shown ? digit : '*')).join('');
}

/**
 * Removes the credentials of a URL, up to the last `@`, because a password may contain one. A regular expression would be
 * quadratic.
 */
function withoutUserInfo(word: string): string {
  const start = word.indexOf('//');
  const end = word.lastIndexOf('@');
  return start >= 0 && end > start ? `${word.slice(0, start)}//***${word.slice(end)}` : word;
}

// In a separate context, such as under Jest, errors of Node are not `instanceof Error`.
export const isError = (thrown: unknown): thrown is Error => thrown instanceof Error || isNativeError(thrown);

/** Returns the unredacted message of any thrown value. Never throws. */
export function messageOf(thrown: unknown): string {
  try {
    return String(isError(thrown) ? thrown.message : thrown);
  } catch {
    return 'a value that cannot be converted to text';
  }
}

/** Returns the unredacted name and code of any thrown value. Never throws. */
function nameAndCodeOf(thrown: unknown): { name?: unknown; code?: unknown } {
  try {
    const { name, code } = isError(thrown) ? (thrown as Error & { code?: unknown }) : {};
    return { name, code };
  } catch {
    return {};
  }
}

/**
 * Creates a replacement for a foreign error, with its redacted name, code and message and nothing else. Accepts any thrown
 * value and never throws.
 */
export function safeCause(error: unknown, secrets: readonly string[] = []): Error {
  const { name, code } = nameAndCodeOf(error);
  const safe = new Error(redact(messageOf(error), secrets));
  // Retries depend on names and codes, so one that only shares a few letters with a secret is kept.
  const identifier = (text: string) => redact(without(text.slice(0, MAX_READ), secrets));
  safe.name = typeof name === 'string' ? identifier(name) : 'Error';
  // Without the frames, which would be those of this function.
  safe.stack = `${safe.name}: ${safe.message}`;
  return typeof code === 'string' ? Object.assign(safe, { code: identifier(code) }) : safe;
}
