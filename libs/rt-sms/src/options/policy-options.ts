import type { CheckedMessage } from '../message/sms-message.js';
import { isCountry } from '../message/msisdn.js';
import { arrayOf, Is, isObject, whole } from './option-rules.js';

/** Call by which a message is sent; `enqueue` includes `enqueueMany`. */
export type SendVia = 'send' | 'sendMany' | 'enqueue';

/** A sliding limit: at most `messages` messages in any `perMs` milliseconds. */
export interface RtSmsLimit {
  /** Number of messages, 1 to 1,000,000. */
  messages: number;
  /** Length of the window in milliseconds, at most 31 days. */
  perMs: number;
}

const MAX_WINDOW_MS = 31 * 86_400_000;
const LIMITS =
  'a limit { messages, perMs } or a non-empty array of limits; messages is a whole number from 1 to 1000000, perMs one from 1 to 2678400000';
/** True for one limit or a list of limits, each with its two whole numbers and nothing else. */
function isLimits(value: unknown): boolean {
  const limits = Array.isArray(value) ? Array.from(value as unknown[]) : [value];
  const isWhole = (number: unknown, max: number) =>
    Number.isInteger(number) && Number(number) >= 1 && Number(number) <= max;
  return (
    limits.length > 0 &&
    limits.every((limit) => {
      if (!isObject(limit)) return false;
      const { messages, perMs, ...more } = limit as { messages?: unknown; perMs?: unknown };
      return isWhole(messages, 1_000_000) && isWhole(perMs, MAX_WINDOW_MS) && Object.keys(more).length === 0;
    })
  );
}

/** No country code begins with 89: it is a Russian number as it is dialled within Russia. */
const isStart = (value: unknown) => typeof value === 'string' && /^\+?(?!0|89)\d{1,15}$/.test(value);

/**
 * Send policy: limits that protect money and recipients. A message that it refuses fails with an `RtSmsPolicyError` before any
 * request. Every rule is off by default.
 */
export class RtSmsPolicy {
  /** Recipients that messages may go to, as numbers or leading digits with the country code. All others are refused. */
  @Is(
    'a non-empty array of numbers or leading digits, digits only, with the country code (79…, not 89…)',
    arrayOf(isStart, 1),
  )
  onlyTo?: readonly string[];
  /** Countries of recipients, ISO 3166 codes. A number without a country, such as a satellite phone, is refused. */
  @Is("a non-empty array of ISO 3166 country codes, such as ['RU', 'KZ']", arrayOf(isCountry, 1))
  countries?: readonly string[];
  /** Maximum number of segments of one message. */
  @Is(...whole(1, 255)) maxSegments?: number;
  /** Limit of the messages to one number. Of several limits, one with a longer window must allow more messages. */
  @Is(LIMITS, isLimits) perRecipient?: RtSmsLimit | readonly RtSmsLimit[];
  /** Limit of the messages to all numbers that differ only in the last four digits, as in artificial traffic. */
  @Is(LIMITS, isLimits) perPrefix?: RtSmsLimit | readonly RtSmsLimit[];
  /** Maximum number of segments of the account in any 24 hours. */
  @Is(...whole(1, 1_000_000_000)) segmentsPerDay?: number;
  /**
   * Your own veto, such as a stop list or a missing consent. The message is refused if it throws, and if it does not settle
   * within 10 s; what it throws is the `cause`. It is called when `send` starts or `enqueue` takes the message, and not again
   * before a queued message leaves.
   */
  @Is('a function', (value) => typeof value === 'function')
  beforeSend?: (
    message: CheckedMessage,
    about: {
      /** Name of the account. */
      account: string;
      /** Call by which the message is sent. */
      via: SendVia;
    },
  ) => void | Promise<void>;
}
