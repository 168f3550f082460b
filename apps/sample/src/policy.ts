import type { RtSmsOptions, RtSmsPolicy } from 'nestjs-rt-sms';

/** Send policy of the sample: the rules of the environment, and a limit that keeps its form from flooding one number. */
export function policyOf({ policy }: RtSmsOptions): RtSmsPolicy {
  return { perRecipient: { messages: 5, perMs: 10 * 60_000 }, ...policy };
}
