import { callbackPathOf, callbackUrl, newCallbackSecret } from './callback-url.js';

const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';

it('newCallbackSecret generates a different secret of 24 bytes each time', () => {
  const secrets = Array.from({ length: 1_000 }, newCallbackSecret);
  expect(new Set(secrets).size).toBe(1_000);
  for (const secret of secrets) {
    expect(secret).toMatch(/^[A-Za-z0-9_-]{32}$/);
    expect(Buffer.from(secret, 'base64url')).toHaveLength(24);
  }
});

it.each([
  ['https://shop.example', undefined, `https://shop.example/rt-sms/callback/${SECRET}`],
  ['https://shop.example/', undefined, `https://shop.example/rt-sms/callback/${SECRET}`],
  ['https://shop.example:8443/api/', undefined, `https://shop.example:8443/api/rt-sms/callback/${SECRET}`],
  ['https://shop.example/api', { name: 'otp' }, `https://shop.example/api/rt-sms/otp/callback/${SECRET}`],
  ['https://shop.example', { callbackPath: '/hooks/sms/' }, `https://shop.example/hooks/sms/${SECRET}`],
])('callbackUrl of %s and %j', (base, account, url) => expect(callbackUrl(base, SECRET, account)).toBe(url));

it('callbackUrl rejects a base that is not a URL', () => {
  expect(() => callbackUrl('shop.example', SECRET)).toThrow('Invalid URL');
});

it.each([
  [{}, 'rt-sms/callback'],
  [{ name: 'otp' }, 'rt-sms/otp/callback'],
  [{ name: 'otp', callbackPath: 'sms' }, 'sms'],
  [{ callbackPath: false as const }, false],
])('the path of %j', (extras, path) => expect(callbackPathOf(extras)).toBe(path));
