import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, rootCertificates } from 'node:tls';
import * as fc from 'fast-check';
import type { RtSmsTls } from './rt-sms.options.js';
import { resolveTls } from './tls-material.js';

const FOLDER = join(import.meta.dirname, '../../../../test/faults/certs');
const path = (file: string) => join(FOLDER, file);
const pem = (file: string) => readFileSync(path(file), 'utf8');
const der = (file: string) => new X509Certificate(pem(file)).raw;
const CA = pem('ca.pem');
const CERT = pem('client.pem');
const KEY = pem('client.key');

const made = mkdtempSync(join(tmpdir(), 'rt-sms-tls-'));
afterAll(() => rmSync(made, { recursive: true }));
function file(name: string, content: string | Buffer): string {
  writeFileSync(join(made, name), content);
  return join(made, name);
}

const problemsOf = (options: RtSmsTls) => resolveTls(options).problems.map(({ option, text }) => `${option}: ${text}`);
/** Subjects of the trusted certificates without Node's list. */
function trusted(ca: RtSmsTls['ca']): string[] {
  const { material, problems } = resolveTls({ ca: ca!, caOnly: true });
  expect(problems).toEqual([]);
  createSecureContext({ ...material });
  return material!.ca!.map((text) => new X509Certificate(text).subject);
}
const SUBJECT = new X509Certificate(CA).subject;
const OTHER = new X509Certificate(pem('self-signed.pem')).subject;

describe('tls.ca', () => {
  it.each<[string, RtSmsTls['ca'], string[]]>([
    ['PEM text', CA, [SUBJECT]],
    ['a Buffer', Buffer.from(CA), [SUBJECT]],
    ['the path of a file', path('ca.pem'), [SUBJECT]],
    ['a list of both', [CA, path('self-signed.pem')], [SUBJECT, OTHER]],
    ['a bundle', CA + pem('self-signed.pem'), [SUBJECT, OTHER]],
    ['a file that is a bundle', file('bundle.crt', CA + pem('self-signed.pem')), [SUBJECT, OTHER]],
    ['text before and after it', `Subject: CN=x\n${CA}\nthe end`, [SUBJECT]],
    ['a mark of UTF-8 and CRLF', `\uFEFF${CA.replaceAll('\n', '\r\n')}`, [SUBJECT]],
    [String.raw`a literal \n, as in a variable`, CA.replaceAll('\n', String.raw`\n`), [SUBJECT]],
    [String.raw`a literal \r\n`, CA.replaceAll('\n', String.raw`\r\n`), [SUBJECT]],
    ['one line, with spaces', CA.replaceAll('\n', ' '), [SUBJECT]],
    ['one line', CA.replaceAll('\n', ''), [SUBJECT]],
    ['a trusted certificate', CA.replaceAll(' CERTIFICATE', ' TRUSTED CERTIFICATE'), [SUBJECT]],
  ])('accepts %s', (_, ca, subjects) => expect(trusted(ca)).toEqual(subjects));

  it.each<[string, RtSmsTls['ca'], RegExp]>([
    [
      'a path without a file',
      '/no/such/ca.pem',
      /^tls\.ca: names a file that cannot be read: '\/no\/such\/ca\.pem' \(ENOENT\)$/,
    ],
    ['a folder', made, /^tls\.ca: names a file that cannot be read: .*\(EISDIR\)$/],
    ['garbage', 'garbage', /^tls\.ca: must be PEM text or the path of a file, but no such file exists$/],
    ['garbage in a Buffer', Buffer.from('garbage'), /^tls\.ca: must be PEM, but it has no line/],
    ['a file with garbage', file('garbage.pem', 'garbage'), /^tls\.ca: must be PEM, but '.*garbage\.pem' has no line/],
    ['an empty file', file('empty.pem', ''), /^tls\.ca: must be PEM, but '.*empty\.pem' has no line/],
    ['DER', der('ca.pem'), /^tls\.ca: must be PEM, but it is DER; convert it: openssl x509 -inform der/],
    ['a file in DER', file('ca.cer', der('ca.pem')), /^tls\.ca: must be PEM, but '.*ca\.cer' is DER; convert it/],
    ['a private key', KEY, /^tls\.ca: must contain a certificate, but contains only a private key$/],
    ['a request', KEY.replaceAll('PRIVATE KEY', 'CERTIFICATE REQUEST'), /contains only a certificate request$/],
    ['a certificate that is cut off', CA.slice(0, 300), /^tls\.ca: is cut off/],
    ['a second one that is cut off', CA + CA.slice(0, 300), /^tls\.ca: is cut off/],
    [
      'a certificate with a hole',
      CA.replace(/\n.*\n/, '\n'),
      /^tls\.ca: must contain .* certificate 1 cannot be read$/,
    ],
    [
      'a bundle with a bad one',
      CA + CA.replace(/\n.*\n/, '\n'),
      /^tls\.ca: must contain certificates, but certificate 2 cannot be read$/,
    ],
    ['a list with a bad one', [CA, '/a/path'], /^tls\.ca\[1\]: names a file that cannot be read: '\/a\/path'/],
  ])('rejects %s', (_, ca, problem) => {
    expect(problemsOf({ ca: ca! })).toEqual([expect.stringMatching(problem)]);
  });

  describe('and the list of Node', () => {
    const before = process.env.NODE_EXTRA_CA_CERTS;
    beforeEach(() => delete process.env.NODE_EXTRA_CA_CERTS);
    afterEach(() => {
      if (before !== undefined) process.env.NODE_EXTRA_CA_CERTS = before;
    });
    const added = () => resolveTls({ ca: CA }).material!.ca!.slice(rootCertificates.length);
    const subjects = (all: string[]) => all.map((text) => new X509Certificate(text).subject);

    it('is added to that list, or replaces it', () => {
      expect(resolveTls({ ca: CA }).material!.ca).toEqual(expect.arrayContaining([...rootCertificates]));
      expect(subjects(added())).toEqual([SUBJECT]);
      expect(trusted(CA)).toEqual([SUBJECT]);
      expect(resolveTls({}).material).toBeUndefined();
      expect(problemsOf({ caOnly: true })).toEqual(['tls.ca: is missing; tls.caOnly requires it']);
    });

    // In a separate process, because from 22.15 on Node reads the variable only at its start.
    it.each([
      ['keeps the certificates of NODE_EXTRA_CA_CERTS', path('self-signed.pem'), [OTHER, SUBJECT]],
      ['ignores a NODE_EXTRA_CA_CERTS that cannot be read', '/no/such/file', [SUBJECT]],
    ])('%s', (_, extra, expected) => {
      const module = new URL('tls-material.ts', import.meta.url).href;
      const code = `import { resolveTls } from '${module}'; console.log(JSON.stringify(resolveTls({ ca: process.env.CA }).material.ca))`;
      const loader = new URL('../../../../test/child/ts.mjs', import.meta.url).href;
      const args = ['--import', loader, '--input-type=module', '--eval', code];
      const env = { ...process.env, CA, NODE_EXTRA_CA_CERTS: extra };
      const { stdout, status } = spawnSync(process.execPath, args, { env, encoding: 'utf8', maxBuffer: 2 ** 24 });
      expect(status).toBe(0);
      expect(subjects((JSON.parse(stdout) as string[]).slice(rootCertificates.length))).toEqual(expected);
    });
  });

  it('warns about an expired certificate, and about one whose issuer is missing', () => {
    expect(resolveTls({ ca: CA }).warnings).toEqual([]);
    expect(resolveTls({ ca: path('expired-ca.pem') }).warnings).toEqual([
      "tls.ca: the certificate 'CN=Expired test CA' expired on 2020-01-02",
    ]);
    expect(resolveTls({ ca: path('intermediate.pem') }).warnings).toEqual([
      expect.stringMatching(
        /^tls\.ca: the certificate 'CN=Intermediate test CA' is not trusted without the certificate of its issuer/,
      ),
    ]);
    expect(resolveTls({ ca: [path('intermediate.pem'), CA] }).warnings).toEqual([]);
  });

  it('never shows a value that may be a key', () => {
    const key = KEY.replaceAll(/-----.*-----|\s/g, '');
    const part = fc.constantFrom(
      key,
      KEY.trim(),
      CA,
      '-----BEGIN ',
      '-----END ',
      'PRIVATE KEY-----',
      String.raw`\n`,
      '\0',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string()), { minLength: 1 }), (parts) => {
        const ca = parts.join('');
        for (const option of ['ca', 'cert', 'key'] as const)
          for (const problem of problemsOf({ [option]: ca || ' ', ...(option === 'ca' ? { caOnly: true } : {}) })) {
            expect(problem).toMatch(/^tls\.\w+: \S/);
            expect(problem).not.toContain(key.slice(0, 20));
          }
      }),
    );
  });
});

describe('tls.cert and tls.key', () => {
  it.each<[string, RtSmsTls]>([
    ['PEM text', { cert: CERT, key: KEY }],
    ['paths', { cert: path('client.pem'), key: path('client.key') }],
    ['Buffers', { cert: Buffer.from(CERT), key: Buffer.from(KEY) }],
    [
      String.raw`a literal \n`,
      { cert: CERT.replaceAll('\n', String.raw`\n`), key: KEY.replaceAll('\n', String.raw`\n`) },
    ],
    ['one line', { cert: CERT.replaceAll('\n', ' '), key: KEY.replaceAll('\n', ' ') }],
    ['one file for both', { cert: file('both.pem', CERT + KEY), key: file('both.pem', CERT + KEY) }],
    ['a chain', { cert: CERT + CA, key: KEY }],
    ['an encrypted key', { cert: CERT, key: path('client-encrypted.key'), passphrase: 'sesame' }],
    ['a passphrase that is not needed', { cert: CERT, key: KEY, passphrase: 'sesame' }],
  ])('accept %s', (_, options) => {
    const { material, problems, warnings } = resolveTls(options);
    expect([problems, warnings]).toEqual([[], []]);
    expect(() => createSecureContext({ ...material })).not.toThrow();
    expect(new X509Certificate(material!.cert!).subject).toBe('CN=client');
  });

  it.each<[string, RtSmsTls, RegExp]>([
    ['no key', { cert: CERT }, /^tls\.key: is missing; set the private key of tls\.cert$/],
    ['no certificate', { key: KEY }, /^tls\.cert: is missing; set the certificate of tls\.key$/],
    [
      'a passphrase alone',
      { passphrase: 'x' },
      /^tls\.passphrase: has no effect without tls\.key; set tls\.key or remove the passphrase$/,
    ],
    ['another key', { cert: CERT, key: path('server.key') }, /^tls\.key: does not match the \(first\) certificate/],
    ['a chain in reverse order', { cert: CA + CERT, key: KEY }, /^tls\.key: does not match the \(first\) certificate/],
    ['a certificate as the key', { cert: CERT, key: CERT }, /^tls\.key: must contain a private key/],
    ['a key as the certificate', { cert: KEY, key: KEY }, /^tls\.cert: must contain a certificate/],
    [
      'no passphrase',
      { cert: CERT, key: path('client-encrypted.key') },
      /^tls\.key: is encrypted; set tls\.passphrase$/,
    ],
    [
      'a wrong passphrase',
      { cert: CERT, key: path('client-encrypted.key'), passphrase: 'open' },
      /^tls\.key: cannot be decrypted; check tls\.passphrase$/,
    ],
    ['a missing key file', { cert: CERT, key: '/run/secrets/key' }, /^tls\.key: names a file .*'\/run\/secrets\/key'/],
    [
      'a broken key',
      { cert: CERT, key: KEY.replace(/\n.*\n/, '\n') },
      /^tls\.key: contains a private key that cannot be read$/,
    ],
  ])('reject %s', (_, options, problem) => {
    expect(problemsOf(options)).toEqual([expect.stringMatching(problem)]);
  });
});
