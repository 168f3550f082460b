import { parsePhoneNumberFromString, type MetadataJson } from 'libphonenumber-js/core';
import metadata from 'libphonenumber-js/max/metadata';
import { RtSmsValidationError } from '../rt-sms.errors.js';

// The metadata that class-validator has loaded already. Apart from the core, not '/max': the files of that import it by a path
// that Jest, with the usual mapping of './x.js' to './x', reads as JSON. Object() gives back what it is given; in CommonJS the
// metadata has the type of bare JSON.
const NUMBERING_PLANS: MetadataJson = Object(metadata);
const RUSSIAN_MOBILE = /^79\d{9}$/;
const SEPARATORS = /[\p{Zs}\p{Pd}\u00AD\u2212().]/gu;
const DECIMAL = /^\+?\d+\.0+$/;
const E164_DIGITS = 15;

/** What a number may look like, for the texts of problems: without digits that could be taken for somebody's number. */
export const ACCEPTED_MSISDN =
  'a phone number: + and country code (or the same digits without +), or a Russian one as 8 9XX…, 8 7XX… or 9XX…';

/**
 * The number as the gateway takes it (§1.4, §2.1.1): digits only, country code first, `7…` for Russia.
 *
 * - `+` first: international, the digits are kept.
 * - 11 digits `89…` or `87…`: the `8` becomes `7`. 10 digits `9…`: a `7` is put before them.
 * - All else is read as international digits and kept: `375291234567`, `84912345678`.
 *
 * Spaces (no-break ones too), hyphens and dashes, parentheses and dots may stand between the digits.
 * A JS number must be a safe integer.
 *
 * Normalise once: the result is not input. `+960 771-23-45` (Maldives) gives `9607712345`, and these ten digits alone
 * would be read as a Russian number. To pass a result through again, put `+` before it.
 *
 * @throws {RtSmsValidationError} where it is no possible phone number; the error never holds the full number.
 */
export function normalizeMsisdn(value: string | number): string {
  const parsed = parseMsisdn(value);
  if ('problem' in parsed) throw new RtSmsValidationError([`msisdn ${parsed.problem}`]);
  return parsed.msisdn;
}

/** {@link normalizeMsisdn} that never throws. A problem reads on from the name of the field. */
export function parseMsisdn(value: unknown): { msisdn: string } | { problem: string } {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value <= 0) {
      return { problem: `must be ${ACCEPTED_MSISDN}; as a number, a positive safe integer` };
    }
    value = String(value);
  }
  if (typeof value !== 'string') return { problem: `must be a string or a number, not ${typeName(value)}` };
  if (RUSSIAN_MOBILE.test(value)) return { msisdn: value };
  // A spreadsheet's "375291234567.0": were its dot a separator, it would be somebody else's number.
  if (DECIMAL.test(value)) return { problem: `must be ${ACCEPTED_MSISDN}; not a decimal fraction` };

  const bare = value.replace(SEPARATORS, '');
  const international = bare.startsWith('+');
  const digits = international ? bare.slice(1) : withCountryCode(bare);
  const stray = /[^0-9]/u.exec(digits)?.[0];
  if (stray !== undefined) return { problem: `must be ${ACCEPTED_MSISDN}; ${codePoint(stray)} has no place in it` };
  if (digits === '') return { problem: `is empty; it must be ${ACCEPTED_MSISDN}` };
  const fault = faultOf(digits);
  return fault === undefined ? { msisdn: digits } : { problem: `${fault}; it must be ${ACCEPTED_MSISDN}` };
}

/** `7927*****01`: the first 4 and the last 2 characters are shown; of fewer than 10, none. */
export function maskMsisdn(msisdn: string): string {
  const { length } = msisdn;
  return length < 10 ? '*'.repeat(length) : msisdn.slice(0, 4) + '*'.repeat(length - 6) + msisdn.slice(-2);
}

/** For the texts of problems. */
export function typeName(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

/** Only what is Russian beyond doubt as it is written is taken for Russian: a wrong guess would send to a stranger. */
function withCountryCode(digits: string): string {
  if (/^8[79]\d{9}$/.test(digits)) return `7${digits.slice(1)}`;
  return /^9\d{9}$/.test(digits) ? `7${digits}` : digits;
}

/** What is wrong with international digits; `undefined` where they are a possible phone number. */
function faultOf(digits: string): string | undefined {
  if (digits.length > E164_DIGITS) return `has ${digits.length} digits, and no phone number more than ${E164_DIGITS}`;
  // Any 10 digits are possible after +7, so the phone library need not be asked. It takes 14 too: service numbers, which
  // get no SMS, and so would let a mobile number with an extension of four digits pass.
  if (digits.startsWith('7')) {
    return digits.length === 11
      ? undefined
      : `${maskMsisdn(digits)} has ${digits.length} digits, and numbers of +7 have 11`;
  }
  const number = parsePhoneNumberFromString(`+${digits}`, { extract: false }, NUMBERING_PLANS);
  if (number?.isPossible() !== true) return `${maskMsisdn(digits)} is no possible phone number`;
  // The library drops prefixes of domestic dialling. If it were followed in that, 8-10-375…, as one dials abroad from
  // Russia, would go to Japan (+81).
  return number.number === `+${digits}` ? undefined : `${maskMsisdn(digits)} has a dialling prefix (0, 8-10) in it`;
}

/** `U+0445`: visible and harmless in a log, whatever the character. */
function codePoint(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}
