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
   * Characters that make the text UCS-2, each once, in their order. Empty for `gsm7`. In a Latin text it is often a typographic
   * apostrophe or dash.
   */
  costly: string[];
  /** Limit per segment that applied: 160 or 70 for one segment, 153 or 67 for each of several. */
  perSegment: number;
}

/**
 * Counts the SMS of a text. An escape pair and a surrogate pair are never split between two segments, so a segment may be one
 * unit short. The gateway reports its count with the delivery status (`parts`).
 */
export function countSegments(text: string): SmsSegments {
  const counted = measure(text);
  return { ...counted, costly: counted.encoding === 'gsm7' ? [] : [...new Set(text)].filter((each) => !isGsm7(each)) };
}

const isGsm7 = (character: string) => character.length === 1 && Boolean(SEPTETS[character.charCodeAt(0)]);

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

/** Plain replacements of typographic characters. */
const PLAIN: Record<string, string> = {
  '\u00A0': ' ',
  '\u2018': "'",
  '\u2019': "'",
  '\u201C': '"',
  '\u201D': '"',
  '\u201E': '"',
  '«': '"',
  '»': '"',
  '\u2013': '-',
  '\u2014': '-',
  '\u2026': '...',
};
/** Characters that an explanation names. */
const NAMED = 5;

/**
 * Explains the number of segments in one sentence or two: the encoding, the length, the characters that cost the most, and what
 * plain characters in their place would save.
 */
export function explainSegments(text: string): string {
  const { encoding, segments, characters, perSegment, costly } = countSegments(text);
  const count = (number: number) => `${number} segment${number === 1 ? '' : 's'}`;
  const size = `${count(segments)}: ${characters} of ${perSegment * Math.max(1, segments)}`;
  if (encoding === 'gsm7') return `${size} characters (GSM-7)`;
  const named = costly
    .slice(0, NAMED)
    .map((character) => (character === '\u00A0' ? 'a non-breaking space' : character));
  const more = costly.length > NAMED ? ` and ${costly.length - NAMED} more` : '';
  const why = `${size} characters (UCS-2, because of ${named.join(' ')}${more})`;
  const plain = text.replace(/[^]/gu, (character) => PLAIN[character] ?? character);
  const after = measure(plain).segments;
  return after < segments ? `${why}. With plain quotes, dashes and spaces it takes ${count(after)}` : why;
}
