import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import * as fc from 'fast-check';
import { checkMessage, IsMsisdn, IsSmsText, SmsMessageDto } from './sms-message.js';

const good = { msisdn: '8 927 000-00-01', text: 'Ваш код 1234', shortcode: 'AVARIA' };
const problemsOf = (message: unknown, defaultShortcode?: string) => {
  const checked = checkMessage(message, defaultShortcode);
  return 'problems' in checked ? checked.problems : [];
};
const faultsOf = (message: object) =>
  validateSync(plainToInstance(SmsMessageDto, message)).map((fault) => fault.property);

describe('a key that looks like a misspelt field', () => {
  const message = { msisdn: '79270000001', text: 'Hi' };
  it.each([
    ['shortCode', 'shortcode'],
    ['short_code', 'shortcode'],
    ['shotrcode', 'shortcode'],
    ['Ref', 'ref'],
  ])('is rejected by name: %s', (key, meant) => {
    expect(checkMessage({ ...message, [key]: 'x' }, 'SHOP')).toEqual({
      problems: [`message has no key '${key}'; did you mean ${meant}?`],
    });
    expect(checkMessage({ ...message, [key]: undefined }, 'SHOP')).not.toHaveProperty('problems');
  });

  it.each([
    ['txt', 'text'],
    ['Text', 'text'],
    ['MSISDN', 'msisdn'],
    ['misdn', 'msisdn'],
  ])('is named together with the missing field: %s', (key, meant) => {
    const { [meant as 'text']: value, ...rest } = message;
    expect(checkMessage({ ...rest, [key]: value }, 'SHOP')).toEqual({
      problems: [expect.stringMatching(`^${meant} `), `message has no key '${key}'; did you mean ${meant}?`],
    });
  });

  it.each(['id', 'order', 'createdAt', 'test', 'sender', 'segments', 'toString'])(
    'any other key is accepted, such as %s',
    (key) => expect(checkMessage({ ...message, [key]: 'x' }, 'SHOP')).not.toHaveProperty('problems'),
  );
});

describe('checkMessage', () => {
  it('normalises the number, counts the segments and keeps the rest as it is', () => {
    expect(checkMessage({ ...good, ref: 'order 1', other: 1 })).toEqual({
      msisdn: '79270000001',
      text: 'Ваш код 1234',
      shortcode: 'AVARIA',
      segments: 1,
      ref: 'order 1',
    });
    expect(checkMessage({ ...good, msisdn: 79270000001, text: ' я\n'.repeat(30) })).toEqual({
      msisdn: '79270000001',
      text: ' я\n'.repeat(30),
      shortcode: 'AVARIA',
      segments: 2,
    });
  });

  it("prefers the message's sender name to the default", () => {
    const { shortcode: _, ...anonymous } = good;
    expect(checkMessage(good, 'Other')).toMatchObject({ shortcode: 'AVARIA' });
    expect(checkMessage(anonymous, 'Other')).toMatchObject({ shortcode: 'Other' });
    expect(checkMessage({ ...anonymous, shortcode: undefined }, 'Other')).toMatchObject({ shortcode: 'Other' });
    expect(checkMessage({ ...good, shortcode: 'Ростелеком, не только 11 знаков' })).not.toHaveProperty('problems');
  });

  it('leaves out a ref that is undefined', () => {
    expect(checkMessage({ ...good, ref: undefined })).not.toHaveProperty('ref');
    expect(checkMessage({ ...good, ref: '' })).toHaveProperty('ref', '');
  });

  it('takes overdueAfterMs from a second to maxAgeMs', () => {
    for (const overdueAfterMs of [1_000, 60_000])
      expect(checkMessage({ ...good, overdueAfterMs }, undefined, 60_000)).toMatchObject({ overdueAfterMs });
    expect(checkMessage({ ...good, overdueAfterMs: undefined }, undefined, false)).not.toHaveProperty('overdueAfterMs');
    const problem = (given: number | string) =>
      `overdueAfterMs must be a whole number of milliseconds, 1000 or more, and at most 60000 (tracking.maxAgeMs); not ${given}`;
    const wrong = [999, 60_001, 1_000.5, -1, Number.NaN, Infinity];
    for (const overdueAfterMs of wrong)
      expect(checkMessage({ ...good, overdueAfterMs }, undefined, 60_000)).toEqual({
        problems: [problem(overdueAfterMs)],
      });
    expect(checkMessage({ ...good, overdueAfterMs: '1000' }, undefined, 60_000)).toEqual({
      problems: [problem('string')],
    });
    expect(checkMessage({ ...good, overdueAfterMs: null }, undefined, 60_000)).toEqual({ problems: [problem('null')] });
    expect(checkMessage({ ...good, overdueAfterMs: 1_000 }, undefined, false)).toEqual({
      problems: ['overdueAfterMs needs tracking, which is off (tracking: false)'],
    });
  });

  it('lists all problems at once, each with its field', () => {
    expect(problemsOf({ msisdn: null, text: 5, shortcode: ['AVARIA'], ref: 7 })).toEqual([
      expect.stringMatching(/^msisdn must be .* not null/),
      expect.stringMatching(/^text must be .* not number/),
      expect.stringMatching(/^shortcode must be .* not object/),
      expect.stringMatching(/^ref must be .* not number/),
    ]);
    expect(problemsOf({})).toEqual([
      expect.stringMatching(/^msisdn must be /),
      expect.stringMatching(/^text must be /),
      expect.stringMatching(/^shortcode is missing.*option `shortcode`/),
    ]);
  });

  it.each<[string, object, RegExp]>([
    ['an empty text', { text: '' }, /^text is blank/],
    ['a text of white space', { text: ' \n\t\u00A0\uFEFF' }, /^text is blank/],
    ['a text that is null', { text: null }, /^text must be .* not null/],
    [
      'an object with a toString method as the text',
      { text: { toString: () => 'text' } },
      /^text must be .* not object/,
    ],
    ['half an emoji', { text: 'Код \uD83D 1234' }, /^text has an unpaired surrogate/],
    ['halves in the wrong order', { text: '\uDE00\uD83D' }, /^text has an unpaired surrogate/],
    ['256 segments', { text: 'я'.repeat(67 * 255 + 1) }, /^text takes 256 segments/],
    ['an empty sender name', { shortcode: '' }, /^shortcode is blank/],
    ['a blank sender name', { shortcode: '  ' }, /^shortcode is blank/],
    ['a sender name that is null', { shortcode: null }, /^shortcode must be .* not null/],
    ['a sender name of two lines', { shortcode: 'AVA\r\nRIA' }, /^shortcode has a control character/],
    ['half an emoji in the sender name', { shortcode: 'A\uD83D' }, /^shortcode has .* unpaired surrogate/],
    ['a long ref', { ref: 'r'.repeat(257) }, /^ref has 257 characters/],
    ['a ref that is null', { ref: null }, /^ref must be .* not null/],
    ['an impossible number', { msisdn: '+792700000012' }, /^msisdn 7927\*{6}12 has 12 digits/],
  ])('rejects %s', (_, fault, problem) => {
    expect(problemsOf({ ...good, ...fault }, 'Default')).toEqual([expect.stringMatching(problem)]);
  });

  it('accepts the longest text that can be concatenated, and the longest ref', () => {
    expect(checkMessage({ ...good, text: 'я'.repeat(67 * 255), ref: 'r'.repeat(256) })).toMatchObject({
      segments: 255,
    });
    expect(checkMessage({ ...good, text: 'a'.repeat(153 * 255) })).toMatchObject({ segments: 255 });
  });

  it('checks the default sender name as well', () => {
    expect(problemsOf({ msisdn: good.msisdn, text: good.text }, '')).toEqual([
      expect.stringMatching(/^shortcode is blank/),
    ]);
  });

  it('never throws, and shows neither the text nor the number', () => {
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    const throwing = {
      get text() {
        throw new Error('no');
      },
    };
    for (const message of [revoked.proxy, throwing]) {
      expect(problemsOf(message)).toEqual([expect.stringMatching(/^message .* threw$/)]);
    }
    expect(problemsOf({ msisdn: revoked.proxy, text: revoked.proxy, shortcode: revoked.proxy })).toHaveLength(3);
    for (const message of [undefined, null, 'text', 5, () => good]) {
      expect(problemsOf(message)).toEqual([expect.stringMatching(/^message must be an object/)]);
    }
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.record({ msisdn: fc.anything(), text: fc.anything() })), (message) => {
        expect(
          problemsOf(message)
            .join()
            .replace(/U\+\w+/, ''),
        ).not.toMatch(/\d{5}/);
      }),
    );
    const leaks = problemsOf({
      msisdn: '792700000012',
      text: 'secret \uD83D',
      shortcode: 'secret\n',
      ref: 'secret'.repeat(50),
    });
    expect(leaks).toHaveLength(4);
    expect(leaks.join()).not.toMatch(/secret|792700000012/);
  });

  it('reads each field once', () => {
    let reads = 0;
    const changing = {
      ...good,
      get text() {
        return reads++ === 0 ? 'once' : null;
      },
    };
    expect(checkMessage(changing)).toMatchObject({ text: 'once' });
    expect(reads).toBe(1);
  });
});

describe('SmsMessageDto', () => {
  it('names the accepted values and shows no input', () => {
    const faults = validateSync(plainToInstance(SmsMessageDto, { msisdn: '792700000012', text: ' ' }));
    expect(faults.map((fault) => fault.constraints)).toEqual([
      { isMsisdn: expect.stringMatching(/^msisdn must be a phone number: /) },
      { isSmsText: expect.stringMatching(/^text must be a string that is not blank/) },
    ]);
    expect(JSON.stringify(faults.map((fault) => fault.constraints))).not.toContain('7927');
  });

  it('rejects the same fields as checkMessage', () => {
    const odd = fc.constantFrom<unknown>(
      undefined,
      null,
      '',
      ' ',
      5,
      NaN,
      [],
      {},
      true,
      'x\n',
      '\uD800',
      'r'.repeat(257),
    );
    const message = fc.record({
      msisdn: fc.oneof(odd, fc.constantFrom('79270000001', 79270000001, '+375291234567', '1')),
      text: fc.oneof(odd, fc.constant('Код')),
      shortcode: fc.oneof(odd, fc.constant('AVARIA')),
      ref: fc.oneof(odd, fc.constant('order 1')),
      overdueAfterMs: fc.oneof(odd, fc.constantFrom(999, 1_000)),
    });
    fc.assert(
      fc.property(message, (value) => {
        const named = problemsOf(value, 'Default').map((problem) => problem.split(' ')[0]);
        expect(faultsOf(value)).toEqual(named);
      }),
      { numRuns: 500 },
    );
  });
});

describe('@IsMsisdn and @IsSmsText', () => {
  class Campaign {
    @IsMsisdn({ each: true })
    phones!: string[];

    @IsSmsText({ message: 'say something' })
    body!: string;
  }

  it('accept the options of class-validator', () => {
    const fine = Object.assign(new Campaign(), { phones: ['79270000001', '+375291234567'], body: 'Код' });
    expect(validateSync(fine)).toEqual([]);
    const wrong = Object.assign(new Campaign(), { phones: ['79270000001', '12'], body: '' });
    expect(validateSync(wrong).map((fault) => fault.constraints)).toEqual([
      { isMsisdn: expect.stringMatching(/^each value in phones must be a phone number: /) },
      { isSmsText: 'say something' },
    ]);
  });
});
