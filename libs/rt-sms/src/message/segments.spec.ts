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

describe('what a text costs', () => {
  it('names the characters that make it UCS-2, each once', () => {
    expect(countSegments('It’s 5€ – it’s 😀').costly).toEqual(['’', '–', '😀']);
    expect(countSegments("It's 5€ [~]").costly).toEqual([]);
  });

  it.each([
    ['Hello', '1 segment: 5 of 160 characters (GSM-7)'],
    ['a'.repeat(161), '2 segments: 161 of 306 characters (GSM-7)'],
    [
      `It’s${'a'.repeat(80)}`,
      '2 segments: 84 of 134 characters (UCS-2, because of ’). With plain quotes, dashes and spaces it takes 1 segment',
    ],
    ['Привет, Ваня', '1 segment: 12 of 70 characters (UCS-2, because of П р и в е and 5 more)'],
  ])('explains %j', (text, explained) => {
    expect(explainSegments(text)).toBe(explained);
  });
});
