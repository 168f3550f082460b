// The one filter for strings that are not ours: the gateway's words, its request ids, and the words of callbacks.
// A regular expression here reads a bounded string only, and none of them is worse than linear.

/** Stands in place of a word of the gateway that is not of its document and may repeat a part of the request. */
export const UNRECOGNISED = 'unrecognised';

/** So many letters or digits in a row that a word has in common with a confidential value are a part of that value. */
const COMMON_CHARACTERS = 5;
/** The same of digits alone: a part of a number, or a one-time code. */
const COMMON_DIGITS = 4;
/** The same of hexadecimal forms, which have two characters a byte. */
const COMMON_HEX = 8;
/** A shorter word of a text says nothing of it. */
const SHORTEST_WORD = 3;
/** So many digits may be a phone number, whatever is between them. */
const NUMBER_DIGITS = 9;

/** Letters and digits alone, without case, accents and width. Marks go first: to sort many of them is slow. */
const plain = (text: string): string =>
  text
    .toLowerCase()
    .replace(/\p{M}+/gu, '')
    .normalize('NFKD')
    .replace(/[^\p{L}\p{N}]+/gu, '');
const hexOf = (text: string): string => Buffer.from(text).toString('hex');
const digitsOf = (text: string): string => text.replace(/\D+/g, '');
/** Words of letters, `camelCase` as two. */
const wordsOf = (text: string): string[] =>
  text
    .replace(/(\p{Ll})(?=\p{Lu})/gu, '$1 ')
    .toLowerCase()
    .match(/\p{L}+/gu)
    ?.filter(({ length }) => length >= SHORTEST_WORD) ?? [];

/** True if `length` characters in a row are in both, or all of the shorter one if it has `least`. */
function haveCommonRun(a: string, b: string, length: number, least = length): boolean {
  const run = Math.min(length, a.length, b.length);
  if (run < least) return false;
  for (let start = 0; start + run <= a.length; start++) if (b.includes(a.slice(start, start + run))) return true;
  return false;
}

/** A confidential value in the forms in which it may come back. */
class Forms {
  private readonly plain = plain(this.value);
  private readonly digits = digitsOf(this.value);
  private readonly words = new Set(wordsOf(this.value));
  private readonly base64: string[];
  private readonly hex: string[];

  constructor(private readonly value: string) {
    const bytes = Buffer.from(value);
    // What stands before it decides which of three forms it has; the characters that it shares with that are left out.
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
      // Also where it is of signs alone.
      haveCommonRun(word, this.value, COMMON_CHARACTERS) ||
      haveCommonRun(digitsOf(word), this.digits, COMMON_DIGITS) ||
      wordsOf(word).some((part) => this.words.has(part)) ||
      this.base64.some((form) => haveCommonRun(bare, form, COMMON_CHARACTERS)) ||
      this.hex.some((form) => haveCommonRun(bare, form, COMMON_HEX))
    );
  }
}

/**
 * Tells whether a word shares anything with one of these values: is part of it or holds a part of it, in another case, with
 * other separators, as its digits alone, or in Base64, hexadecimal or percent-encoded form.
 */
export function sharing(values: readonly string[]): (word: string) => boolean {
  let forms: Forms[] | undefined;
  return (word) => (forms ??= values.map((value) => new Forms(value))).some((form) => form.isSharedBy(word));
}

/** True if there are digits enough for a phone number, of whichever script, also in Base64. */
const mayBeNumber = (word: string): boolean =>
  [word, Buffer.from(word, 'base64').toString('latin1')].some(
    (text) => (text.match(/\p{Nd}/gu)?.length ?? 0) >= NUMBER_DIGITS,
  );

/** A reason that the document does not have passes only as a short word: letters, so that no number or code can be in it. */
export function safeReason(reason: string, confidential: readonly string[]): string {
  return /^[a-z][a-z_-]{0,39}$/i.test(reason) && !sharing(confidential)(reason) ? reason : UNRECOGNISED;
}

/** A status or an error code that the document does not have: any printable word that is not too long, as it is read. */
export function safeWord(word: string, confidential: readonly string[]): string {
  return mayBeNumber(word) || sharing(confidential)(word) ? UNRECOGNISED : word;
}

/** A request id as the document shows it, also as a UUID. */
const HEX_ID = /^[\da-f]{32}$|^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** What no id is by chance: a number that was filled up, be it in the hexadecimal form of its digits. */
const NUMBER_IN_ID = /\d{20}|(?:3\d){9}/;
/** What few are: six characters of a text, or three of Cyrillic, in hexadecimal form. */
const TEXT_IN_ID = /(?:[2-7][\da-f]|[c-f][\da-f](?:[89ab][\da-f]){1,3}){6}|(?:d[0-3][\da-f]{2}){3}/;
/** What of a value could be in such an id as it is. An id has shorter ones in common with any number. */
const HEX_RUN = /[\da-f]{6,}/gi;
const COMMON_IN_ID = 6;

/** A request id, or nothing where it may repeat a part of the request. Each answer has one: the usual form is quick to check. */
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
