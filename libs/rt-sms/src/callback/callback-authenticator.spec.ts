import { CallbackAuthenticator } from './callback-authenticator.js';

const SECRET = 'a-secret-of-sixteen';
const OTHER = 'another-secret-of-mine';
const check = (
  options: { secrets?: string[]; allowFrom?: string[] },
  secret: unknown,
  ip: string | undefined = '203.0.113.7',
) => new CallbackAuthenticator({ secrets: [], allowFrom: [], ...options }).check({ secret, ip });

describe('the secret', () => {
  it.each([
    ['the right one', [SECRET], SECRET, 'believed'],
    ['one of two', [OTHER, SECRET], SECRET, 'believed'],
    ['the other of two', [OTHER, SECRET], OTHER, 'believed'],
    ['none', [SECRET], undefined, 'refused'],
    ['an empty one', [SECRET], '', 'refused'],
    ['its beginning', [SECRET], SECRET.slice(0, -1), 'refused'],
    ['the right one with an addition', [SECRET], `${SECRET}x`, 'refused'],
    ['another case', [SECRET], SECRET.toUpperCase(), 'refused'],
    ['both in one value', [SECRET, OTHER], `${SECRET},${OTHER}`, 'refused'],
    ['none if none is configured', [], undefined, 'hint'],
    ['one if none is configured', [], SECRET, 'refused'],
    ['the right one in an array', [SECRET], [SECRET], 'refused'],
    ['an object', [SECRET], { secret: SECRET }, 'refused'],
    ['null', [SECRET], null, 'refused'],
  ])('%s', (_, secrets: string[], secret: unknown, trust) => expect(check({ secrets }, secret)).toBe(trust));
});

describe('allowFrom', () => {
  it.each<[string, string | undefined, boolean]>([
    ['203.0.113.7', '203.0.113.7', true],
    ['203.0.113.7', '203.0.113.8', false],
    ['203.0.113.7', '::ffff:203.0.113.7', true],
    ['203.0.113.7', '::ffff:cb00:7107', true],
    ['203.0.113.0/24', '203.0.113.255', true],
    ['203.0.113.0/24', '203.0.114.0', false],
    ['203.0.113.0/24', '::ffff:203.0.113.9', true],
    ['203.0.113.200/24', '203.0.113.1', true],
    ['0.0.0.0/0', '198.51.100.1', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::ffff:203.0.113.7', '203.0.113.7', true],
    ['::ffff:203.0.113.7', '203.0.113.8', false],
    ['::ffff:203.0.113.0/120', '203.0.113.9', true],
    ['::ffff:203.0.113.0/120', '203.0.114.9', false],
    ['::1', '::1', true],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['::1', '127.0.0.1', false],
    ['127.0.0.1', '::1', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['fe80::/10', 'fe80::1%eth0.100', true],
    ['203.0.113.7', '::ffff:203.0.113.7%Ethernet 2', true],
    ['::/0', '2001:db8::1', true],
    ['203.0.113.7', undefined, false],
    ['0.0.0.0/0', '', false],
    ['0.0.0.0/0', 'unknown', false],
    ['0.0.0.0/0', '203.0.113.7, 10.0.0.1', false],
  ])('%s, from %s: %s', (network, ip, allowed) => {
    const allowFrom = ['192.0.2.1', network];
    const check = (secrets: string[], secret: string | undefined) =>
      new CallbackAuthenticator({ secrets, allowFrom }).check({ secret, ip });
    expect(check([SECRET], SECRET)).toBe(allowed ? 'believed' : 'refused');
    // allowFrom only narrows and does not replace the secret.
    expect(check([], undefined)).toBe(allowed ? 'hint' : 'refused');
    expect(check([SECRET], OTHER)).toBe('refused');
    expect(check([SECRET], undefined)).toBe('refused');
  });
});
