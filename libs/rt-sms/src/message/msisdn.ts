import type { CountryCode, PhoneNumber } from 'libphonenumber-js/core';
import { metadata, parsePhoneNumberFromString } from './numbering.cjs';
import { maskNumber } from '../redact.js';
import { RtSmsValidationError } from '../rt-sms.errors.js';
import { readWritten, type WrittenNumber } from './written-number.js';

const RUSSIAN_MOBILE = /^79\d{9}$/;
const E164_DIGITS = 15;
/** Number of digits of a Russian number with its country code. A shorter number without a `+` may lack its country code. */
const FULL_DIGITS = 11;
/** Number of leading digits that an error shows of a number. */
const SHOWN_DIGITS = 4;
/** Countries whose mobile numbers have 11 digits without any prefix: `131…` in China looks like a number of +1. */
const WRITTEN_WITH_11_DIGITS: readonly CountryCode[] = ['CN', 'BR'];
const FIX = 'write it with + and the country code';

/** Description of an accepted number for problem texts. It contains no digits that look like a real number. */
export const ACCEPTED_MSISDN =
  'a phone number: + and country code (or the same digits without +, if they have one meaning only), or a Russian one as 8 9XX…, 8 7XX… or 9XX…';

type Parsed = { msisdn: string } | { problem: string };

/**
 * Converts a phone number to the form that the gateway accepts (§1.4, §2.1.1): digits only, country code first, `7…` for
 * Russia.
 *
 * - A number with a leading `+` is international, and its digits are kept.
 * - In 11 digits `89…` or `87…` the `8` becomes `7`. 10 digits `9…` get a `7` in front. 11 digits `7…` are kept.
 * - Other digits without a `+` are international only if that is their single meaning: 11 or more digits that are a valid
 *   number of one country, such as `375291234567`.
 * - A number that can be read two ways is rejected, and the error names both readings. `8 (495) 123-45-67` is a landline in
 *   Moscow for the person who typed it and a mobile number in Vietnam for the gateway. Always rejected without a `+`: `8` with
 *   a Russian area code (3XX, 4XX, 8XX), the same ten digits without the `8`, and groups or brackets that divide a country
 *   code. Groups and brackets that divide the country code are rejected with a `+` as well: `+8 (495) …`.
 *
 * Spaces and line ends of all kinds, hyphens and dashes, parentheses and dots may separate the digits. Invisible characters
 * are dropped. Digits of other scripts are rejected. A JS number is read as its digits and must be a safe integer. The module
 * cannot detect a JS number that a spreadsheet has rounded; the text `7.927E+10` is rejected.
 *
 * Normalise once, because the result is not valid input: `+960 771-23-45` (Maldives) gives `9607712345`, and these ten
 * digits alone are read as a Russian number. To normalise a result again, put `+` in front of it.
 *
 * @throws {RtSmsValidationError} if the value is not a possible phone number or has two meanings. The error never contains
 * the full number.
 */
export function normalizeMsisdn(value: string | number): string {
  const parsed = parseMsisdn(value);
  if ('problem' in parsed) throw new RtSmsValidationError([`msisdn ${parsed.problem}`]);
  return parsed.msisdn;
}

/**
 * Variant of {@link normalizeMsisdn} that never throws. A problem continues a sentence that starts with the field's name.
 */
export function parseMsisdn(value: unknown): Parsed {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value <= 0) {
      return { problem: `must be ${ACCEPTED_MSISDN}; as a number, a positive safe integer` };
    }
    value = String(value);
  }
  if (typeof value !== 'string') return { problem: `must be a string or a number, not ${typeName(value)}` };
  if (RUSSIAN_MOBILE.test(value)) return { msisdn: value };

  const written = readWritten(value);
  if ('problem' in written) return written;
  const { digits, international } = written;
  if (digits === '') return { problem: `is empty; it must be ${ACCEPTED_MSISDN}` };
  if (digits.length > E164_DIGITS) {
    return {
      problem: `has ${digits.length} digits, but a phone number has at most ${E164_DIGITS}: is it more than one?`,
    };
  }
  if (digits.startsWith('7')) return russian(digits);
  return international ? readInternational(written) : readBare(written);
}

/** ISO 3166 code of a normalised number's country; `undefined` for a number without one, such as a satellite phone. */
export function countryOf(msisdn: string): string | undefined {
  if (RUSSIAN_MOBILE.test(msisdn)) return 'RU';
  const number = possibleNumber(msisdn);
  return number?.country ?? (number?.countryCallingCode === '7' ? 'RU' : undefined);
}

/** True for the ISO 3166 code of a country that has phone numbers, in capitals. */
export const isCountry = (code: unknown): boolean =>
  typeof code === 'string' && Object.hasOwn((metadata as unknown as { countries: object }).countries, code);

/** English name of a country by its ISO 3166 code: `Vietnam` for `VN`. */
function countryName(country: string): string {
  return new Intl.DisplayNames('en', { type: 'region', style: 'short' }).of(country) ?? country;
}

/** Name of a value's type for problem texts. */
export function typeName(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

/**
 * Reads a number of +7. Any 10 digits are possible after +7, so the phone library is not needed. The library also accepts 14
 * digits (service numbers, which cannot receive SMS), and with that a mobile number with an extension of four digits.
 */
function russian(digits: string): Parsed {
  if (digits.length === FULL_DIGITS) return { msisdn: digits };
  return {
    problem: `${maskNumber(digits)} has ${digits.length} digits, but a number of +7 has ${FULL_DIGITS}: ${FIX}`,
  };
}

/** Reads digits without a `+`. It never guesses, because a wrong guess costs money and reaches a stranger. */
function readBare(written: WrittenNumber): Parsed {
  const { digits, breaks } = written;
  const [, trunk, mobile] = /^(8(?=[79])|(?=9))(\d{10})$/.exec(digits) ?? [];
  if (trunk !== undefined) {
    // The three digits of a Russian code are never separated: `95 9 212 34 56` is the usual form of a number in Myanmar.
    const divided = breaks.some((at) => at === trunk.length + 1 || at === trunk.length + 2);
    return divided && possibleNumber(digits)?.isValid() ? twoReadings(`7${mobile}`, digits) : { msisdn: `7${mobile}` };
  }
  const [, landline] = /^8?([348]\d{9})$/.exec(digits) ?? [];
  if (landline !== undefined) return twoReadings(`7${landline}`, digits);
  if (/^(?:0|810)/.test(digits)) return { problem: `${maskNumber(digits)} has a dialling prefix (0, 8-10): ${FIX}` };
  const number = possibleNumber(digits);
  if (!number) return impossible(digits);
  if (digits.length < FULL_DIGITS) return { problem: `${maskNumber(digits)} may lack its country code: ${FIX}` };
  if (!number.isValid()) {
    return { problem: `${maskNumber(digits)} is not a valid number of any country: ${FIX}` };
  }
  for (const defaultCountry of WRITTEN_WITH_11_DIGITS) {
    const other = parsePhoneNumberFromString(digits, { defaultCountry, extract: false }, metadata);
    if (other?.nationalNumber === digits && other.getType() === 'MOBILE')
      return twoReadings(other.number.slice(1), digits);
  }
  return readInternational(written);
}

function readInternational(written: WrittenNumber): Parsed {
  const { digits, breaks, leadingBracket } = written;
  const number = possibleNumber(digits);
  const russianDigits = /^8[3-9]\d{9}$/.test(digits) ? `7${digits.slice(1)}` : undefined;
  if (!number) {
    if (russianDigits && /^8[79]/.test(digits)) return twoReadings(russianDigits, digits);
    return impossible(digits);
  }
  const code = number.countryCallingCode;
  const divided = breaks.some((at) => at < code.length);
  const bracketed = leadingBracket > code.length && !breaks.includes(code.length);
  if (!divided && !bracketed) return { msisdn: digits };
  if (russianDigits) return twoReadings(russianDigits, digits);
  return {
    problem: `${maskNumber(digits)} is written in groups or brackets that divide the country code +${code}: ${FIX}`,
  };
}

/** Parses the digits as an international number; `undefined` if no country has such a number. */
function possibleNumber(digits: string): PhoneNumber | undefined {
  const number = parsePhoneNumberFromString(`+${digits}`, { extract: false }, metadata);
  // The library drops prefixes of domestic dialling. Without the second check 8-10-375…, which is dialled in Russia for
  // calls abroad, would become a number in Japan (+81).
  return number?.isPossible() && number.number === `+${digits}` ? number : undefined;
}

function impossible(digits: string): Parsed {
  const dropped = parsePhoneNumberFromString(`+${digits}`, { extract: false }, metadata)?.isPossible();
  const why = dropped ? 'has a dialling prefix (0, 8-10) in it' : 'is not a possible phone number';
  return { problem: `${maskNumber(digits)} ${why}; it must be ${ACCEPTED_MSISDN}` };
}

/** Problem text that names how the digits can be read; the second reading only if it is a possible number. */
function twoReadings(domestic: string, international: string): Parsed {
  const first = shown(domestic);
  if (!possibleNumber(international)) {
    return { problem: `is in the form dialled within Russia, where it means ${first}: ${FIX}` };
  }
  return { problem: `can be read two ways, as ${first} and as ${shown(international)}: ${FIX}` };
}

/** Start of a number with its country, for problem texts: `+7 495 … (Russia)`, `+84 95… (Vietnam)`. */
function shown(digits: string): string {
  const code = possibleNumber(digits)?.countryCallingCode ?? '';
  const country = countryOf(digits);
  const start = `+${code} ${digits.slice(code.length, SHOWN_DIGITS)}${code === '7' ? ' ' : ''}…`;
  return country === undefined ? start : `${start} (${countryName(country)})`;
}
