import { schemaOf, type RtSmsSchema, type RtSmsSchemaIssue } from '../standard-schema.js';
import { misspeltKeys } from '../unknown-keys.js';
import { MESSAGE_RULES, type SmsMessage } from './sms-message.js';

/** A message that has passed `smsMessageSchema`: the recipient is `+` and digits. */
export type ParsedSmsMessage = SmsMessage & { msisdn: string };

type Field = keyof typeof MESSAGE_RULES;

/** The issue is the same for all invalid values, so it cannot contain one. */
const issueOf = (field: Field) => ({ message: `must be ${MESSAGE_RULES[field].accepted}` });
const isInvalid = (field: Field, value: unknown) => 'problem' in MESSAGE_RULES[field].parse(value);

/** With its `+`, because digits alone could be read as another number when they are normalised again. */
function parseRecipient(value: unknown): string | undefined {
  const parsed = MESSAGE_RULES.msisdn.parse(value);
  return 'msisdn' in parsed ? `+${parsed.msisdn}` : undefined;
}

/**
 * Standard Schema of a recipient, with the rules of `normalizeMsisdn`. The result is `+` and digits, such as `+79270000001`,
 * which `send` accepts and never reads as another number.
 */
export const msisdnSchema: RtSmsSchema<string | number, string> = schemaOf((value) => {
  const msisdn = parseRecipient(value);
  return msisdn === undefined ? { issues: [issueOf('msisdn')] } : { value: msisdn };
});

/** Standard Schema of a text: not blank, at most 255 segments, without unpaired surrogates. The result is the same text. */
export const smsTextSchema: RtSmsSchema<string> = schemaOf((value) =>
  isInvalid('text', value) ? { issues: [issueOf('text')] } : { value: value as string },
);

/**
 * Standard Schema of `SmsMessage`, with the rules of `SmsMessageDto`. The result has the fields of a message only, and the
 * recipient as `msisdnSchema` returns it. A key that looks like a misspelt field is an issue; other keys are left out.
 */
export const smsMessageSchema: RtSmsSchema<SmsMessage, ParsedSmsMessage> = schemaOf((value) => {
  if (typeof value !== 'object' || value === null)
    return { issues: [{ message: 'must be an object with msisdn and text' }] };
  const fields = Object.keys(MESSAGE_RULES) as Field[];
  try {
    const input = value as Partial<Record<Field, unknown>>;
    const given = fields.map((field) => [field, input[field]] as const);
    const issues: RtSmsSchemaIssue[] = given.flatMap(([field, one]) =>
      isInvalid(field, one) && (one !== undefined || !MESSAGE_RULES[field].isOptional)
        ? [{ ...issueOf(field), path: [field] }]
        : [],
    );
    issues.push(...misspeltKeys(value, fields, 'message').map((message) => ({ message })));
    if (issues.length > 0) return { issues };
    const message = Object.fromEntries(given.filter(([, one]) => one !== undefined)) as unknown as SmsMessage;
    return { value: { ...message, msisdn: parseRecipient(message.msisdn)! } };
  } catch {
    return { issues: [{ message: 'must be an object with readable fields; reading one of them threw' }] };
  }
});
