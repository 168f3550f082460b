import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { safeId, safeReason, safeWord, sharing, UNRECOGNISED } from './confidential.js';

const PASSWORD = 'Summer2026pass';
const TEXT = 'Kod4711 для входа, никому его не говорите';
const NUMBER = '79111432118';
const LOGIN = 'rt-simulator';
const BASIC = base64(`${LOGIN}:${PASSWORD}`);
const CONFIDENTIAL = [TEXT, NUMBER, LOGIN, PASSWORD, BASIC];

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
const hex = (text: string) => Buffer.from(text).toString('hex');
const dropped = { reason: UNRECOGNISED, word: UNRECOGNISED, id: undefined };
const all = (word: string, confidential: readonly string[] = CONFIDENTIAL) => ({
  reason: safeReason(word, confidential),
  word: safeWord(word, confidential),
  id: safeId(word, confidential),
});

describe('a word that repeats a part of the request', () => {
  it.each([
    'wrong_password_Summer2026pass',
    'unknown_subscriber_79111432118',
    'msisdn-7-911-143-21-18',
    'spam_Kod4711',
    'Summer2026pass',
    'SUMMER2026PASS',
    'sUmMeR-2026_pAsS',
    'Summer',
    'bad_summer_word',
    'wrongSummer',
    'Kod4711',
    'kod_is_spam',
    '79111432118',
    'to_911143',
    'n-2118',
    base64(PASSWORD).replace(/=+$/, ''),
    Buffer.from(PASSWORD).toString('base64url'),
    base64(NUMBER).replace(/=+$/, ''),
    // Inside another text, each value has one of three Base64 forms.
    base64(`the password ${PASSWORD}`).replace(/=+$/, ''),
    base64(`a password ${PASSWORD}`).replace(/=+$/, ''),
    base64(`password ${PASSWORD}`).replace(/=+$/, ''),
    base64(TEXT).slice(4, 24),
    BASIC.replace(/=+$/, '').slice(3),
    hex(PASSWORD),
    hex(NUMBER),
    hex('никому').slice(2),
    'rt_simulator',
    'no_simulator',
  ])('%s is dropped', (word) => expect(all(word)).toEqual(dropped));

  it.each([
    ['with its escapes', encodeURIComponent('никому его')],
    ['with separators of any kind', '7·911\u00A0143—21/18'],
    ['in wide letters', 'Ｓｕｍｍｅｒ2026'],
    ['with accents', 'Sùmmér2026'],
    ['in a sentence', 'no route to Kod4711'],
    ['with one word', 'говорите'],
  ])('a status that repeats something %s is dropped', (_, word) =>
    expect(safeWord(word, CONFIDENTIAL)).toBe(UNRECOGNISED),
  );

  it.each([
    // Rejected although these numbers are not in the request.
    ['a number', '79261234567'],
    ['a number with separators', '8-926-123-45-67'],
    ['a number inside a word', 'a79261234567b'],
    ['a number in Base64', base64('79261234567').replace('=', '')],
    ['a number in hexadecimal form', hex('79261234567')],
    ['a padded number', '79261234567'.padStart(32, '0')],
    ['a padded number in hexadecimal form', hex('79261234567').padStart(32, 'f')],
  ])('a request id that may be %s is dropped', (_, id) => expect(safeId(id, [])).toBeUndefined());

  it.each([
    ['the padded number', NUMBER.padStart(32, 'a')],
    ['a part of the number', '911143'.padEnd(32, 'c')],
    ['the password in hexadecimal form', hex(PASSWORD).padStart(32, 'e')],
    ['a part of the text in hexadecimal form', hex('входа').padEnd(32, 'e').toUpperCase()],
    [
      'such a part in the form of a UUID',
      hex('Kod4711')
        .padEnd(32, 'c')
        .replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    ],
    ['a secret that is hexadecimal itself', 'a1b2c3d4e5f6'.padStart(32, '0')],
  ])('a request id of the usual form that contains %s is dropped', (_, id) => {
    expect(id.replaceAll('-', '')).toMatch(/^[\da-f]{32}$/i);
    expect(safeId(id, [...CONFIDENTIAL, 'A1B2C3D4E5F6'])).toBeUndefined();
  });

  it.each(['digits_1', 'code4711', 'x'.repeat(41), '_x', 'two words', 'слово', '', '../x', 'a\nb'])(
    'a reason that is not a short word is always dropped: %j',
    (reason) => expect(safeReason(reason, [])).toBe(UNRECOGNISED),
  );

  it.each(['', 'a b', 'a\nb', 'x'.repeat(65), '../x', '-x', 'ключ'])(
    'an id that is not short and plain is dropped: %j',
    (id) => expect(safeId(id, [])).toBeUndefined(),
  );
});

it('a status that repeats a secret of punctuation is dropped', () =>
  expect(safeWord('sent: !@#$%^&', ['!@#$%^&*()'])).toBe(UNRECOGNISED));

describe('a word that shares nothing with the request', () => {
  it.each([
    'operator_unavailable',
    'throttled',
    'auth_failed',
    'limit-exceeded',
    'blacklisted',
    'tooManyRequests',
    'toString',
    // Many words share three letters with the password.
    'wrong_password',
  ])('passes as a reason: %s', (reason) => expect(safeReason(reason, CONFIDENTIAL)).toBe(reason));

  it.each(['sent', 'DELIVERED', 'доставлено', 'E17', '17', '404', 'x'.repeat(64), '😀'])(
    'passes as a status or an error code: %s',
    (word) => expect(safeWord(word, CONFIDENTIAL)).toBe(word),
  );

  it.each([
    '694ddf2371d06907b1d72f60616adecd',
    'B698337DF02377B5C2CDDACBE4CCF41C',
    '0d9f6a4e-4f0b-4d59-9c51-7a1f0b5e2c3d',
    'req-8f3a',
    'b698337d',
    '12345678',
  ])('passes as a request id: %s', (id) => expect(safeId(id, CONFIDENTIAL)).toBe(id));

  it('almost all random ids of the usual form pass', () => {
    const ids = Array.from({ length: 5_000 }, () => randomBytes(16).toString('hex'));
    expect(ids.filter((id) => safeId(id, CONFIDENTIAL) === undefined).length).toBeLessThan(25);
  });
});

/** Words that are long enough to be recognised. */
const words = fc.stringMatching(/^[A-Za-z\dа-я]{6,12}$/);
const numbers = fc.integer({ min: 79_000_000_000, max: 79_999_999_999 }).map(String);
/** Changes of a value and of the text around it. */
const mutations: ((value: string, before: string, after: string) => string)[] = [
  (value) => value,
  (value) => value.toUpperCase(),
  (value) => value.toLowerCase(),
  (value, before, after) => before + value + after,
  (value) => [...value].join('-'),
  (value) => [...value].join('_.'),
  (value) => value.slice(0, 5),
  (value) => value.slice(-5),
  (value, before, after) => `${before}_${value.slice(1, 6)}_${after}`,
  (value) => base64(value),
  (value) => Buffer.from(value).toString('base64url'),
  (value, before, after) => base64(before + value + after),
  (value) => hex(value),
  (value) => hex(value).toUpperCase(),
  (value) => encodeURIComponent(value),
];

it('no reason, status or request id repeats a value in any form', () => {
  fc.assert(
    fc.property(
      fc.oneof(words, numbers),
      fc.constantFrom(...mutations),
      fc.stringMatching(/^[a-z]{0,4}$/),
      fc.stringMatching(/^[a-z]{0,4}$/),
      (value, mutate, before, after) => {
        const word = mutate(value, before, after);
        expect(all(word, ['other', value])).toEqual(dropped);
      },
    ),
    { numRuns: 2_000 },
  );
});

it('handles a very long word or value quickly', () => {
  const long = 'a'.repeat(1_000_000);
  expect([safeReason(long, CONFIDENTIAL), safeId(long, CONFIDENTIAL)]).toEqual([UNRECOGNISED, undefined]);
  for (const unit of ['1', ' 1', '-', 'aB', 'e\u0301', '\u0300\u0323', 'd0', '31', '%D0'])
    expect(sharing([unit.repeat(20_000)])('operator_unavailable')).toBe(false);
});
