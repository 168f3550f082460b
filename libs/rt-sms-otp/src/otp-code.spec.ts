import { createHmac } from 'node:crypto';
import { deriveCode, isSame, newChallengeId, open, otpKey, seal } from './otp-code.js';

const SECRET = 'first secret of thirty-two bytes';
const OTHER = new Uint8Array(32).fill(7);
const subject = { msisdn: '79270000001', purpose: 'login', digits: 6 };

/** Chi-square over digits and positions, of codes that `derive` returns for many challenges. */
function chiSquare(challenges: number, derive: (id: string) => string): number {
  const counts = Array.from({ length: 6 }, () => Array.from({ length: 10 }, () => 0));
  for (let challenge = 0; challenge < challenges; challenge++) {
    const code = derive(`challenge-${challenge}`);
    for (let at = 0; at < 6; at++) counts[at]![Number(code[at])]!++;
  }
  const expected = challenges / 10;
  return counts.flat().reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
/** Quantile of 99 % with 54 degrees of freedom: 6 positions with 9 each. */
const CRITICAL = 81.07;

describe('a code', () => {
  it('is uniform in all positions: chi-square over 1,000,000 challenges at 1 %', () => {
    expect(chiSquare(1_000_000, (id) => deriveCode(SECRET, id, subject))).toBeLessThan(CRITICAL);
  }, 120_000);

  it('would not be uniform without rejected bytes, which the same test shows', () => {
    const biased = (id: string) =>
      [...createHmac('sha256', SECRET).update(id).digest().subarray(0, 6)].map((byte) => byte % 10).join('');
    expect(chiSquare(100_000, biased)).toBeGreaterThan(CRITICAL);
  });

  it.each([
    ['another secret', () => deriveCode(OTHER, 'a', subject)],
    ['another challenge', () => deriveCode(SECRET, 'b', subject)],
    ['another number', () => deriveCode(SECRET, 'a', { ...subject, msisdn: '79270000002' })],
    ['another purpose', () => deriveCode(SECRET, 'a', { ...subject, purpose: 'payment' })],
    // The parts are separated: their concatenation is the same.
    ['moved characters', () => deriveCode(SECRET, 'a7', { ...subject, msisdn: '9270000001' })],
  ])('is another one for %s', (_, derive) => {
    expect(derive()).not.toBe(deriveCode(SECRET, 'a', subject));
  });

  it('is the same for the same challenge, and has its number of digits', () => {
    for (const digits of [4, 6, 10]) {
      const code = deriveCode(SECRET, 'a', { ...subject, digits });
      expect(code).toMatch(new RegExp(`^\\d{${digits}}$`));
      expect(deriveCode(SECRET, 'a', { ...subject, digits })).toBe(code);
    }
  });
});

const KEY = otpKey(SECRET);
describe('a sealed subject', () => {
  const id = newChallengeId();

  it('opens with any of the secrets, and gives the code of the one that sealed it', () => {
    const sealed = seal(KEY, id, subject);
    const code = deriveCode(SECRET, id, subject);
    expect(open([otpKey(OTHER), KEY], id, sealed)).toEqual({ ...subject, code });
    expect(open([otpKey(OTHER)], id, sealed)).toBeUndefined();
  });

  it('opens for its own challenge only, and not after a change', () => {
    const sealed = seal(KEY, id, subject);
    expect(open([KEY], newChallengeId(), sealed)).toBeUndefined();
    const bytes = Buffer.from(sealed, 'base64');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(open([KEY], id, changed.toString('base64'))).toBeUndefined();
    }
    for (const broken of ['', 'AAAA', sealed.slice(0, 30)]) expect(open([KEY], id, broken)).toBeUndefined();
  });

  it('is different each time and shows nothing', () => {
    const sealed = seal(KEY, id, subject);
    expect(seal(KEY, id, subject)).not.toBe(sealed);
    expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toMatch(/7927|login/);
  });
});

it.each(['123457', '12345', '1234567', '', '12345ı', '１２３４５６', '123456 ', ' 123456'])(
  '%j is not the code 123456',
  (typed) => {
    expect([isSame(typed, '123456'), isSame('123456', '123456')]).toEqual([false, true]);
  },
);
