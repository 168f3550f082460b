import { countSegments, RtSmsConfigError } from 'nestjs-rt-sms';
import { memoryOtpStore } from './memory-store.js';
import { otpKey, type OtpSecret } from './otp-code.js';
import type { OtpStore } from './store.js';

/** Parts of a message's text. */
export interface OtpTextInput extends Record<'code' | 'purpose', string> {
  /** Whole minutes for which the code is still valid, at least 1. */
  minutes: number;
  /** The option `domain`. */
  domain: string | undefined;
}

/** Options of `RtSmsOtpModule`. */
export interface RtSmsOtpOptions {
  /**
   * Secret of 32 bytes or more, from which all codes are derived. The first of a list is used for new challenges, and those of
   * the others stay valid: to replace a secret, put the new one in front, and remove the old one after `ttlMs`.
   */
  secret: OtpSecret | readonly OtpSecret[];
  /** Text of the message. It has to contain the code. */
  text: (input: OtpTextInput) => string;
  /** Digits of a code, 4 to 10. @default 6 */
  digits?: number;
  /** Milliseconds for which a code is valid, at most one day. @default 300000 */
  ttlMs?: number;
  /** Codes that are compared for a challenge, 1 to 100; it is then locked for the rest of its life. @default 5 */
  attempts?: number;
  /** Pauses in milliseconds after each send; the last one repeats. @default [60000, 120000, 300000] */
  resendAfterMs?: readonly number[];
  /** Host name of the page that asks for the code, for a last line `@shop.example #123456`, by which browsers fill it in. */
  domain?: string;
  /**
   * Milliseconds without a final status after which a message counts as undelivered, one second to one day; `false` for an account
   * without tracking. @default 30000
   */
  overdueAfterMs?: number | false;
  /** Store of the challenges. @default memoryOtpStore() */
  store?: OtpStore;
}

const DAY_MS = 24 * 3_600_000;
const whole = (min: number, max: number) =>
  [
    `a whole number from ${min} to ${max}`,
    (value: unknown) => Number.isInteger(value) && min <= (value as number) && (value as number) <= max,
  ] as const;
const every = (test: (item: unknown) => boolean) => (list: unknown) =>
  Array.isArray(list) && list.length > 0 && list.every((item) => test(item));
const isSecret = (value: unknown) =>
  (typeof value === 'string' || value instanceof Uint8Array) && Buffer.byteLength(value) >= 32;

const RULES: Record<keyof RtSmsOtpOptions, readonly [accepted: string, test: (value: unknown) => boolean]> = {
  secret: ['32 bytes or more, or a list of such', (value) => isSecret(value) || every(isSecret)(value)],
  text: ['a function that returns the text', (value) => typeof value === 'function'],
  digits: whole(4, 10),
  ttlMs: whole(1, DAY_MS),
  attempts: whole(1, 100),
  resendAfterMs: [`a list of milliseconds from 0 to ${DAY_MS}`, every(whole(0, DAY_MS)[1])],
  domain: [
    'a host name without a scheme',
    (value) => value === undefined || (typeof value === 'string' && /^[\w-]+(\.[\w-]+)*$/.test(value)),
  ],
  overdueAfterMs: [
    `false, or ${whole(1_000, DAY_MS)[0]}`,
    (value) => value === false || whole(1_000, DAY_MS)[1](value),
  ],
  store: ['a store, such as redisOtpStore(…)', (value) => typeof (value as OtpStore | null)?.step === 'function'],
};

/** Fills in the defaults. @throws RtSmsConfigError that lists all problems, without the values */
export function resolveOtpOptions(input: RtSmsOtpOptions, account: string) {
  const { digits = 6, ttlMs = 300_000, attempts = 5, overdueAfterMs = 30_000, store = memoryOtpStore() } = input ?? {};
  const { resendAfterMs = [60_000, 120_000, 300_000] } = input ?? {};
  const options = { ...input, digits, ttlMs, attempts, resendAfterMs, overdueAfterMs, store };
  const problems = Object.keys(options)
    .filter((key) => !(key in RULES))
    .map((key) => `otp ${key.slice(0, 40)}: is not an option; accepted options: ${Object.keys(RULES).join(', ')}`);
  for (const [key, [accepted, test]] of Object.entries(RULES))
    if (!test(options[key as keyof RtSmsOtpOptions])) problems.push(`otp ${key}: must be ${accepted}`);
  if (problems.length > 0) throw new RtSmsConfigError(problems, account);
  const secrets = (Array.isArray(options.secret) ? options.secret : [options.secret]) as readonly OtpSecret[];
  return { ...options, keys: secrets.map(otpKey) };
}
export type ResolvedOtpOptions = ReturnType<typeof resolveOtpOptions>;

/** Text of a message; `undefined` if the code is missing: such a message would be paid for and useless. */
export function textFor(
  { text, domain }: ResolvedOtpOptions,
  code: string,
  purpose: string,
  ms: number,
): string | undefined {
  const written: unknown = text({ code, purpose, domain, minutes: Math.max(1, Math.floor(ms / 60_000)) });
  if (typeof written !== 'string' || !written.includes(code)) return undefined;
  return domain === undefined ? written : `${written}\n@${domain} #${code}`;
}

/** Warnings for the start: options that work, but cost money or security. */
export function warningsOf(options: ResolvedOtpOptions): string[] {
  const { digits, ttlMs } = options;
  let segments = 0;
  try {
    ({ segments } = countSegments(textFor(options, '0'.repeat(digits), 'login', ttlMs) ?? ''));
  } catch {
    // The text is for other purposes.
  }
  const warnings: [boolean, string][] = [
    [segments > 1, `The text of a code takes ${segments} segments, and each is paid for: shorten it`],
    [digits < 6, `Codes have ${digits} digits: NIST SP 800-63B requires 6`],
    [ttlMs > 600_000, `Codes are valid for ${ttlMs} ms: NIST SP 800-63B allows 10 minutes`],
  ];
  return warnings.flatMap(([applies, warning]) => (applies ? [warning] : []));
}
