// The only filter for foreign strings: reasons, statuses and request ids of the gateway, and the fields of callbacks.
// Every regular expression here is linear and reads a bounded string.

/** Replacement for a word of the gateway that is not in its document and may repeat a part of the request. */
export const UNRECOGNISED = 'unrecognised';

/** Length of a run of letters and digits that a word may not share with a confidential value. */
const COMMON_CHARACTERS = 5;
/** The same limit for digits: a part of a number, or a one-time code. */
const COMMON_DIGITS = 4;
/** The same limit for hexadecimal forms, which have two characters per byte. */
const COMMON_HEX = 8;
/** Minimum length of a word that is compared. A shorter word reveals nothing about a text. */
const SHORTEST_WORD = 3;
/** Number of digits that may be a phone number, with any separators. */
const NUMBER_DIGITS = 9;

/**
 * Reduces a text to letters and digits without case, accents and width. Marks are removed first, because normalising many
 * of them is slow.
 */
const plain = (text: string): string =>
  text
    .toLowerCase()
    .replace(/\p{M}+/gu, '')
    .normalize('NFKD')
    .replace(/[^\p{L}\p{N}]+/gu, '');
const hexOf = (text: string): string => Buffer.from(text).toString('hex');
const digitsOf = (text: string): string => text.replace(/\D+/g, '');
/** Splits a text into words of letters, `camelCase` into two. */
const wordsOf = (text: string): string[] =>
  text
    .replace(/(\p{Ll})(?=\p{Lu})/gu, '$1 ')
    .toLowerCase()
    .match(/\p{L}+/gu)
    ?.filter(({ length }) => length >= SHORTEST_WORD) ?? [];

/** True if both share a run of `length` characters, or one contains all of a shorter one of at least `least` characters. */
function haveCommonRun(a: string, b: string, length: number, least = length): boolean {
  const run = Math.min(length, a.length, b.length);
  if (run < least) return false;
  for (let start = 0; start + run <= a.length; start++) if (b.includes(a.slice(start, start + run))) return true;
  return false;
}

/** Forms of a confidential value in which the gateway may repeat it. */
class Forms {
  private readonly plain = plain(this.value);
  private readonly digits = digitsOf(this.value);
  private readonly words = new Set(wordsOf(this.value));
  private readonly base64: string[];
  private readonly hex: string[];

  constructor(private readonly value: string) {
    const bytes = Buffer.from(value);
    // In Base64 a value has three forms, depending on the text before it. Characters that depend on that text are left out.
    this.base64 = [0, 1, 2].map((before) => {
      const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
      return plain(text.slice(before && before + 1));
    });
    this.hex = [hexOf(value), plain(encodeURIComponent(value.toWellFormed()))];
  }

  isSharedBy(word: string): boolean {
    const bare = plain(word);
    return (
      haveCommonRun(bare, this.plain, COMMON_CHARACTERS, /^\d+$/.test(bare) ? COMMON_DIGITS : SHORTEST_WORD) ||
      // Compared unchanged as well, for a value without letters and digits.
      haveCommonRun(word, this.value, COMMON_CHARACTERS) ||
      haveCommonRun(digitsOf(word), this.digits, COMMON_DIGITS) ||
      wordsOf(word).some((part) => this.words.has(part)) ||
      this.base64.some((form) => haveCommonRun(bare, form, COMMON_CHARACTERS)) ||
      this.hex.some((form) => haveCommonRun(bare, form, COMMON_HEX))
    );
  }
}

/**
 * Returns a test for words that share anything with one of these values: a part of it in any case, with other separators, as
 * its digits alone, or in Base64, hexadecimal or percent-encoded form.
 */
export function sharing(values: readonly string[]): (word: string) => boolean {
  let forms: Forms[] | undefined;
  return (word) => (forms ??= values.map((value) => new Forms(value))).some((form) => form.isSharedBy(word));
}

/** True if a word has enough digits for a phone number, in any script or in Base64. */
const mayBeNumber = (word: string): boolean =>
  [word, Buffer.from(word, 'base64').toString('latin1')].some(
    (text) => (text.match(/\p{Nd}/gu)?.length ?? 0) >= NUMBER_DIGITS,
  );

/** Filters a reason that is not in the document. Only a short word of letters passes, so it cannot contain a number. */
export function safeReason(reason: string, confidential: readonly string[]): string {
  return /^[a-z][a-z_-]{0,39}$/i.test(reason) && !sharing(confidential)(reason) ? reason : UNRECOGNISED;
}

/** Filters a status or an error code that is not in the document. The reader has checked that it is printable and short. */
export function safeWord(word: string, confidential: readonly string[]): string {
  return mayBeNumber(word) || sharing(confidential)(word) ? UNRECOGNISED : word;
}

/** Usual forms of a request id: that of the document, and a UUID. */
const HEX_ID = /^[\da-f]{32}$|^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** A padded number, also in the hexadecimal form of its digits. A random id does not match. */
const NUMBER_IN_ID = /\d{20}|(?:3\d){9}/;
/** Six characters of a text, or three Cyrillic ones, in hexadecimal form. Few random ids match. */
const TEXT_IN_ID = /(?:[2-7][\da-f]|[c-f][\da-f](?:[89ab][\da-f]){1,3}){6}|(?:d[0-3][\da-f]{2}){3}/;
/** Parts of a value that an id could contain unchanged. Shorter parts match random ids. */
const HEX_RUN = /[\da-f]{6,}/gi;
const COMMON_IN_ID = 6;

/**
 * Filters a request id; `undefined` if it may repeat a part of the request. The usual form has a fast check, because every
 * answer has an id.
 */
export function safeId(id: string, confidential: readonly string[]): string | undefined {
  if (!/^[a-z\d][\w-]{0,63}$/i.test(id)) return undefined;
  if (!HEX_ID.test(id)) return mayBeNumber(id) || sharing(confidential)(id) ? undefined : id;
  const bare = id.replaceAll('-', '').toLowerCase();
  const holdsText = TEXT_IN_ID.test(bare);
  const isShared = (value: string) =>
    value.match(HEX_RUN)?.some((run) => haveCommonRun(run.toLowerCase(), bare, COMMON_IN_ID)) ||
    (holdsText && haveCommonRun(bare, hexOf(value), COMMON_HEX));
  return NUMBER_IN_ID.test(bare) || confidential.some(isShared) ? undefined : id;
}
