import { resolveOptions } from '../options/resolve-options.js';
import type { RtSmsPolicy } from '../options/policy-options.js';
import { MemoryLimits } from '../policy/memory-limits.js';
import { SendPolicy } from '../policy/send-policy.js';

/** The send policy of a recorder, with counters in memory. @throws RtSmsConfigError if the policy is invalid */
export function recorderPolicy(
  input: RtSmsPolicy | undefined,
  account: string,
  isQueued: (id: string) => boolean,
): SendPolicy | undefined {
  if (!input) return undefined;
  const { policy, timeouts } = resolveOptions(
    { login: 'recorder', password: 'recorder', shortcode: 'TEST', policy: input },
    account,
    false,
  );
  return (
    policy &&
    new SendPolicy(policy, {
      account,
      limits: new MemoryLimits(),
      sendMs: timeouts.sendMs,
      isQueued: async (id) => isQueued(id),
      onRefusal: () => undefined,
    })
  );
}
