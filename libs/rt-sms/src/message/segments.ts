/** The GSM 03.38 default alphabet without its escape, and the characters of its extension table. */
const BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
  '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';
const EXTENSION = '\f^{}\\[~]|€';

/** Septets by UTF-16 code unit; 0 outside the alphabet. An extension character takes two: the escape and the character. */
const SEPTETS = new Uint8Array('€'.charCodeAt(0) + 1);
for (const character of BASIC) SEPTETS[character.charCodeAt(0)] = 1;
for (const character of EXTENSION) SEPTETS[character.charCodeAt(0)] = 2;

/** Result of `countSegments`. */
export interface SmsSegments {
  /**
   * Encoding of the text: `gsm7` if every character is in the GSM 03.38 alphabet or its extension table, else `ucs2` for
   * the whole text.
   */
  encoding: 'gsm7' | 'ucs2';
  /** Number of SMS that are sent and charged; 0 for an empty text. */
  segments: number;
  /** Length that counts against the limit: septets (`€[]{}\^|~` are two) or UTF-16 code units (an emoji is two or more). */
  characters: number;
  /**
   * Characters outside the GSM 03.38 alphabet, which make the text UCS-2: each once, in their order, at most the first 50. Empty
   * for `gsm7`. A Latin text often has only one, such as a typographic apostrophe or dash. A character may be invisible or a control
   * character, and an emoji of several code points is several: `explainSegments` names them safely.
   */
  costly: string[];
  /** Limit per segment that applied: 160 or 70 for one segment, 153 or 67 for each of several. */
  perSegment: number;
}

/** Maximum of `costly`. */
const MAX_COSTLY = 50;

/**
 * Counts the SMS of a text. An escape pair and a surrogate pair are never split between two segments, so a segment may be one
 * unit short. The gateway reports its count with the delivery status (`parts`). It accepts every string and never throws; the
 * time is proportional to the length.
 */
export function countSegments(text: string): SmsSegments {
  const counted = measure(text);
  return { ...counted, costly: counted.encoding === 'gsm7' ? [] : outside(text).slice(0, MAX_COSTLY) };
}

const isGsm7 = (character: string) => character.length === 1 && Boolean(SEPTETS[character.charCodeAt(0)]);

/** Characters outside the GSM 03.38 alphabet, each once. */
const outside = (text: string) => [...new Set(text)].filter((character) => !isGsm7(character));

/** Variant of `countSegments` without `costly`, for each message that is sent. */
export function measure(text: string): Omit<SmsSegments, 'costly'> {
  let septets = 0;
  let segments = 1;
  let used = 0;
  for (let i = 0; i < text.length; i++) {
    const cost = SEPTETS[text.charCodeAt(i)];
    if (!cost) return countUcs2(text);
    septets += cost;
    if (used + cost > 153) {
      segments++;
      used = 0;
    }
    used += cost;
  }
  if (septets > 160) return { encoding: 'gsm7', segments, characters: septets, perSegment: 153 };
  return { encoding: 'gsm7', segments: septets === 0 ? 0 : 1, characters: septets, perSegment: 160 };
}

function countUcs2(text: string): Omit<SmsSegments, 'costly'> {
  const characters = text.length;
  if (characters <= 70) return { encoding: 'ucs2', segments: 1, characters, perSegment: 70 };
  let segments = 1;
  for (let start = 0; characters - start > 67; segments++) {
    start += 67;
    // A code point above 0xFFFF that starts before the boundary is a pair that crosses it.
    if (text.codePointAt(start - 1)! > 0xffff) start--;
  }
  return { encoding: 'ucs2', segments, characters, perSegment: 67 };
}

/** Typographic characters: what they are called, and their plain replacements. */
const TYPOGRAPHIC: Readonly<Record<string, readonly [name: string, plain: string]>> = {
  '\u00A0': ['a non-breaking space', ' '],
  '\u202F': ['a narrow non-breaking space', ' '],
  '\t': ['a tab', ' '],
  '`': ['the backtick `', "'"],
  '\u2018': ['the curly apostrophe \u2018', "'"],
  '\u2019': ['the curly apostrophe \u2019', "'"],
  '\u201C': ['the curly quote \u201C', '"'],
  '\u201D': ['the curly quote \u201D', '"'],
  '\u201E': ['the curly quote \u201E', '"'],
  '«': ['the quote «', '"'],
  '»': ['the quote »', '"'],
  '\u2013': ['the dash \u2013', '-'],
  '\u2014': ['the dash \u2014', '-'],
  '\u2026': ['the ellipsis \u2026', '...'],
};
/** Maximum of names in an explanation. */
const NAMED = 5;
const CYRILLIC = /^(?=\p{L})\p{Script=Cyrillic}$/u;
/** Parts of an emoji that are not shown by themselves. */
const JOINERS = new Set(['\u200D', '\uFE0F', '\u20E3']);
const EMOJI = /^[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Emoji_Modifier}]$/u;
/** Characters that would not be seen, or that would act on a terminal. */
const UNSEEN = /^[\p{C}\p{Z}\p{M}]$/u;

/**
 * Explains the number of segments of a text in one sentence or two, in English: the encoding, the length, the characters that
 * make it UCS-2 (at most five by name), and how many segments plain quotes, dashes and spaces would save. Invisible and control
 * characters are shown as `U+200B`, so the explanation is one printable line. It accepts every string and never throws.
 */
export function explainSegments(text: string): string {
  const { encoding, segments, characters, perSegment } = measure(text);
  const count = (number: number) => `${number} segment${number === 1 ? '' : 's'}`;
  const size = `${count(segments)}: ${characters} of ${perSegment * Math.max(1, segments)} characters`;
  if (encoding === 'gsm7') return `${size} in GSM-7`;
  const names = namesOf(outside(text));
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  const why = `${size} in UCS-2, because of ${names.slice(0, NAMED).join(', ')}${more}`;
  const after = measure(text.replace(/[^]/gu, (character) => TYPOGRAPHIC[character]?.[1] ?? character)).segments;
  return after < segments ? `${why}. With plain quotes, dashes and spaces it takes ${count(after)}` : why;
}

/** Names of characters; all Cyrillic letters have one name together. */
function namesOf(characters: readonly string[]): string[] {
  const cyrillic = characters.filter((character) => CYRILLIC.test(character));
  const hasEmoji = characters.some((character) => EMOJI.test(character));
  const names = characters.map((character) => {
    if (hasEmoji && JOINERS.has(character)) return undefined;
    if (CYRILLIC.test(character))
      return cyrillic.length === 1 ? `the Cyrillic letter ${character}` : 'Cyrillic letters';
    const name = TYPOGRAPHIC[character]?.[0];
    if (name !== undefined) return name;
    if (UNSEEN.test(character)) return codeOf(character);
    return EMOJI.test(character) ? `the emoji ${character}` : character;
  });
  return [...new Set(names)].filter((name) => name !== undefined);
}

const codeOf = (character: string) => `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
