import { isNativeError } from 'node:util/types';
import { sharing } from './confidential.js';

/** No more of a foreign text is looked at, whatever its length. */
const MAX_READ = 4_000;
const MAX_SHOWN = 300;

/**
 * The one place that makes foreign text fit for errors, logs and spans: `secrets` are cut out, and so is each word that
 * shares anything with them; whatever looks like a phone number is masked, the password in a URL and control characters
 * go, and it stays on one line of at most `maxLength` characters.
 */
export function redact(text: string, secrets: readonly string[] = [], maxLength = MAX_SHOWN): string {
  const masked = without(text.slice(0, MAX_READ), secrets)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .replace(NUMBER_OR_ADDRESS, maskNumber);
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

/** The text without these as they are, also as JSON has them. */
function without(text: string, secrets: readonly string[]): string {
  let safe = text;
  // The longest first: a shorter one may be a part of it.
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) {
    if (secret.length > 3) safe = safe.replaceAll(secret, '***').replaceAll(JSON.stringify(secret).slice(1, -1), '***');
  }
  return safe;
}

/** A phone number as people write it, or an IPv4 address, which stays. The count of digits ends each try: it is linear. */
const NUMBER_OR_ADDRESS =
  /(?<!\p{Nd}\.?)(\d{1,3}(?:\.\d{1,3}){3})(?!\.?\p{Nd})|\p{Nd}(?:[\p{Zs}\p{Pd}()./_]{0,3}\p{Nd}){8,}/gu;

function maskNumber(number: string, address?: string): string {
  if (address !== undefined) return address;
  const digits = number.match(/\p{Nd}/gu)!;
  return `${digits.slice(0, 4).join('')}*****${digits.slice(-2).join('')}`;
}

/** Up to the last `@`: a password may hold one too. Not a regular expression, for that would be quadratic. */
function withoutUserInfo(word: string): string {
  const start = word.indexOf('//');
  const end = word.lastIndexOf('@');
  return start >= 0 && end > start ? `${word.slice(0, start)}//***${word.slice(end)}` : word;
}

// An error of Node's own is no `instanceof Error` where the code runs in a context of its own, as it does under Jest.
export const isError = (thrown: unknown): thrown is Error => thrown instanceof Error || isNativeError(thrown);

/** The message of whatever was thrown, as it is; never throws itself. */
export function messageOf(thrown: unknown): string {
  try {
    return String(isError(thrown) ? thrown.message : thrown);
  } catch {
    return 'something that has no text';
  }
}

/** Name and code of whatever was thrown, as they are; never throws itself. */
function nameAndCodeOf(thrown: unknown): { name?: unknown; code?: unknown } {
  try {
    const { name, code } = isError(thrown) ? (thrown as Error & { code?: unknown }) : {};
    return { name, code };
  } catch {
    return {};
  }
}

/**
 * A stand-in for a foreign error that keeps its name, code and redacted message, and nothing else of it; never throws
 * itself, whatever it is given.
 */
export function safeCause(error: unknown, secrets: readonly string[] = []): Error {
  const { name, code } = nameAndCodeOf(error);
  const safe = new Error(redact(messageOf(error), secrets));
  // Names and codes are looked at, say for a retry: one that only has a few letters in common with a secret stays.
  const identifier = (text: string) => redact(without(text.slice(0, MAX_READ), secrets));
  safe.name = typeof name === 'string' ? identifier(name) : 'Error';
  // Its stack would be that of this function, and says nothing.
  safe.stack = `${safe.name}: ${safe.message}`;
  return typeof code === 'string' ? Object.assign(safe, { code: identifier(code) }) : safe;
}
