import type { CountryCode, PhoneNumber } from 'libphonenumber-js/core';
import { metadata, parsePhoneNumberFromString } from './numbering.cjs';
import { RtSmsValidationError } from '../rt-sms.errors.js';
import { readWritten, type WrittenNumber } from './written-number.js';

const RUSSIAN_MOBILE = /^79\d{9}$/;
const E164_DIGITS = 15;
/** Digits of a Russian number with its country code. Of fewer, without a `+`, none can be the country code for certain. */
const FULL_DIGITS = 11;
/** Digits of any number that an error shows. */
const SHOWN_DIGITS = 4;
/** Countries where a mobile number is written as 11 digits without any prefix: `131…` of China looks like one of +1. */
const WRITTEN_WITH_11_DIGITS: readonly CountryCode[] = ['CN', 'BR'];
const FIX = 'write it with + and the country code';

/** What a number may look like, for the texts of problems: without digits that could be taken for somebody's number. */
export const ACCEPTED_MSISDN =
  'a phone number: + and country code (or the same digits without +, if they have one meaning only), or a Russian one as 8 9XX…, 8 7XX… or 9XX…';

type Parsed = { msisdn: string } | { problem: string };

/**
 * The number as the gateway takes it (§1.4, §2.1.1): digits only, country code first, `7…` for Russia.
 *
 * - `+` first: international, the digits are kept.
 * - 11 digits `89…` or `87…`: the `8` becomes `7`. 10 digits `9…`: a `7` is put before them. 11 digits `7…` are kept.
 * - Other bare digits are international only if they have that one meaning: 11 or more digits, a valid number of one
 *   country, `375291234567`.
 * - What can be read two ways is refused and both readings are named. `8 (495) 123-45-67` is a landline in Moscow to whoever
 *   has typed it, and a mobile number in Vietnam to the gateway. `8` and a Russian area code (3XX, 4XX, 8XX), such ten digits
 *   without the `8`, and groups or brackets that divide a country code are always refused without a `+`; groups and brackets
 *   that divide the country code are refused with it, too: `+8 (495) …`.
 *
 * Spaces and line ends of all kinds, hyphens and dashes, parentheses and dots may stand between the digits. Invisible
 * characters are dropped. Digits of other scripts are refused. A JS number is read as its digits; it must be a safe integer.
 * Whether a spreadsheet has rounded a JS number cannot be seen; the text `7.927E+10` is refused.
 *
 * Normalise once: the result is not input. `+960 771-23-45` (Maldives) gives `9607712345`, and these ten digits alone
 * would be read as a Russian number. To pass a result through again, put `+` before it.
 *
 * @throws {RtSmsValidationError} if it is not a possible phone number or has two meanings; the error never holds the full
 * number.
 */
export function normalizeMsisdn(value: string | number): string {
  const parsed = parseMsisdn(value);
  if ('problem' in parsed) throw new RtSmsValidationError([`msisdn ${parsed.problem}`]);
  return parsed.msisdn;
}

/** {@link normalizeMsisdn} that never throws. A problem reads on from the name of the field. */
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
      problem: `has ${digits.length} digits, and a phone number has at most ${E164_DIGITS}: is it more than one?`,
    };
  }
  if (digits.startsWith('7')) return russian(digits);
  return international ? readInternational(written) : readBare(written);
}

/** `7927*****01`: the first 4 and the last 2 characters are shown; of fewer than 10, none. */
export function maskMsisdn(msisdn: string): string {
  const { length } = msisdn;
  return length < 10
    ? '*'.repeat(length)
    : msisdn.slice(0, SHOWN_DIGITS) + '*'.repeat(length - SHOWN_DIGITS - 2) + msisdn.slice(-2);
}

/** ISO 3166 code of the country of a normalised number; `undefined` if it has none, as a satellite phone. */
export function countryOf(msisdn: string): string | undefined {
  if (RUSSIAN_MOBILE.test(msisdn)) return 'RU';
  const number = possibleNumber(msisdn);
  return number?.country ?? (number?.countryCallingCode === '7' ? 'RU' : undefined);
}

/** `Vietnam` for `VN`. */
export function countryName(country: string): string {
  return new Intl.DisplayNames('en', { type: 'region', style: 'short' }).of(country) ?? country;
}

/** For the texts of problems. */
export function typeName(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

/**
 * Any 10 digits are possible after +7, so the phone library need not be asked. It takes 14 too: service numbers, which get no
 * SMS, and so would let a mobile number with an extension of four digits pass.
 */
function russian(digits: string): Parsed {
  if (digits.length === FULL_DIGITS) return { msisdn: digits };
  return {
    problem: `${maskMsisdn(digits)} has ${digits.length} digits, and numbers of +7 have ${FULL_DIGITS}: ${FIX}`,
  };
}

/** Digits without a `+`. A wrong guess costs money and reaches a stranger, so there is none. */
function readBare(written: WrittenNumber): Parsed {
  const { digits, breaks } = written;
  const [, trunk, mobile] = /^(8(?=[79])|(?=9))(\d{10})$/.exec(digits) ?? [];
  if (trunk !== undefined) {
    // The three digits of a Russian code stay together: `95 9 212 34 56` is how one writes a number of Myanmar.
    const divided = breaks.some((at) => at === trunk.length + 1 || at === trunk.length + 2);
    return divided && possibleNumber(digits)?.isValid() ? twoReadings(`7${mobile}`, digits) : { msisdn: `7${mobile}` };
  }
  const [, landline] = /^8?([348]\d{9})$/.exec(digits) ?? [];
  if (landline !== undefined) return twoReadings(`7${landline}`, digits);
  if (/^(?:0|810)/.test(digits)) return { problem: `${maskMsisdn(digits)} has a dialling prefix (0, 8-10): ${FIX}` };
  const number = possibleNumber(digits);
  if (!number) return impossible(digits);
  if (digits.length < FULL_DIGITS) return { problem: `${maskMsisdn(digits)} has no country code for certain: ${FIX}` };
  if (!number.isValid()) {
    return { problem: `${maskMsisdn(digits)} is not a number of any country as it stands: ${FIX}` };
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
    problem: `${maskMsisdn(digits)} is written in groups or brackets that divide the country code +${code}: ${FIX}`,
  };
}

/** The number, if it is a possible one of some country. */
function possibleNumber(digits: string): PhoneNumber | undefined {
  const number = parsePhoneNumberFromString(`+${digits}`, { extract: false }, metadata);
  // The library drops prefixes of domestic dialling. If it were followed in that, 8-10-375…, as one dials abroad from
  // Russia, would go to Japan (+81).
  return number?.isPossible() && number.number === `+${digits}` ? number : undefined;
}

function impossible(digits: string): Parsed {
  const dropped = parsePhoneNumberFromString(`+${digits}`, { extract: false }, metadata)?.isPossible();
  const why = dropped ? 'has a dialling prefix (0, 8-10) in it' : 'is not a possible phone number';
  return { problem: `${maskMsisdn(digits)} ${why}; it must be ${ACCEPTED_MSISDN}` };
}

/** Names how the digits can be read; the second reading only if it is a possible number. */
function twoReadings(domestic: string, international: string): Parsed {
  const first = shown(domestic);
  if (!possibleNumber(international)) {
    return { problem: `is a number as it is dialled within Russia, where it means ${first}: ${FIX}` };
  }
  return { problem: `can be read two ways, as ${first} and as ${shown(international)}: ${FIX}` };
}

/** `+7 495 … (Russia)`, `+84 95… (Vietnam)`. */
function shown(digits: string): string {
  const code = possibleNumber(digits)?.countryCallingCode ?? '';
  const country = countryOf(digits);
  const start = `+${code} ${digits.slice(code.length, SHOWN_DIGITS)}${code === '7' ? ' ' : ''}…`;
  return country === undefined ? start : `${start} (${countryName(country)})`;
}
