import { validateSync } from 'class-validator';
import { msisdnSchema, smsMessageSchema, smsTextSchema } from './message-schemas.js';
import { parseMsisdn } from './msisdn.js';
import { checkMessage, IsMsisdn, IsSmsText, SmsMessageDto } from './sms-message.js';

class Recipient {
  @IsMsisdn() value: unknown;
}
class Body {
  @IsSmsText() value: unknown;
}
const passes = (dto: object, fields: object) => validateSync(Object.assign(dto, fields)).length === 0;
const check = <T>(schema: { '~standard': { validate: (value: unknown) => T } }, value: unknown) =>
  schema['~standard'].validate(value);

const NUMBERS: [string, unknown, string | undefined][] = [
  ['Russian, as people write it', '8 927 000-00-01', '+79270000001'],
  ['digits', '79270000001', '+79270000001'],
  ['a JS number', 79_270_000_001, '+79270000001'],
  // Its digits without the plus would be read as a Russian number.
  ['of the Maldives', '+960 771-23-45', '+9607712345'],
  ['of Belarus, without a plus', '375291234567', '+375291234567'],
  ['with two readings', '8 (495) 123-45-67', undefined],
  ['that is too short', '7927000', undefined],
  ['with letters', '7927abc0001', undefined],
  ['that is empty', '', undefined],
  ['that is missing', undefined, undefined],
  ['that is null', null, undefined],
  ['in an object', { msisdn: '79270000001' }, undefined],
];
const TEXTS: [string, unknown][] = [
  ['plain', 'Ваш код 1234'],
  ['of two lines', 'a\nb'],
  ['blank', ' \n'],
  ['empty', ''],
  ['with an unpaired surrogate', 'a\ud800'],
  ['of 256 segments', 'я'.repeat(67 * 255 + 1)],
  ['of 255 segments', 'я'.repeat(67 * 255)],
  ['missing', undefined],
  ['a number', 1],
];
const MESSAGES: [string, unknown, PropertyKey[][]][] = [
  ['complete', { msisdn: '89270000001', text: 'Hi', shortcode: 'SHOP', ref: '42', overdueAfterMs: 60_000 }, []],
  ['without optional fields', { msisdn: '89270000001', text: 'Hi' }, []],
  ['with fields that are undefined', { msisdn: '89270000001', text: 'Hi', shortcode: undefined, ref: undefined }, []],
  ['with other keys', { msisdn: '89270000001', text: 'Hi', customer: 7 }, []],
  ['without a number', { text: 'Hi' }, [['msisdn']]],
  ['with a bad number and a blank text', { msisdn: '927', text: ' ' }, [['msisdn'], ['text']]],
  ['with null for a sender name', { msisdn: '89270000001', text: 'Hi', shortcode: null }, [['shortcode']]],
  ['with a long ref', { msisdn: '89270000001', text: 'Hi', ref: 'r'.repeat(257) }, [['ref']]],
  ['that is overdue at once', { msisdn: '89270000001', text: 'Hi', overdueAfterMs: 5 }, [['overdueAfterMs']]],
];

describe('msisdnSchema', () => {
  it.each(NUMBERS)('a number %s', (_, value, parsed) => {
    const result = check(msisdnSchema, value);
    if (parsed === undefined) {
      expect(result).toEqual({ issues: [{ message: expect.stringMatching(/^must be a phone number/) }] });
    } else {
      expect(result).toEqual({ value: parsed });
      // The result never becomes another number.
      expect(check(msisdnSchema, parsed)).toEqual({ value: parsed });
      expect(parseMsisdn(parsed)).toEqual(parseMsisdn(value));
    }
    expect(passes(new Recipient(), { value })).toBe(parsed !== undefined);
  });
});

describe('smsTextSchema', () => {
  it.each(TEXTS)('a text that is %s has the same result as with the decorator', (_, value) => {
    const result = check(smsTextSchema, value);
    expect(passes(new Body(), { value })).toBe(result.issues === undefined);
    if (!result.issues) expect(result).toEqual({ value });
  });
});

describe('smsMessageSchema', () => {
  it.each(MESSAGES)('a message %s has the same result as with the service and the DTO', (_, value, paths) => {
    const result = check(smsMessageSchema, value);
    expect(result.issues?.map(({ path }) => path) ?? []).toEqual(paths);
    expect('problems' in checkMessage(value, 'SHOP')).toBe(paths.length > 0);
    expect(passes(new SmsMessageDto(), value as object)).toBe(paths.length === 0);
  });

  it('returns the fields of a message only, and the recipient with its plus', () => {
    const value = { msisdn: '8 927 000-00-01', text: 'Hi', ref: undefined, customer: 7 };
    expect(check(smsMessageSchema, value)).toEqual({ value: { msisdn: '+79270000001', text: 'Hi' } });
  });

  it('reports a key that looks like a misspelt field', () => {
    const value = { msisdn: '89270000001', text: 'Hi', overdueAfterMS: 60_000 };
    expect(check(smsMessageSchema, value)).toEqual({
      issues: [{ message: expect.stringContaining('did you mean overdueAfterMs?') }],
    });
  });

  it.each([[undefined], [null], ['text'], [7]])('reports %p, which is not an object', (value) => {
    expect(check(smsMessageSchema, value)).toEqual({
      issues: [{ message: 'must be an object with msisdn and text' }],
    });
  });

  it('reports an object whose field throws', () => {
    const value = {
      get msisdn() {
        throw new Error('hidden');
      },
    };
    expect(check(smsMessageSchema, value).issues).toHaveLength(1);
  });

  it('never repeats the number or the text', () => {
    const values = [
      { msisdn: '8 (495) 123-45-67', text: 'x'.repeat(40_000) },
      { msisdn: '84951234567890123', text: ' ' },
      { msisdn: 'QX-ZJKW', text: '\ud800QX-ZJKW' },
      { msisdn: 8_495_123_456_789_012, text: 8_495_123 },
    ];
    for (const value of values) {
      const { issues } = check(smsMessageSchema, value);
      expect(issues?.map(({ path }) => path)).toEqual([['msisdn'], ['text']]);
      expect(JSON.stringify(issues)).not.toMatch(/495|123|QX|xxx/);
    }
  });

  it('is a Standard Schema of version 1', () => {
    for (const schema of [msisdnSchema, smsTextSchema, smsMessageSchema])
      expect(schema).toEqual({ '~standard': { version: 1, vendor: 'nestjs-rt-sms', validate: expect.any(Function) } });
  });
});
