import type { RtSmsOptions, RtSmsPolicy } from 'nestjs-rt-sms';

/**
 * Send policy of the sample: the rules of the environment (`RT_SMS_ONLY_TO` and others), and a limit that keeps its form from
 * flooding one number.
 */
export function policyOf({ policy }: RtSmsOptions): RtSmsPolicy {
  return { perRecipient: { messages: 5, perMs: 10 * 60_000 }, ...policy };
}

const START_DIGITS = 4;
const STARTS = 5;

/** Leading digits of the first entries of `onlyTo`: too few of them to be a number. */
export const startsOf = (onlyTo: readonly string[]): string[] =>
  [...new Set(onlyTo.map((entry) => entry.replace(/^\+/, '').slice(0, START_DIGITS)))].slice(0, STARTS);
