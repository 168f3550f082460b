import { RtSmsConfigError } from '../rt-sms.errors.js';
import { rtSmsConfig, rtSmsConfigFor } from '../options/rt-sms.config.js';
import { resolveOptions } from '../options/resolve-options.js';
import { describePolicy } from './describe-policy.js';

const HOUR = 3_600_000;
const resolve = (policy: unknown) => resolveOptions({ login: 'l', password: 'p', policy }, 'default', false).policy;
function problemsOf(policy: unknown): readonly string[] {
  try {
    resolve(policy);
  } catch (error) {
    if (error instanceof RtSmsConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the policy at the start', () => {
  it.each<[unknown, RegExp]>([
    [{ onlyTo: ['79x'] }, /^policy\.onlyTo: must be .*digits/],
    [{ onlyTo: [] }, /^policy\.onlyTo: must be .*not an empty array/],
    [{ onlyTo: ['89270000001'] }, /^policy\.onlyTo: /],
    [{ countries: ['RU', 'XX'] }, /^policy\.countries: must be .*ISO 3166/],
    [{ countries: ['ru'] }, /^policy\.countries: /],
    [{ maxSegments: 0 }, /^policy\.maxSegments: must be a whole number from 1 to 255, not 0/],
    [{ segmentsPerDay: 'many' }, /^policy\.segmentsPerDay: /],
    [{ perRecipient: { messages: 1 } }, /^policy\.perRecipient: must be a limit/],
    [{ perRecipient: [{ messages: 1, perMs: 1, per: 2 }] }, /^policy\.perRecipient: must be a limit/],
    [{ perPrefix: [] }, /^policy\.perPrefix: must be a limit/],
    [{ beforeSend: 'no' }, /^policy\.beforeSend: must be a function/],
    [{ perRecipients: { messages: 1, perMs: 1 } }, /^policy\.perRecipients: unknown option; did you mean perRecipient/],
    ['strict', /^policy: must be an object/],
    [
      {
        perRecipient: [
          { messages: 5, perMs: HOUR },
          { messages: 3, perMs: 24 * HOUR },
        ],
      },
      /^policy\.perRecipient: contradicts itself/,
    ],
    [
      {
        perRecipient: [
          { messages: 5, perMs: HOUR },
          { messages: 6, perMs: HOUR },
        ],
      },
      /^policy\.perRecipient: contradicts itself/,
    ],
    [
      { perRecipient: { messages: 5, perMs: HOUR }, perPrefix: { messages: 4, perMs: HOUR } },
      /^policy\.perPrefix: contradicts perRecipient/,
    ],
    [{ maxSegments: 5, segmentsPerDay: 4 }, /^policy\.maxSegments: contradicts segmentsPerDay/],
    [
      { onlyTo: ['79270000001', '375291234567'], countries: ['RU'] },
      /^policy\.onlyTo: contradicts countries: number 2 .* BY$/,
    ],
  ])('%j is rejected by name', (policy, problem) => {
    expect(problemsOf(policy)).toEqual([expect.stringMatching(problem)]);
    expect(problemsOf(policy).join()).not.toMatch(/(?:79|89|375)\d{7}/);
  });

  it('all problems come in one error', () => {
    expect(problemsOf({ onlyTo: ['abc'], countries: ['Russia'], maxSegments: 300 })).toHaveLength(3);
  });

  it('a policy without rules is none; a good one is described without numbers', () => {
    expect([resolve(undefined), resolve({})]).toEqual([undefined, undefined]);
    const described = describePolicy(
      resolve({
        onlyTo: ['+79270000001'],
        countries: ['RU', 'KZ'],
        maxSegments: 2,
        perRecipient: [
          { messages: 3, perMs: 600_000 },
          { messages: 10, perMs: 24 * HOUR },
        ],
        perPrefix: { messages: 30, perMs: HOUR },
        segmentsPerDay: 1_000,
        beforeSend: () => undefined,
      }),
    );
    expect(described).toEqual([
      'onlyTo: all recipients are refused except 1 number or prefix',
      'countries: RU, KZ',
      'maxSegments: 2',
      'perRecipient: 3 in 10 min',
      'perRecipient: 10 in 1 d',
      'perPrefix: 30 in 1 h',
      'segmentsPerDay: 1000',
      'beforeSend',
    ]);
  });

  it.each([
    ['RT_SMS', rtSmsConfig],
    ['RT_SMS_OTP', rtSmsConfigFor('otp')],
  ])('%s_ONLY_TO and the others are read, and named in problems', (prefix, config) => {
    const before = { ...process.env };
    try {
      const set = (name: string, value: string) => (process.env[`${prefix}_${name}`] = value);
      set('ONLY_TO', '+7927, 79280000001');
      set('COUNTRIES', 'RU,KZ');
      set('MAX_SEGMENTS', '3');
      set('SEGMENTS_PER_DAY', '500');
      const policy = { onlyTo: ['+7927', '79280000001'], countries: ['RU', 'KZ'], maxSegments: 3, segmentsPerDay: 500 };
      expect(config()).toMatchObject({ policy });
      set('COUNTRIES', 'RU,Mars');
      const given = { ...(config() as object), login: 'l', password: 'p' };
      expect(() => resolveOptions(given, 'default', false)).toThrow(`policy.countries: ${prefix}_COUNTRIES must be`);
    } finally {
      process.env = before;
    }
  });
});
