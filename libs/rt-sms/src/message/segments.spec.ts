import * as fc from 'fast-check';
import { SegmentedMessage } from 'sms-segments-calculator';
import { countSegments, explainSegments } from './segments.js';

const BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
  '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';

describe('countSegments', () => {
  it.each<[string, string, Omit<ReturnType<typeof countSegments>, 'costly'>]>([
    ['an empty text', '', { encoding: 'gsm7', segments: 0, characters: 0, perSegment: 160 }],
    ['160 Latin', 'a'.repeat(160), { encoding: 'gsm7', segments: 1, characters: 160, perSegment: 160 }],
    ['161 Latin', 'a'.repeat(161), { encoding: 'gsm7', segments: 2, characters: 161, perSegment: 153 }],
    ['306 Latin', 'a'.repeat(306), { encoding: 'gsm7', segments: 2, characters: 306, perSegment: 153 }],
    ['307 Latin', 'a'.repeat(307), { encoding: 'gsm7', segments: 3, characters: 307, perSegment: 153 }],
    ['80 euro signs', '€'.repeat(80), { encoding: 'gsm7', segments: 1, characters: 160, perSegment: 160 }],
    ['81 euro signs', '€'.repeat(81), { encoding: 'gsm7', segments: 2, characters: 162, perSegment: 153 }],
    [
      'an escape pair on the boundary',
      'a'.repeat(152) + '€' + 'a'.repeat(152),
      { encoding: 'gsm7', segments: 3, characters: 306, perSegment: 153 },
    ],
    ['70 Cyrillic', 'я'.repeat(70), { encoding: 'ucs2', segments: 1, characters: 70, perSegment: 70 }],
    ['71 Cyrillic', 'я'.repeat(71), { encoding: 'ucs2', segments: 2, characters: 71, perSegment: 67 }],
    ['134 Cyrillic', 'я'.repeat(134), { encoding: 'ucs2', segments: 2, characters: 134, perSegment: 67 }],
    ['135 Cyrillic', 'я'.repeat(135), { encoding: 'ucs2', segments: 3, characters: 135, perSegment: 67 }],
    ['35 emoji', '😀'.repeat(35), { encoding: 'ucs2', segments: 1, characters: 70, perSegment: 70 }],
    [
      'a surrogate pair on the boundary',
      'я'.repeat(66) + '😀' + 'я'.repeat(66),
      { encoding: 'ucs2', segments: 3, characters: 134, perSegment: 67 },
    ],
    ['one Cyrillic letter', 'a'.repeat(70) + 'я', { encoding: 'ucs2', segments: 2, characters: 71, perSegment: 67 }],
    ['an extension character in UCS-2', '€я', { encoding: 'ucs2', segments: 1, characters: 2, perSegment: 70 }],
  ])('%s', (_, text, expected) => {
    const { costly, ...counted } = countSegments(text);
    expect(counted).toEqual(expected);
    expect(costly.length > 0).toBe(expected.encoding === 'ucs2');
  });

  it.each(['`', 'ç', '\t', '«', '—', 'ё', '\u001B', '\u00A0', '\u20AD', '\u0000'])('%j needs UCS-2', (character) => {
    expect(countSegments(character).encoding).toBe('ucs2');
  });

  it('counts the 127 basic characters as one septet and the 10 of the extension table as two', () => {
    expect(new Set(BASIC).size).toBe(127);
    for (const character of BASIC) expect(countSegments(character)).toMatchObject({ encoding: 'gsm7', characters: 1 });
    for (const character of '\f^{}\\[~]|€') {
      expect(countSegments(character)).toMatchObject({ encoding: 'gsm7', characters: 2 });
    }
    const others = Array.from({ length: 0x10000 }, (_, code) => String.fromCharCode(code)).filter(
      (character) => countSegments(character).encoding === 'gsm7',
    );
    expect(others).toHaveLength(137);
  });
});

describe('against sms-segments-calculator', () => {
  const gsm = fc.constantFrom(...Array.from(BASIC));
  const extension = fc.constantFrom(...Array.from('\f^{}\\[~]|€'));
  const cyrillic = fc.constantFrom(...Array.from('абвгдежзийклмнопрстуфхцчшщъыьэюяАБВЯё №«»—…'));
  const emoji = fc.constantFrom(...Array.from('😀🎉🚀📦💳🔑'));

  it.each([
    ['GSM', [gsm]],
    ['GSM with extension characters', [gsm, extension]],
    ['extension characters', [extension]],
    ['Cyrillic', [cyrillic]],
    ['mixed', [gsm, extension, cyrillic]],
    ['emoji', [emoji]],
    ['emoji in Cyrillic', [cyrillic, cyrillic, emoji]],
    ['all', [gsm, extension, cyrillic, emoji]],
  ])('%s: the same encoding and number of segments', (_, units) => {
    const text = fc.string({ unit: fc.oneof(...units), minLength: 1, maxLength: 500, size: 'max' });
    fc.assert(
      fc.property(text, (value) => {
        const theirs = new SegmentedMessage(value, 'auto', false);
        const ours = countSegments(value);
        expect([ours.encoding, ours.segments]).toEqual([
          theirs.encodingName === 'GSM-7' ? 'gsm7' : 'ucs2',
          theirs.segmentsCount,
        ]);
        // The calculator counts graphemes in UCS-2 and septets in GSM-7; the limit is in UTF-16 code units and septets.
        expect(ours.characters).toBe(ours.encoding === 'gsm7' ? theirs.numberOfCharacters : value.length);
      }),
      { numRuns: 60 },
    );
  });

  // Networks split between code units and the phone joins the parts again, so only surrogate pairs must not be split.
  // The calculator keeps whole graphemes together (a family is 11 units, a flag 4) and sometimes counts one more.
  it('differs where the calculator does not split a grapheme of several code points', () => {
    const family = '👨‍👩‍👧‍👦';
    const text = 'я'.repeat(61) + family + 'я'.repeat(62);
    expect(countSegments(text)).toMatchObject({ segments: 2, characters: 134 });
    expect(new SegmentedMessage(text, 'auto', false).segmentsCount).toBe(3);
  });

  it('differs for an empty text: the calculator counts one segment, this module none', () => {
    expect(new SegmentedMessage('', 'auto', false).segmentsCount).toBe(1);
    expect(countSegments('').segments).toBe(0);
  });
});

describe('costly', () => {
  it.each([
    ['It’s 5€ – it’s 😀', ['’', '–', '😀']],
    ["It's 5€ [~] {|} \\ ^ à Ω \f", []],
    ['Ёж, ёлка, ёж', ['Ё', 'ж', 'ё', 'л', 'к', 'а']],
    ['“5\u00A0kg”', ['“', '\u00A0', '”']],
    ['👩‍🚀🇷🇺', ['👩', '\u200D', '🚀', '🇷', '🇺']],
    ['half \uD83D of an emoji \uD83D', ['\uD83D']],
    ['', []],
  ])('of %j: each character outside GSM 03.38 once, in the order of the text', (text, costly) => {
    expect(countSegments(text).costly).toEqual(costly);
  });

  it('has at most 50, the first ones', () => {
    const many = Array.from({ length: 20_000 }, (_, n) => String.fromCodePoint(0x4e00 + n));
    expect(countSegments(`a${many.join('b')}`).costly).toEqual(many.slice(0, 50));
  });

  it('is empty exactly for GSM-7, and without it the text is GSM-7', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
        const { costly, encoding } = countSegments(text);
        expect(costly.length === 0).toBe(encoding === 'gsm7');
        expect(new Set(costly).size).toBe(costly.length);
        if (costly.length === 50) return;
        const rest = [...text].filter((character) => !costly.includes(character)).join('');
        expect(countSegments(rest).encoding).toBe('gsm7');
        for (const character of costly) expect(countSegments(character).encoding).toBe('ucs2');
      }),
    );
  });
});

describe('explainSegments', () => {
  it.each([
    ['', '0 segments: 0 of 160 characters in GSM-7'],
    ['Hello', '1 segment: 5 of 160 characters in GSM-7'],
    ['€'.repeat(81), '2 segments: 162 of 306 characters in GSM-7'],
    [
      `It’s${'a'.repeat(80)}`,
      '2 segments: 84 of 134 characters in UCS-2, because of the curly apostrophe ’. With plain quotes, dashes and spaces it takes 1 segment',
    ],
    [
      `5\u00A0kg${'a'.repeat(80)}`,
      '2 segments: 84 of 134 characters in UCS-2, because of a non-breaking space. With plain quotes, dashes and spaces it takes 1 segment',
    ],
    ['Hi 👩‍🚀', '1 segment: 8 of 70 characters in UCS-2, because of the emoji 👩, the emoji 🚀'],
    ['Привет, Ваня ё', '1 segment: 14 of 70 characters in UCS-2, because of Cyrillic letters'],
    ['Cодe'.replaceAll('д', 'd'), '1 segment: 4 of 70 characters in UCS-2, because of the Cyrillic letter о'],
    // Plain quotes do not help a text that stays UCS-2.
    [
      `«Заказ»${'я'.repeat(70)}`,
      '2 segments: 77 of 134 characters in UCS-2, because of the quote «, Cyrillic letters, the quote »',
    ],
    ['1🙂2№3ç4～5ƒ6ł7ñ8ő', '1 segment: 17 of 70 characters in UCS-2, because of the emoji 🙂, №, ç, ～, ƒ and 2 more'],
  ])('%j', (text, explained) => {
    expect(explainSegments(text)).toBe(explained);
  });

  it('is one printable line, whatever the text is', () => {
    expect(explainSegments('a\u001B[31m\u202Eb\u200B\uD83D')).toMatch(/because of U\+001B, U\+202E, U\+200B, U\+D83D$/);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const explained = explainSegments(text);
        expect(explained).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
        expect(explained.length).toBeLessThan(300);
      }),
    );
  });

  it('does not promise a saving that countSegments does not find', () => {
    expect(explainSegments('’'.repeat(60))).not.toMatch('With plain');
    expect(explainSegments(`${'a'.repeat(66)}……`)).not.toMatch('With plain');
    expect(explainSegments(`${'a'.repeat(70)}……`)).toMatch(/With plain quotes, dashes and spaces it takes 1 segment$/);
  });
});
