/** A phone number as somebody has written it: its digits, and what its signs say about where the country code ends. */
export interface WrittenNumber {
  /** It begins with `+`. */
  readonly international: boolean;
  /** ASCII digits only. */
  readonly digits: string;
  /** Positions between two digits where a separator or a bracket stands: 1 and 4 in `8 (495) 1234567`. */
  readonly breaks: readonly number[];
  /** How many digits the brackets have that stand before the first digit; 0 if there are none. */
  readonly leadingBracket: number;
}

// What a copied number brings along unseen: marks of direction, joiners, variation selectors.
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
const SEPARATOR = /[\p{White_Space}\p{Pd}\u2212().]/u;
const LEADING_PLUS = /^[\p{White_Space}\p{Pd}\u2212().]*\+/u;
const SCIENTIFIC = /^[+-]?\d+(?:[.,]\d+)?[eе][+-]?\d+$/iu;
// A spreadsheet's "375291234567.0": if its dot were a separator, the number would be another one.
const DECIMAL = /^\+?\d+[.,]0+$/;
/** Digits that a number has at least, where several stand in one cell; an extension has fewer. */
const NUMBER_DIGITS = 7;

/** Reads what is written. A problem is a phrase that continues the name of the field, in words and without the number. */
export function readWritten(value: string): WrittenNumber | { problem: string } {
  const visible = value.replace(INVISIBLE, '');
  const trimmed = visible.trim();
  if (SCIENTIFIC.test(trimmed)) {
    const fix = 'format its column as text and enter the number again';
    return { problem: `is in scientific notation, and the spreadsheet has rounded this number: ${fix}` };
  }
  if (DECIMAL.test(trimmed)) return { problem: 'is a decimal fraction: format its column in the spreadsheet as text' };

  const plus = LEADING_PLUS.exec(visible);
  const rest = plus ? visible.slice(plus[0].length) : visible;
  const breaks: number[] = [];
  let digits = '';
  let leadingBracket = 0;
  let bracketOpen = false;
  for (const sign of rest) {
    if (sign >= '0' && sign <= '9') digits += sign;
    else if (!SEPARATOR.test(sign)) return { problem: problemOf(visible, sign) };
    else if (digits === '') bracketOpen ||= sign === '(';
    else {
      if (breaks.at(-1) !== digits.length) breaks.push(digits.length);
      if (bracketOpen && sign === ')') leadingBracket = digits.length;
      if (sign === ')') bracketOpen = false;
    }
  }
  return { international: plus !== null, digits, breaks, leadingBracket };
}

/** Why a text with a sign that does not belong to a phone number cannot be read. */
function problemOf(text: string, sign: string): string {
  const lengths = text.split(/[,;/|\\&+]|\p{L}+/u).map((part) => part.replace(/\D/g, '').length);
  const numbers = lengths.filter((length) => length >= NUMBER_DIGITS).length;
  if (numbers > 1) return 'holds more than one phone number: give each a message of its own';
  const [before = '', ...after] = text.split(/[\p{L}#]/u);
  if (numbers === 1 && /\d/.test(before) && after.some((part) => /\d/.test(part)))
    return 'has an extension, which cannot receive an SMS: leave it out';
  if (/\p{L}/u.test(sign)) return 'has a letter in it: write digits only';
  if (/\p{N}/u.test(sign)) return 'has digits of another script or form: write them as 0 to 9';
  if (sign === '+') return 'has a + that is not at its beginning';
  return 'has a sign that does not belong to a phone number: write digits, a leading +, spaces, brackets, dots and dashes';
}
