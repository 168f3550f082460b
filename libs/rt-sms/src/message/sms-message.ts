import { buildMessage, ValidateBy, ValidateIf, type ValidationOptions } from 'class-validator';
import type { CheckedMessage } from '../gateway/call-options.js';
import { misspeltKeys } from '../unknown-keys.js';
import { ACCEPTED_MSISDN, parseMsisdn, typeName } from './msisdn.js';
import { countSegments } from './segments.js';

/** The concatenation header of an SMS numbers its segments in one octet. */
const MAX_SEGMENTS = 255;
const MAX_REF = 256;

const ACCEPTED_TEXT = `a string that is not blank, has no unpaired surrogates and fits into ${MAX_SEGMENTS} segments`;
const ACCEPTED_SHORTCODE =
  'a sender name: a string that is not blank, without control characters and unpaired surrogates';
const ACCEPTED_REF = `a string of at most ${MAX_REF} characters`;

const FIELDS = ['msisdn', 'text', 'shortcode', 'ref'];

/** One message (§2.1.1). Other keys are yours, but one that looks like a misspelt field is refused. */
export interface SmsMessage {
  /** The recipient: `+` and country code, or a Russian number in its usual forms; see `normalizeMsisdn`. */
  msisdn: string | number;
  /**
   * Not blank; any Unicode text. Its length decides in how many segments it is sent and paid for (`countSegments`).
   * At most 255 segments, more cannot be concatenated; no unpaired surrogates, since UTF-8 cannot carry them.
   */
  text: string;
  /**
   * The sender name, agreed with the provider. Operators advise at most 11 ASCII characters.
   * @default the option `shortcode`
   */
  shortcode?: string;
  /** Yours, say an order number: on every event of this message while it is known; never sent. At most 256 characters. */
  ref?: string;
}

/** A message that the gateway has taken (§2.1.2). */
export interface SentSms {
  /** The gateway's, `message-id-…`. */
  uid: string;
  /** As it was sent: digits only. */
  msisdn: string;
  /** The sender name that it was sent with. */
  shortcode: string;
  /** In how many segments it will be paid for, by our count. */
  segments: number;
  /** The gateway's `x-request-id`. */
  requestId?: string;
  /** Requests it took. */
  attempts: number;
}

/** A message that may be sent: the number normalised, the sender decided. */
export interface CheckedSmsMessage extends CheckedMessage {
  segments: number;
  ref?: string;
}

/**
 * Checks a message before any I/O: all problems at once, each with the name of its field, what is wrong and what is
 * accepted, and without the text or the full number. Never throws, whatever it is given.
 */
export function checkMessage(message: unknown, defaultShortcode?: string): CheckedSmsMessage | { problems: string[] } {
  if (typeof message !== 'object' || message === null) {
    return { problems: [`message must be an object with msisdn and text, not ${typeName(message)}`] };
  }
  let fields: { [field in keyof SmsMessage]?: unknown };
  let misspelt: string[];
  try {
    const { msisdn, text, shortcode = defaultShortcode, ref } = message as typeof fields;
    fields = { msisdn, text, shortcode, ref };
    misspelt = misspeltKeys(message, FIELDS, 'message');
  } catch {
    return { problems: ['message must be an object whose fields can be read; one of them threw'] };
  }
  const msisdn = parseMsisdn(fields.msisdn);
  const text = parseText(fields.text);
  const shortcode = parseShortcode(fields.shortcode);
  const ref = parseRef(fields.ref);
  const problems = Object.entries({ msisdn, text, shortcode, ref }).flatMap(([field, parsed]) =>
    'problem' in parsed ? [`${field} ${parsed.problem}`] : [],
  );
  if ('problem' in msisdn || 'problem' in text || 'problem' in shortcode || 'problem' in ref || misspelt.length > 0) {
    return { problems: [...problems, ...misspelt] };
  }
  const checked = { msisdn: msisdn.msisdn, text: text.text, shortcode: shortcode.shortcode, segments: text.segments };
  return ref.ref === undefined ? checked : { ...checked, ref: ref.ref };
}

/** A property of a DTO that is an `msisdn` as {@link SmsMessage} takes it. */
export const IsMsisdn = rule('isMsisdn', parseMsisdn, ACCEPTED_MSISDN);

/** A property of a DTO that is a `text` as {@link SmsMessage} takes it. */
export const IsSmsText = rule('isSmsText', parseText, ACCEPTED_TEXT);

const IsShortcode = rule('isShortcode', parseShortcode, ACCEPTED_SHORTCODE);
const IsRef = rule('isRef', parseRef, ACCEPTED_REF);
// Unlike IsOptional() it lets no null pass, which the service would refuse.
const MayBeMissing = () => ValidateIf((_, value) => value !== undefined);

/**
 * {@link SmsMessage} (§2.1.1) for a `ValidationPipe`. What it lets pass the service takes too, a message without `shortcode`
 * if the account has a default one.
 */
export class SmsMessageDto implements SmsMessage {
  /** The recipient: `+` and country code, or a Russian number in its usual forms. */
  @IsMsisdn()
  msisdn!: string | number;

  /** Not blank, at most 255 segments. */
  @IsSmsText()
  text!: string;

  /** The sender name. @default the option `shortcode` */
  @MayBeMissing()
  @IsShortcode()
  shortcode?: string;

  /** Yours, on every event of this message; never sent. At most 256 characters. */
  @IsRef()
  ref?: string;
}

interface Problem {
  /** Reads on from the name of the field. */
  problem: string;
}

/** The service's own check as a class-validator decorator. One message for all values, so that none can get into it. */
function rule(name: string, parse: (value: unknown) => object, accepted: string) {
  return (options?: ValidationOptions): PropertyDecorator =>
    ValidateBy(
      {
        name,
        validator: {
          validate: (value: unknown) => !('problem' in parse(value)),
          defaultMessage: buildMessage((each) => `${each}$property must be ${accepted}`, options),
        },
      },
      options,
    );
}

function parseText(value: unknown): { text: string; segments: number } | Problem {
  if (typeof value !== 'string') return { problem: `must be ${ACCEPTED_TEXT}; not ${typeName(value)}` };
  if (!/\S/.test(value)) return { problem: `is blank; it must be ${ACCEPTED_TEXT}` };
  if (!value.isWellFormed()) return { problem: `has an unpaired surrogate; it must be ${ACCEPTED_TEXT}` };
  const { segments } = countSegments(value);
  if (segments > MAX_SEGMENTS) return { problem: `takes ${segments} segments; it must be ${ACCEPTED_TEXT}` };
  return { text: value, segments };
}

function parseShortcode(value: unknown): { shortcode: string } | Problem {
  if (value === undefined) {
    return { problem: 'is missing: give the message a sender name, or set the option `shortcode` as the default' };
  }
  if (typeof value !== 'string') return { problem: `must be ${ACCEPTED_SHORTCODE}; not ${typeName(value)}` };
  if (!/\S/.test(value)) return { problem: `is blank; it must be ${ACCEPTED_SHORTCODE}` };
  if (/[\p{Cc}\p{Cs}]/u.test(value))
    return { problem: `has a control character or an unpaired surrogate; it must be ${ACCEPTED_SHORTCODE}` };
  return { shortcode: value };
}

function parseRef(value: unknown): { ref?: string } | Problem {
  if (value === undefined) return {};
  if (typeof value !== 'string') return { problem: `must be ${ACCEPTED_REF}; not ${typeName(value)}` };
  if (value.length > MAX_REF) return { problem: `has ${value.length} characters; it must be ${ACCEPTED_REF}` };
  return { ref: value };
}
