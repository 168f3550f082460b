import * as fc from 'fast-check';
import { getCountries, getExampleNumber, isValidPhoneNumber, parsePhoneNumberFromString } from 'libphonenumber-js/core';
import metadata from 'libphonenumber-js/max/metadata';
import examples from 'libphonenumber-js/mobile/examples';
import { RtSmsValidationError } from '../rt-sms.errors.js';
import { countryOf, normalizeMsisdn, parseMsisdn } from './msisdn.js';

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
    ['+84912345678', '84912345678'],
    ['+84951234567', '84951234567'],
    ['+84 95 123 45 67', '84951234567'],
    ['+7 495 123-45-67', '74951234567'],
    ['85291234567', '85291234567'],
    ['12025550123', '12025550123'],
    ['(+375 29) 123-45-67', '375291234567'],
    ['(375) 29 123-45-67', '375291234567'],
    [7.927e10, '79270000000'],
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
  ])('accepts the separators of %j', (value) => {
    expect(normalizeMsisdn(value)).toBe('79270000001');
  });

  it.each([
    '\u202A+7 927 000-00-01\u202C',
    '\u2068+7\u2060927\u200B000\u200D0001\u2069',
    '\uFEFF79270000001\uFE0E',
    '7927\u{E0100}0000001\u{E01EF}',
    '\t8\u00A0927\n000\r\n00\u202801\u0085',
    '7927\u00AD000\u180E00\u034F01',
  ])('drops the invisible characters of %j', (value) => {
    expect(normalizeMsisdn(value)).toBe('79270000001');
  });

  it.each([
    ['8 (495) 123-45-67', '+7 495 … (Russia)', '+84 95… (Vietnam)'],
    ['+8 (495) 123-45-67', '+7 495 … (Russia)', '+84 95… (Vietnam)'],
    ['+8-495-123-45-67', '+7 495 … (Russia)', '+84 95… (Vietnam)'],
    ['(+8) 495 1234567', '+7 495 … (Russia)', '+84 95… (Vietnam)'],
    ['+(8495) 123-45-67', '+7 495 … (Russia)', '+84 95… (Vietnam)'],
    ['84912345678', '+7 491 … (Russia)', '+84 91… (Vietnam)'],
    ['84 91 234 56 78', '+7 491 … (Russia)', '+84 91… (Vietnam)'],
    ['8 (861) 123-45-67', '+7 861 … (Russia)', '+886 1… (Taiwan)'],
    ['8 (8652) 12-34-56', '+7 865 … (Russia)', '+886 5… (Taiwan)'],
    ['4951234567', '+7 495 … (Russia)', '+49 51… (Germany)'],
    ['8 (529) 123-45-67', '+7 529 … (Russia)', '+852 9… (Hong Kong)'],
    ['95 9 212 34 56', '+7 959 … (Russia)', '+95 92… (Myanmar)'],
    ['131 0555 1234', '+86 13… (China)', '+1 310… (US)'],
    ['(51) 91234-5678', '+55 51… (Brazil)', '+51 91… (Peru)'],
  ])('rejects %s and names both readings', (value, one, other) => {
    expect(parseMsisdn(value)).toEqual({
      problem: `can be read two ways, as ${one} and as ${other}: write it with + and the country code`,
    });
  });

  it.each<[unknown, RegExp]>([
    ['', /^is empty/],
    ['\u200B\u00A0', /^is empty/],
    [' - ', /^is empty/],
    ['+', /^is empty/],
    ['79270000001x', /a letter/],
    ['7927O000001', /a letter/],
    ['79270000001 доб. 12', /an extension/],
    ['+79270000001;ext=12', /an extension/],
    ['79270000001#12', /an extension/],
    ['tel:+79270000001', /a letter/],
    ['79270000001, 79270000002', /more than one phone number/],
    ['79270000001/79270000002', /more than one phone number/],
    ['79270000001 или +79270000002', /more than one phone number/],
    ['+79270000001+79270000002', /more than one phone number/],
    ['79270000001\n79270000002', /is it more than one\?/],
    ['7927+0000001', /a \+ that is not at the start/],
    ['++79270000001', /a \+ that is not at the start/],
    ['＋79270000001', /a character that does not belong/],
    ['"79270000001"', /a character that does not belong/],
    ['7927*0000001', /a character that does not belong/],
    ['７９２７０００００01', /digits of another script/],
    ['٧٩٢٧٠٠٠٠٠٠١', /digits of another script/],
    ['7927000000𝟏', /digits of another script/],
    ['79270000001²', /digits of another script/],
    ['7.9270000001e10', /the spreadsheet has rounded this number/],
    ['7.927E+10', /the spreadsheet has rounded this number/],
    ['7,927E+10', /the spreadsheet has rounded this number/],
    [' 7,927\u0415+10\u200B', /the spreadsheet has rounded this number/],
    ['79270000001,00', /decimal/],
    ['79270000001.0', /decimal/],
    ['375291234567.0', /decimal/],
    ['7927000000', /7927\*\*\*\*00 has 10 digits/],
    ['792700000011', /has 12 digits/],
    ['+79270000001 1234', /has 15 digits/],
    ['123', /possible/],
    ['+89270000001', /dialled within Russia, where it means \+7 927 … \(Russia\)/],
    ['+8 (927) 000-00-01', /dialled within Russia/],
    ['8 (812) 123-45-67', /dialled within Russia, where it means \+7 812 … \(Russia\)/],
    ['8 800 555 35 35', /dialled within Russia/],
    ['00375291234567', /dialling prefix/],
    ['0501234567', /dialling prefix/],
    ['901234567', /may lack its country code/],
    [901234567, /may lack its country code/],
    ['951234567', /may lack its country code/],
    ['299221234', /may lack its country code/],
    ['(202) 555-0123', /may lack its country code/],
    ['290-21-34', /may lack its country code/],
    ['380111234567', /not a valid number of any country/],
    ['3 (752) 912-345-67', /divide the country code \+375/],
    ['+3 75 29 123 45 67', /divide the country code \+375/],
    ['(37529) 1234567', /divide the country code \+375/],
    ['999999999999', /possible/],
    ['8 10 375 29 1234567', /dialling prefix/],
    ['+44 (0)7911 123456', /dialling prefix/],
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
  ])('rejects %p', (value, problem) => {
    expect(parseMsisdn(value)).toEqual({ problem: expect.stringMatching(problem) });
    expect(isMsisdn(value)).toBe(false);
    expect(() => Reflect.apply(normalizeMsisdn, undefined, [value])).toThrow(RtSmsValidationError);
  });

  it('throws an error that names the field and masks the number', () => {
    expect(() => normalizeMsisdn('+375291')).toThrow(/msisdn \*{6} is not a possible phone number/);
    expect(() => normalizeMsisdn('+375291234567890')).toThrow(/msisdn 3752\*{9}90 is not a possible phone number/);
  });
});

const mobiles = getCountries(metadata).map((country) => getExampleNumber(country, examples, metadata)!);

describe('the mobile number of every country', () => {
  it('is accepted unchanged after a plus, unless its groups divide the country code', () => {
    for (const { number, countryCallingCode: code } of mobiles) {
      const digits = number.slice(1);
      const [area, rest] = [digits.slice(code.length, -4), digits.slice(-4)];
      for (const form of [number, `+${code} ${area} ${rest}`, `+${code}(${area})${rest}`, `(+${code}) ${area}-${rest}`])
        expect(normalizeMsisdn(form)).toBe(digits);
      for (let at = 1; at < code.length; at++)
        for (const form of [
          `+${digits.slice(0, at)} ${digits.slice(at)}`,
          `+${digits.slice(0, at)}(${digits.slice(at)})`,
        ])
          expect(isMsisdn(form)).toBe(false);
    }
  });

  it('without the plus gives the same number, the Russian number of its ten digits, or a rejection', () => {
    for (const { number, countryCallingCode: code } of mobiles) {
      const digits = number.slice(1);
      const parsed = parseMsisdn(digits);
      if ('msisdn' in parsed) expect(parsed.msisdn).toBe(/^9\d{9}$/.test(digits) ? `7${digits}` : digits);
      for (let at = 1; at < code.length; at++)
        expect(isMsisdn(`${digits.slice(0, at)}-${digits.slice(at)}`)).toBe(false);
    }
  });

  it('without its country code is rejected, unless it has the form of a Russian number', () => {
    for (const { nationalNumber } of mobiles) {
      const parsed = parseMsisdn(nationalNumber);
      if ('msisdn' in parsed) expect(nationalNumber).toMatch(/^(?:9\d{9}|8[79]\d{9}|7\d{10})$/);
    }
  });

  it('is accepted without the plus for the neighbours of Russia', () => {
    const neighbours = [
      'AM',
      'AZ',
      'BY',
      'CN',
      'EE',
      'FI',
      'GE',
      'KG',
      'KZ',
      'LT',
      'LV',
      'MD',
      'MN',
      'PL',
      'RU',
      'TJ',
      'TM',
    ];
    for (const { country, number } of mobiles)
      if ([...neighbours, 'UA', 'UZ'].includes(country!))
        expect(normalizeMsisdn(number.slice(1))).toBe(number.slice(1));
  });
});

describe('a Russian area code', () => {
  const codes = [3, 4, 8].flatMap((first) => Array.from({ length: 100 }, (_, n) => String(first * 100 + n)));

  it.each([
    '8XXX1234567',
    '8 XXX 1234567',
    '8 (XXX) 123-45-67',
    '8-XXX-212-34-56',
    '8(XXX)9123456',
    '(8-XXX) 123-45-67',
    '8 (XXX1) 23-45-67',
    '8 (XXX12) 3-45-67',
    '8XXX 123 45 67',
    'XXX1234567',
    '(XXX) 123-45-67',
    '+8 (XXX) 123-45-67',
    '+8-XXX-912-34-56',
    '+8 XXX 1234567',
    '+(8XXX) 1234567',
    '(+8) XXX 123 45 67',
  ])('after 8, or without a prefix, is never accepted: %s', (form) => {
    const sent = codes.map((code) => form.replace('XXX', code)).filter(isMsisdn);
    expect(sent).toEqual([]);
  });

  it('is accepted after +7', () => {
    for (const code of codes) expect(normalizeMsisdn(`+7 (${code}) 123-45-67`)).toBe(`7${code}1234567`);
  });
});

describe('the result', () => {
  it('equals that of the phone library for Russian and Kazakh numbers, for which the library is not used', () => {
    fc.assert(
      fc.property(digitsOf(10), (rest) => library(`7${rest}`) && isMsisdn(`7${rest}`) && isMsisdn(`+7${rest}`)),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(digitsOf(9), (rest) => library(`79${rest}`) && normalizeMsisdn(`79${rest}`) === `79${rest}`));
  });

  it('equals that of the phone library for +7 with any other number of digits, except its service numbers of 15', () => {
    const wrongLength = fc.oneof(digitsOf(0, 9), digitsOf(11, 13), digitsOf(15, 30));
    fc.assert(fc.property(wrongLength, (rest) => !library(`7${rest}`) && !isMsisdn(`+7${rest}`)));
    fc.assert(fc.property(digitsOf(14), (rest) => !isMsisdn(`+7${rest}`)));
  });

  it('equals that of the phone library for every other country, up to the 15 digits of E.164', () => {
    const digits = digitsOf(1, 17).filter((d) => !d.startsWith('7'));
    fc.assert(
      fc.property(digits, (d) => isMsisdn(`+${d}`) === (d.length <= 15 && library(d))),
      { numRuns: 2_000 },
    );
  });

  /** Independent version of the contract: lists all meanings of bare digits and returns the number if there is only one. */
  function meaningOf(digits: string): string | undefined {
    const start = digits.slice(0, 2);
    if (digits.length === 11 && (digits[0] === '7' || start === '89' || start === '87')) return `7${digits.slice(1)}`;
    if (digits.length === 10 && digits[0] === '9') return `7${digits}`;
    const meanings = new Set<string>();
    const subscriber = digits.length === 11 && digits[0] === '8' ? digits.slice(1) : digits;
    if (subscriber.length === 10 && '348'.includes(subscriber[0]!)) meanings.add(`7${subscriber}`);
    if (isValidPhoneNumber(`+${digits}`, metadata)) meanings.add(digits);
    for (const code of ['86', '55']) {
      const atHome = parsePhoneNumberFromString(`+${code}${digits}`, metadata);
      if (digits.length === 11 && atHome?.getType() === 'MOBILE') meanings.add(code + digits);
    }
    // The prefix of calls abroad from Russia.
    if (digits.startsWith('810')) meanings.add('8-10');
    // Fewer digits are a national number in some country.
    if (digits.length < 11) meanings.add('');
    return meanings.size === 1 && meanings.has(digits) && library(digits) ? digits : undefined;
  }

  it('on bare digits equals that of a list of all their meanings', () => {
    const starts = fc.constantFrom(
      '8',
      '84',
      '8495',
      '886',
      '852',
      '375',
      '380',
      '998',
      '1',
      '13',
      '49',
      '9',
      '90',
      '3',
      '4',
      '',
    );
    fc.assert(
      fc.property(starts, digitsOf(6, 12), (start, rest) => {
        const parsed = parseMsisdn(start + rest);
        expect('msisdn' in parsed ? parsed.msisdn : undefined).toBe(meaningOf(start + rest));
      }),
      // The example is a number in Japan if 8-10 is not read as Russia's prefix of calls abroad.
      { numRuns: 5_000, examples: [['8', '10037000000']] },
    );
  });

  it('gives digits only, keeps international numbers, and is stable after a plus', () => {
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
        if ('problem' in parsed) expect(parsed.problem).not.toMatch(/\d{5}/);
      }),
    );
  });
});

describe('countryOf', () => {
  it.each([
    ['79270000001', 'RU'],
    ['74951234567', 'RU'],
    ['78005553535', 'RU'],
    ['77012345678', 'KZ'],
    ['375291234567', 'BY'],
    ['84951234567', 'VN'],
    ['870773123456', undefined],
  ])('%s belongs to %s', (msisdn, country) => {
    expect(countryOf(msisdn)).toBe(country);
  });
});
