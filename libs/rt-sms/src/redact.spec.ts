import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { maskNumber, messageOf, redact, safeCause } from './redact.js';

describe('redact', () => {
  it.each([
    ['79270000001', '7927*****01'],
    ['+79270000001', '+7927*****01'],
    ['sent to 375291234567, twice', 'sent to 3752******67, twice'],
    ['123456789', '*********'],
    ['to +7 (927) 000-00-01!', 'to +7927*****01!'],
    ['8 927 000 00 01', '8927*****01'],
    ['8\u00A0927\u00A0000\u201300\u201301', '8927*****01'],
    // Removed characters do not separate two numbers.
    ['7927\r\n0000001, 7927\u200B0000002', '7927*****01, 7927*****02'],
    // Ports, durations and short ids are not phone numbers.
    ['connect ECONNREFUSED 127.0.0.1:8443 after 30000 ms', 'connect ECONNREFUSED 127.0.0.1:8443 after 30000 ms'],
    ['12345678', '12345678'],
    ['otp 8 (927) 123-45-67', 'otp 8927*****67'],
    ['otp_8_927_123_45_67, 8.927.123.45.67, 8/927/1234567', 'otp_8927*****67, 8927*****67, 8927*****67'],
    ['７９２７００００００１', '７９２７*****０１'],
    ['redis://me:s3cret@host:6379, //a:b@c@d', 'redis://***@host:6379, //***@d'],
    ['write to me@shop.example', 'write to me@shop.example'],
    ['connect ETIMEDOUT 192.168.100.200:443', 'connect ETIMEDOUT 192.168.100.200:443'],
    ['to 192.168.100.200/24 and 10.20.30.40 5432.', 'to 192.168.100.200/24 and 10.20.30.40 5432.'],
  ])('masks everything that looks like a phone number: %s', (text, safe) => expect(redact(text)).toBe(safe));

  it('removes each occurrence of a known secret, also in JSON form', () => {
    expect(redact('pass p@ss"word, again p@ss"word', ['p@ss"word'])).toBe('pass ***, again ***');
    expect(redact('{"pass":"p@ss\\"word"}', ['p@ss"word'])).toBe('{"pass":"***"}');
    expect(redact('Ваш код 1234 для входа', ['Ваш код 1234'])).toBe('*** для входа');
  });

  it.each(['HUNTER22', 'h-u-n-t-e-r-2-2', 'aHVudGVyMjI=', 'x=hunter', 'pass_hunter2'])(
    'removes a word that contains a part of a secret: %s',
    (word) => expect(redact(`login with ${word} failed`, ['hunter22'])).toBe('login with *** failed'),
  );

  it('removes all of a longer secret that begins with a shorter one', () => {
    for (const secrets of [
      ['secret', 'secret-of-sixteen'],
      ['secret-of-sixteen', 'secret'],
    ]) {
      expect(redact('/callback/secret-of-sixteen', secrets)).toBe('/callback/***');
    }
  });

  it('matches a secret literally', () => {
    expect(redact('a.c$& abc', ['.c$&'])).toBe('a*** abc');
  });

  it('keeps a text that happens to contain a very short secret', () => {
    expect(redact('no answer', ['no', ''])).toBe('no answer');
  });

  it('makes one line of limited length', () => {
    expect(redact('first\r\nGET / HTTP/1.1\u0000\u001B[31m\u2028next\u202E')).toBe('first GET / HTTP/1.1 [31m next ');
    expect(redact('я'.repeat(1000))).toHaveLength(300);
  });

  it.each(['1', ' 1', '(', '1 ', '//', '@', '//@', 'a', ' ', '\u0300', '\uD800', '-', '1.'])(
    'reads only the beginning of a very long text: %j',
    (unit) => {
      const begin = unit.repeat(4_000).slice(0, 4_000);
      expect(redact(unit.repeat(1_000_000), ['hunter22'])).toBe(redact(begin, ['hunter22']));
      // The time for that length is linear for every unit.
      expect(redact(begin).length).toBeLessThanOrEqual(300);
    },
  );

  it('is safe for any input', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.bigInt({ min: 10n ** 9n, max: 10n ** 14n }),
        fc.string({ minLength: 4, maxLength: 20 }),
        (noise, number, secret) => {
          const safe = redact(`${secret}${noise}${number}${noise}${secret}`, [secret]);
          expect(safe).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\d{9}/u);
          expect(safe.length).toBeLessThanOrEqual(300);
          if (!/[*\d]/.test(secret)) expect(safe).not.toContain(secret);
        },
      ),
    );
  });
});

const fail = (): never => {
  throw new Error('a trap');
};

describe('safeCause', () => {
  it('keeps only the name, code and redacted message of a foreign error', () => {
    const foreign = Object.assign(new TypeError('POST for 79270000001 with hunter22 failed'), {
      code: 'ECONNRESET',
      config: { headers: { authorization: 'Basic aHVudGVyMjI=' }, data: 'Ваш код 1234' },
      request: { socket: {} },
      cause: new Error('hunter22'),
    });
    const safe = safeCause(foreign, ['hunter22']) as Error & { code?: string };
    expect(safe).toMatchObject({
      name: 'TypeError',
      code: 'ECONNRESET',
      message: 'POST for 7927*****01 with *** failed',
    });
    expect(new Set(Object.keys(safe))).toEqual(new Set(['code', 'name']));
    const shown = inspect(safe, { depth: 9, showHidden: true }) + JSON.stringify(safe) + safe.stack;
    expect(shown).not.toMatch(/hunter22|79270000001|Basic|1234 /);
  });

  it.each([
    ['a text', 'no answer from 79270000001', 'no answer from 7927*****01'],
    ['undefined', undefined, 'undefined'],
    ['a symbol', Symbol('x'), 'Symbol(x)'],
    ['an object without a text form', Object.create(null), 'a value that cannot be converted to text'],
    ['an error without a message', Object.assign(new Error('x'), { message: undefined }), 'undefined'],
    ['an error with an odd name', Object.assign(new Error('x'), { name: 7 }), 'x'],
  ])('accepts any thrown value: %s', (_, thrown, message) => {
    const safe = safeCause(thrown);
    expect(safe).toBeInstanceOf(Error);
    expect(safe.message).toBe(message);
    expect(safe).not.toHaveProperty('code');
  });

  it.each([
    ['the code', () => Object.defineProperty(new Error('x'), 'code', { get: () => fail() })],
    ['the name', () => Object.defineProperty(new Error('x'), 'name', { get: () => fail() })],
    ['the message', () => Object.defineProperty(new Error('x'), 'message', { get: () => fail() })],
    ['everything', () => new Proxy(new Error('x'), { get: fail, getPrototypeOf: fail })],
  ])('does not throw if reading %s does', (_, thrown) => {
    expect(safeCause(thrown())).toMatchObject({ name: 'Error', message: expect.any(String) });
  });

  it('redacts the code and the name', () => {
    const foreign = Object.assign(new Error('x'), { code: 'hunter22', name: 'hunter22' });
    expect(inspect(safeCause(foreign, ['hunter22']))).not.toContain('hunter22');
    expect(safeCause(Object.assign(new Error('x'), { code: 42 }))).not.toHaveProperty('code');
  });
});

it('messageOf never throws', () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true }), (thrown) => {
      expect(typeof messageOf(thrown)).toBe('string');
    }),
  );
});

describe('maskNumber', () => {
  it.each([
    ['79270000001', '7927*****01'],
    ['375291234567', '3752******67'],
    ['9607712345', '9607****45'],
    ['960771234', '*********'],
    ['12', '**'],
    ['', ''],
  ])('%s is shown as %s', (msisdn, masked) => {
    expect(maskNumber(msisdn)).toBe(masked);
  });
});
