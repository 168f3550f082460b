import type { Problem } from '../options/option-rules.js';
import type { RtSmsLimit, RtSmsPolicy } from '../options/policy-options.js';
import { countryOf } from '../message/msisdn.js';
import type { LimitRule } from './limit-store.js';

const DAY_MS = 86_400_000;

/** A valid policy as the code uses it. */
export interface ResolvedPolicy {
  /** Numbers or leading digits, without `+`. */
  readonly onlyTo?: readonly string[] | undefined;
  /** ISO 3166 codes. */
  readonly countries?: readonly string[] | undefined;
  /** Segments of one message. */
  readonly maxSegments?: number | undefined;
  /** All rules that count: at most `max` messages or segments in any `perMs` milliseconds. */
  readonly limits: readonly { rule: LimitRule; max: number; perMs: number }[];
  /** The application's veto. */
  readonly beforeSend?: RtSmsPolicy['beforeSend'];
}

const listOf = (limits: RtSmsPolicy['perRecipient']): readonly RtSmsLimit[] =>
  limits === undefined ? [] : [limits].flat<readonly (RtSmsLimit | readonly RtSmsLimit[])[]>();

/** The rules of a policy; `undefined` if it has none. */
export function resolvePolicy(policy: RtSmsPolicy | undefined): ResolvedPolicy | undefined {
  if (!policy) return undefined;
  const { onlyTo, countries, maxSegments, segmentsPerDay, beforeSend } = policy;
  const counted = (rule: LimitRule, limits: RtSmsPolicy['perRecipient']) =>
    listOf(limits).map(({ messages, perMs }) => ({ rule, max: messages, perMs }));
  const limits = [
    ...counted('perRecipient', policy.perRecipient),
    ...counted('perPrefix', policy.perPrefix),
    ...(segmentsPerDay === undefined ? [] : [{ rule: 'segmentsPerDay' as const, max: segmentsPerDay, perMs: DAY_MS }]),
  ];
  const rules = [onlyTo, countries, maxSegments, beforeSend];
  if (limits.length === 0 && rules.every((rule) => rule === undefined)) return undefined;
  return { onlyTo: onlyTo?.map((start) => start.replace(/^\+/, '')), countries, maxSegments, limits, beforeSend };
}

/** Limits that contradict each other: one of them can never apply. */
export function contradictions(policy: RtSmsPolicy): Problem[] {
  const problems: Problem[] = [];
  const { maxSegments, segmentsPerDay, onlyTo, countries } = policy;
  for (const rule of ['perRecipient', 'perPrefix'] as const) {
    const limits = listOf(policy[rule]).toSorted((a, b) => a.perMs - b.perMs);
    for (const [n, shorter] of limits.slice(0, -1).entries()) {
      const longer = limits[n + 1]!;
      if (longer.perMs === shorter.perMs || longer.messages <= shorter.messages)
        problems.push({
          option: `policy.${rule}`,
          text: `contradicts itself: ${longer.messages} messages in ${longer.perMs} ms and ${shorter.messages} in ${shorter.perMs} ms; a longer time must allow more messages`,
        });
    }
  }
  for (const each of listOf(policy.perRecipient))
    for (const all of listOf(policy.perPrefix))
      if (all.perMs >= each.perMs && all.messages < each.messages)
        problems.push({
          option: 'policy.perPrefix',
          text: `contradicts perRecipient: ${all.messages} messages in ${all.perMs} ms to all numbers of a prefix, and ${each.messages} in ${each.perMs} ms to one of them`,
        });
  if (maxSegments !== undefined && segmentsPerDay !== undefined && maxSegments > segmentsPerDay)
    problems.push({
      option: 'policy.maxSegments',
      text: `contradicts segmentsPerDay: one message may take ${maxSegments} segments, but all messages of a day only ${segmentsPerDay}`,
    });
  if (onlyTo && countries)
    for (const [n, start] of onlyTo.entries()) {
      const country = countryOf(start.replace(/^\+/, ''));
      if (country !== undefined && !countries.includes(country))
        problems.push({
          option: `policy.onlyTo`,
          text: `contradicts countries: number ${n + 1} of the list belongs to ${country}`,
        });
    }
  return problems;
}
