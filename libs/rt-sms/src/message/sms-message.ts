import { buildMessage, ValidateBy, ValidateIf, type ValidationOptions } from 'class-validator';
import { misspeltKeys } from '../unknown-keys.js';
import { ACCEPTED_MSISDN, parseMsisdn, typeName } from './msisdn.js';
import { measure } from './segments.js';

/** Limit of concatenation: the header of an SMS numbers its segments in one octet. */
const MAX_SEGMENTS = 255;
const MAX_REF = 256;

const ACCEPTED_TEXT = `a string that is not blank, has no unpaired surrogates and fits into ${MAX_SEGMENTS} segments`;
const ACCEPTED_SHORTCODE =
  'a sender name: a string that is not blank, without control characters and unpaired surrogates';
const ACCEPTED_REF = `a string of at most ${MAX_REF} characters`;

const FIELDS = ['msisdn', 'text', 'shortcode', 'ref'];

/** One message (§2.1.1). You can add other keys; a key that looks like a misspelt field is rejected. */
export interface SmsMessage {
  /** Recipient: `+` and country code, or a Russian number in a usual form; see `normalizeMsisdn`. */
  msisdn: string | number;
  /**
   * Text of the message: any Unicode text that is not blank. It is sent and charged by segments (`countSegments`). At most
   * 255 segments, because more cannot be concatenated; no unpaired surrogates, because UTF-8 cannot encode them.
   */
  text: string;
  /**
   * Sender name, agreed with the provider. Operators recommend at most 11 ASCII characters.
   * @default the option `shortcode`
   */
  shortcode?: string;
  /**
   * Your own reference, such as an order number, of at most 256 characters. It is never sent; every event of this message
   * carries it while the module remembers the message.
   */
  ref?: string;
}

/** A message that the gateway has accepted (§2.1.2). */
export interface SentSms {
  /** The gateway's name for the message, `message-id-…`. */
  uid: string;
  /** Recipient as it was sent: digits only. */
  msisdn: string;
  /** Sender name that the message was sent with. */
  shortcode: string;
  /** Number of segments that are charged, as counted by `countSegments`. */
  segments: number;
  /** The gateway's `x-request-id`. The provider's support needs it. */
  requestId?: string;
  /** Number of requests made. */
  attempts: number;
}

/** A message that has passed validation. */
export interface CheckedMessage {
  /** Recipient: digits with the country code. */
  msisdn: string;
  /** Text as it is sent. */
  text: string;
  /** Sender name. */
  shortcode: string;
}

/** A checked message with its segments and your reference. */
export interface CheckedSmsMessage extends CheckedMessage {
  segments: number;
  ref?: string;
}

/**
 * Checks a message before any I/O and returns all problems at once: the field, the fault and the accepted values, without the
 * text and the full number. Never throws.
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
    return { problems: ['message must be an object with readable fields; reading one of them threw'] };
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

/** Decorator for a DTO property that holds an `msisdn` of {@link SmsMessage}. */
export const IsMsisdn = rule('isMsisdn', parseMsisdn, ACCEPTED_MSISDN);

/** Decorator for a DTO property that holds a `text` of {@link SmsMessage}. */
export const IsSmsText = rule('isSmsText', parseText, ACCEPTED_TEXT);

const IsShortcode = rule('isShortcode', parseShortcode, ACCEPTED_SHORTCODE);
const IsRef = rule('isRef', parseRef, ACCEPTED_REF);
// Unlike IsOptional() this rejects null, as the service does.
const MayBeMissing = () => ValidateIf((_, value) => value !== undefined);

/**
 * {@link SmsMessage} (§2.1.1) for a `ValidationPipe`. The service accepts every message that passes; one without `shortcode`
 * only if the account has a default sender name.
 */
export class SmsMessageDto implements SmsMessage {
  /** Recipient: `+` and country code, or a Russian number in a usual form. */
  @IsMsisdn()
  msisdn!: string | number;

  /** Text of the message: not blank, at most 255 segments. */
  @IsSmsText()
  text!: string;

  /** Sender name. @default the option `shortcode` */
  @MayBeMissing()
  @IsShortcode()
  shortcode?: string;

  /** Your own reference, of at most 256 characters. It is never sent; every event of this message carries it. */
  @IsRef()
  ref?: string;
}

interface Problem {
  /** Continues a sentence that starts with the field's name. */
  problem: string;
}

/** The service's check as a class-validator decorator. Its error is the same for all values, so it cannot contain one. */
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
  const { segments } = measure(value);
  if (segments > MAX_SEGMENTS) return { problem: `takes ${segments} segments; it must be ${ACCEPTED_TEXT}` };
  return { text: value, segments };
}

function parseShortcode(value: unknown): { shortcode: string } | Problem {
  if (value === undefined) {
    return { problem: 'is missing: add a sender name to the message, or set the default with the option `shortcode`' };
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
