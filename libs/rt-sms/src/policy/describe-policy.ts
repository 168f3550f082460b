import type { ResolvedPolicy } from './resolve-policy.js';

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** A time for people: `10 min`. Rounded up to a whole second from one second on. */
export function inWords(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)} ms`;
  const rounded = Math.ceil(ms / 1_000) * 1_000;
  const [name, unit] = UNITS.find(([, each]) => rounded % each === 0)!;
  return `${rounded / unit} ${name}`;
}

/** The rules that are on, one phrase each, without numbers of recipients. Empty without a policy. */
export function describePolicy(policy: ResolvedPolicy | undefined): string[] {
  if (!policy) return [];
  const { onlyTo, countries, maxSegments, limits, beforeSend } = policy;
  return [
    onlyTo &&
      `onlyTo: all recipients are refused except ${onlyTo.length} ${onlyTo.length === 1 ? 'number or prefix' : 'numbers or prefixes'}`,
    countries && `countries: ${countries.join(', ')}`,
    maxSegments && `maxSegments: ${maxSegments}`,
    ...limits.map(({ rule, max, perMs }) =>
      rule === 'segmentsPerDay' ? `segmentsPerDay: ${max}` : `${rule}: ${max} in ${inWords(perMs)}`,
    ),
    beforeSend && 'beforeSend',
  ].filter((line) => typeof line === 'string');
}
