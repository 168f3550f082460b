import * as crypto from 'node:crypto';
import { jest } from '@jest/globals';

const timingSafeEqual = jest.fn(crypto.timingSafeEqual);
jest.unstable_mockModule('node:crypto', () => ({ ...crypto, timingSafeEqual }));
const { CallbackAuthenticator } = await import('./callback-authenticator.js');

const SECRETS = ['the-first-of-three', 'the-second-of-three', 'the-third-of-three'];

it.each([...SECRETS, 'the-first-of-thref', 'x', '', 'x'.repeat(10_000)])(
  'compares the digests of all secrets, with one length and in constant time: %s',
  (secret) => {
    const authenticity = new CallbackAuthenticator({ secrets: SECRETS, allowFrom: [] });
    timingSafeEqual.mockClear();
    expect(authenticity.check({ secret })).toBe(SECRETS.includes(secret) ? 'believed' : 'refused');
    expect(timingSafeEqual.mock.calls.map(([actual, expected]) => [actual.byteLength, expected.byteLength])).toEqual(
      SECRETS.map(() => [64, 64]),
    );
  },
);
