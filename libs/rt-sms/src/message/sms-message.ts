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

/** Shortest `overdueAfterMs`: the gateway itself needs about a second to report a delivery. */
const MIN_OVERDUE_MS = 1_000;
const ACCEPTED_OVERDUE = `a whole number of milliseconds, ${MIN_OVERDUE_MS} or more`;

/** The rules of a message's fields, which the service, the decorators and the schemas share. */
export const MESSAGE_RULES = {
  msisdn: { parse: parseMsisdn, accepted: ACCEPTED_MSISDN, isOptional: false },
  text: { parse: parseText, accepted: ACCEPTED_TEXT, isOptional: false },
  shortcode: { parse: parseShortcode, accepted: ACCEPTED_SHORTCODE, isOptional: true },
  ref: { parse: parseRef, accepted: ACCEPTED_REF, isOptional: true },
  overdueAfterMs: { parse: (value: unknown) => parseOverdue(value), accepted: ACCEPTED_OVERDUE, isOptional: true },
};
const FIELDS = Object.keys(MESSAGE_RULES);

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
  /**
   * Milliseconds after which a message without a final status is reported by `rt-sms.overdue`, counted from the call of `send`
   * or `enqueue`; with `delayMs` from that time. A whole number from 1,000, because a delivery takes about a second, to
   * `tracking.maxAgeMs`. Needs tracking.
   * @default no such event
   */
  overdueAfterMs?: number;
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

/** A checked message with its segments and what its events need. */
export interface CheckedSmsMessage extends CheckedMessage {
  segments: number;
  ref?: string;
  overdueAfterMs?: number;
}

/**
 * Checks a message before any I/O and returns all problems at once: the field, the fault and the accepted values, without the
 * text and the full number. Never throws.
 * @param maxAgeMs `tracking.maxAgeMs` of the account; `false` without tracking
 */
export function checkMessage(
  message: unknown,
  defaultShortcode?: string,
  maxAgeMs?: number | false,
): CheckedSmsMessage | { problems: string[] } {
  if (typeof message !== 'object' || message === null) {
    return { problems: [`message must be an object with msisdn and text, not ${typeName(message)}`] };
  }
  let fields: { [field in keyof SmsMessage]?: unknown };
  let misspelt: string[];
  try {
    const { msisdn, text, shortcode = defaultShortcode, ref, overdueAfterMs } = message as typeof fields;
    fields = { msisdn, text, shortcode, ref, overdueAfterMs };
    misspelt = misspeltKeys(message, FIELDS, 'message');
  } catch {
    return { problems: ['message must be an object with readable fields; reading one of them threw'] };
  }
  const msisdn = parseMsisdn(fields.msisdn);
  const text = parseText(fields.text);
  const shortcode = parseShortcode(fields.shortcode);
  const ref = parseRef(fields.ref);
  const overdueAfterMs = parseOverdue(fields.overdueAfterMs, maxAgeMs);
  const problems = Object.entries({ msisdn, text, shortcode, ref, overdueAfterMs }).flatMap(([field, parsed]) =>
    'problem' in parsed ? [`${field} ${parsed.problem}`] : [],
  );
  problems.push(...misspelt);
  if ('problem' in msisdn || 'problem' in text || 'problem' in shortcode || problems.length > 0) return { problems };
  const checked = { msisdn: msisdn.msisdn, text: text.text, shortcode: shortcode.shortcode, segments: text.segments };
  return Object.assign(checked, ref, overdueAfterMs);
}

/** Decorator for a DTO property that holds an `msisdn` of {@link SmsMessage}. */
export const IsMsisdn = rule('msisdn');

/** Decorator for a DTO property that holds a `text` of {@link SmsMessage}. */
export const IsSmsText = rule('text', 'isSmsText');

const IsShortcode = rule('shortcode');
const IsRef = rule('ref');
const IsOverdueAfterMs = rule('overdueAfterMs');
// Unlike IsOptional() this rejects null, as the service does.
const MayBeMissing = () => ValidateIf((_, value) => value !== undefined);

/**
 * {@link SmsMessage} (§2.1.1) for a `ValidationPipe`. The service accepts every message that passes; one without `shortcode`
 * only if the account has a default sender name, and one with `overdueAfterMs` only up to its `tracking.maxAgeMs`.
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

  /** Milliseconds after which a message without a final status is reported by `rt-sms.overdue`, 1,000 or more. */
  @IsOverdueAfterMs()
  overdueAfterMs?: number;
}

interface Problem {
  /** Continues a sentence that starts with the field's name. */
  problem: string;
}

/** The service's check as a class-validator decorator. Its error is the same for all values, so it cannot contain one. */
function rule(field: keyof typeof MESSAGE_RULES, name = `is${field[0]!.toUpperCase()}${field.slice(1)}`) {
  const { parse, accepted } = MESSAGE_RULES[field];
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

function parseOverdue(value: unknown, maxAgeMs: number | false = Infinity): { overdueAfterMs?: number } | Problem {
  if (value === undefined) return {};
  if (maxAgeMs === false) return { problem: 'needs tracking, which is off (tracking: false)' };
  const ms = Number.isInteger(value) ? (value as number) : 0;
  if (ms >= MIN_OVERDUE_MS && ms <= maxAgeMs) return { overdueAfterMs: ms };
  const most = maxAgeMs === Infinity ? '' : `, and at most ${maxAgeMs} (tracking.maxAgeMs)`;
  const given = typeof value === 'number' ? value : typeName(value);
  return { problem: `must be ${ACCEPTED_OVERDUE}${most}; not ${given}` };
}
