import * as fc from 'fast-check';
import { parsePhoneNumberFromString } from 'libphonenumber-js/core';
import metadata from 'libphonenumber-js/max/metadata';
import { RtSmsValidationError } from '../rt-sms.errors.js';
import { maskMsisdn, normalizeMsisdn, parseMsisdn } from './msisdn.js';

const isMsisdn = (value: unknown) => 'msisdn' in parseMsisdn(value);

const digitsOf = (min: number, max = min) =>
  fc.string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: min, maxLength: max });

const library = (digits: string) => {
  const number = parsePhoneNumberFromString(`+${digits}`, { extract: false }, metadata);
  return number?.isPossible() === true && number.number === `+${digits}`;
};

describe('normalizeMsisdn', () => {
  it.each<[string | number, string]>([
    ['79270000001', '79270000001'],
    [79270000001, '79270000001'],
    ['+79270000001', '79270000001'],
    ['8 927 000-00-01', '79270000001'],
    [89270000001, '79270000001'],
    ['87012345678', '77012345678'],
    ['9270000001', '79270000001'],
    [9270000001, '79270000001'],
    ['74951234567', '74951234567'],
    ['375291234567', '375291234567'],
    [375291234567, '375291234567'],
    ['84912345678', '84912345678'],
    [84912345678, '84912345678'],
    ['+84912345678', '84912345678'],
    ['+9607712345', '9607712345'],
    ['4915123456789', '4915123456789'],
    ['+39 06 12345678', '390612345678'],
  ])('%j is %s', (value, msisdn) => {
    expect(normalizeMsisdn(value)).toBe(msisdn);
  });

  it.each([
    '+7 (927) 000-00-01',
    '(+7) 927 000 00 01',
    ' 8(927)000.00.01 ',
    '8\u00A0927\u202F000\u200900\u300001',
    '7\u2010927\u2011000\u201200\u201301',
    '7\u2014927\u2015000\u22120001\u00AD',
    '927-000-00-01',
  ])('takes the separators of %j', (value) => {
    expect(normalizeMsisdn(value)).toBe('79270000001');
  });

  it.each<[unknown, RegExp]>([
    ['', /^is empty/],
    [' - ', /^is empty/],
    ['+', /^is empty/],
    ['79270000001x', /U\+0078/],
    ['79270000001 доб. 12', /U\+0434/],
    ['+79270000001;ext=12', /U\+003B/],
    ['tel:+79270000001', /U\+0074/],
    ['7927\n0000001', /U\+000A/],
    ['79270000001\r\n', /U\+000D/],
    ['7927\u200E0000001', /U\+200E/],
    ['7927+0000001', /U\+002B/],
    ['++79270000001', /U\+002B/],
    ['＋79270000001', /U\+FF0B/],
    ['７９２７０００００01', /U\+FF17/],
    ['٧٩٢٧٠٠٠٠٠٠١', /U\+0667/],
    ['7927000000𝟏', /U\+1D7CF/],
    ['7.9270000001e10', /U\+0065/],
    ['79270000001.0', /decimal/],
    ['375291234567.0', /decimal/],
    ['7927000000', /7927\*\*\*\*00 has 10 digits/],
    ['792700000011', /has 12 digits/],
    ['+79270000001 1234', /has 15 digits/],
    ['123', /possible/],
    ['+89270000001', /possible/],
    ['00375291234567', /possible/],
    ['999999999999', /possible/],
    ['8 10 375 29 1234567', /dialling prefix/],
    ['+44 (0)7911 123456', /dialling prefix/],
    ['8 800 555 35 35', /dialling prefix/],
    ['9'.repeat(1_000), /has 1000 digits/],
    [0, /safe integer/],
    [-0, /safe integer/],
    [-79270000001, /safe integer/],
    [79270000001.5, /safe integer/],
    [NaN, /safe integer/],
    [Infinity, /safe integer/],
    [1e21, /safe integer/],
    [2 ** 53, /safe integer/],
    [79270000001n, /not bigint/],
    [undefined, /not undefined/],
    [null, /not null/],
    [true, /not boolean/],
    [['79270000001'], /not object/],
    [{ toString: () => '79270000001' }, /not object/],
    [Object('79270000001'), /not object/],
    [() => '79270000001', /not function/],
    [Symbol('79270000001'), /not symbol/],
  ])('refuses %p', (value, problem) => {
    expect(parseMsisdn(value)).toEqual({ problem: expect.stringMatching(problem) });
    expect(isMsisdn(value)).toBe(false);
    expect(() => Reflect.apply(normalizeMsisdn, undefined, [value])).toThrow(RtSmsValidationError);
  });

  it('names the field in what it throws, and masks the number', () => {
    expect(() => normalizeMsisdn('+375291')).toThrow(/msisdn \*{6} is no possible phone number/);
    expect(() => normalizeMsisdn('+375291234567890')).toThrow(/msisdn 3752\*{9}90 is no possible phone number/);
  });
});

describe('the verdict', () => {
  it('is that of the phone library for Russian and Kazakh numbers, which are not asked of it', () => {
    fc.assert(
      fc.property(digitsOf(10), (rest) => library(`7${rest}`) && isMsisdn(`7${rest}`) && isMsisdn(`+7${rest}`)),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(digitsOf(9), (rest) => library(`79${rest}`) && normalizeMsisdn(`79${rest}`) === `79${rest}`));
  });

  it('is that of the phone library for +7 with any other number of digits, but for its service numbers of 15', () => {
    const wrongLength = fc.oneof(digitsOf(0, 9), digitsOf(11, 13), digitsOf(15, 30));
    fc.assert(fc.property(wrongLength, (rest) => !library(`7${rest}`) && !isMsisdn(`+7${rest}`)));
    fc.assert(fc.property(digitsOf(14), (rest) => !isMsisdn(`+7${rest}`)));
  });

  it('is that of the phone library for every other country, up to the 15 digits of E.164', () => {
    const digits = digitsOf(1, 17).filter((d) => !d.startsWith('7'));
    fc.assert(
      fc.property(digits, (d) => isMsisdn(`+${d}`) === (d.length <= 15 && library(d))),
      { numRuns: 2_000 },
    );
  });

  it('lets digits only through, keeps international ones, and is stable behind a plus', () => {
    fc.assert(
      fc.property(
        fc.oneof(digitsOf(6, 15), fc.string({ unit: fc.constantFrom(...Array.from('+789012 -().')) })),
        (value) => {
          const parsed = parseMsisdn(value);
          if ('problem' in parsed) return;
          expect(parsed.msisdn).toMatch(/^[1-9]\d{5,14}$/);
          expect(normalizeMsisdn(`+${parsed.msisdn}`)).toBe(parsed.msisdn);
          if (value.includes('+')) expect(parsed.msisdn).toBe(value.replace(/\D/g, ''));
        },
      ),
    );
  });

  it('never throws and never repeats a number', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), digitsOf(7, 30), fc.string({ unit: 'binary' })), (value) => {
        const parsed = parseMsisdn(value);
        if ('problem' in parsed) expect(parsed.problem.replace(/U\+\w+/, '')).not.toMatch(/\d{5}/);
      }),
    );
  });
});

describe('maskMsisdn', () => {
  it.each([
    ['79270000001', '7927*****01'],
    ['375291234567', '3752******67'],
    ['9607712345', '9607****45'],
    ['960771234', '*********'],
    ['12', '**'],
    ['', ''],
  ])('%s is shown as %s', (msisdn, masked) => {
    expect(maskMsisdn(msisdn)).toBe(masked);
  });
});
