/** A phone number as it was typed: its digits, and the separators that show where the country code ends. */
export interface WrittenNumber {
  /** True if the number starts with `+`. */
  readonly international: boolean;
  /** The ASCII digits of the number. */
  readonly digits: string;
  /** Positions of separators and brackets between two digits: 1 and 4 in `8 (495) 1234567`. */
  readonly breaks: readonly number[];
  /** Number of digits inside brackets that open before the first digit; 0 without such brackets. */
  readonly leadingBracket: number;
}

// Invisible characters of copied numbers: direction marks, joiners, variation selectors.
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
const SEPARATOR = /[\p{White_Space}\p{Pd}\u2212().]/u;
const LEADING_PLUS = /^[\p{White_Space}\p{Pd}\u2212().]*\+/u;
const SCIENTIFIC = /^[+-]?\d+(?:[.,]\d+)?[eе][+-]?\d+$/iu;
// A spreadsheet writes "375291234567.0". With the dot as a separator it would be a different number.
const DECIMAL = /^\+?\d+[.,]0+$/;
/** Minimum number of digits of a phone number in a cell that holds several. An extension has fewer. */
const NUMBER_DIGITS = 7;

/** Reads a typed number. A problem continues a sentence that starts with the field's name; it never contains the number. */
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
  for (const character of rest) {
    if (character >= '0' && character <= '9') digits += character;
    else if (!SEPARATOR.test(character)) return { problem: problemOf(visible, character) };
    else if (digits === '') bracketOpen ||= character === '(';
    else {
      if (breaks.at(-1) !== digits.length) breaks.push(digits.length);
      if (bracketOpen && character === ')') leadingBracket = digits.length;
      if (character === ')') bracketOpen = false;
    }
  }
  return { international: plus !== null, digits, breaks, leadingBracket };
}

/** Problem text for a value with a character that does not belong in a phone number. */
function problemOf(text: string, character: string): string {
  const lengths = text.split(/[,;/|\\&+]|\p{L}+/u).map((part) => part.replace(/\D/g, '').length);
  const numbers = lengths.filter((length) => length >= NUMBER_DIGITS).length;
  if (numbers > 1) return 'contains more than one phone number: send a separate message to each';
  const [before = '', ...after] = text.split(/[\p{L}#]/u);
  if (numbers === 1 && /\d/.test(before) && after.some((part) => /\d/.test(part)))
    return 'has an extension, which cannot receive an SMS: remove it';
  if (/\p{L}/u.test(character)) return 'contains a letter: use digits only';
  if (/\p{N}/u.test(character)) return 'has digits of another script or form: write them as 0 to 9';
  if (character === '+') return 'has a + that is not at the start';
  return 'has a character that does not belong in a phone number: use digits, a leading +, spaces, brackets, dots and dashes';
}
