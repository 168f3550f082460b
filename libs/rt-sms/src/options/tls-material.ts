import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { redact } from '../redact.js';
import type { Problem } from './option-rules.js';
import type { RtSmsTls } from './rt-sms.options.js';

/** What TLS works with: PEM texts that were read and found to be what they should be. */
export interface TlsMaterial {
  /** All trusted certificates; absent: Node's own list. */
  ca?: string[];
  cert?: string;
  key?: string;
  passphrase?: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^]*?)-----END \1-----/g;
const isCertificate = (label: string) => /(^|[^-])CERTIFICATE$/.test(label);
const OPENSSL_DER = 'openssl x509 -inform der -in <file> -out <file>.pem';

/** A value that cannot be used; the message reads on from the name of the option. */
class Unusable extends Error {}

/** A wrong value may be a key without its first line, so only what looks like a path, and not like Base64, is shown. */
const shown = (value: string) =>
  value.length <= 255 &&
  !/[+=]|[A-Za-z0-9]{40}/.test(value) &&
  (/^(\.{0,2}\/|~\/|\.{1,2}\\|\\\\|[A-Za-z]:[/\\])/.test(value) || /^[\w./\\ -]+\.\w{2,5}$/.test(value));

function readText(value: string | Buffer): string {
  let bytes = value;
  if (typeof value === 'string' && !value.includes('-----BEGIN ')) {
    try {
      bytes = readFileSync(value);
    } catch (error) {
      const { code = 'unreadable' } = error as NodeJS.ErrnoException;
      throw new Unusable(
        shown(value)
          ? `names a file that cannot be read: '${value}' (${code})`
          : 'must be PEM text or the path of a file, and there is no such file',
      );
    }
  }
  const isFile = bytes !== value;
  const text = bytes.toString();
  if (text.includes('-----BEGIN ')) return text;
  const where = isFile ? `'${String(value)}' ` : '';
  if (Buffer.isBuffer(bytes) && bytes[0] === 0x30)
    throw new Unusable(`must be PEM, and ${where || 'it '}is DER; convert it: ${OPENSSL_DER}`);
  throw new Unusable(`must be PEM, and ${where || 'it '}has no line "-----BEGIN …-----"`);
}

/**
 * PEM as OpenSSL reads it, with the label of each block. A variable of the environment often has `\n` in place of line ends,
 * or spaces, or nothing.
 */
function blocksOf(value: string | Buffer): [label: string, pem: string][] {
  const text = readText(value).replace(/(\\r)?\\n/g, '\n');
  const blocks = [...text.matchAll(BLOCK)].map(([whole, label = '', body = '']): [string, string] => {
    // The headers of an old encrypted key stand on lines of their own.
    if (/[^A-Za-z0-9+/=\s]/.test(body)) return [label, whole];
    const lines = body.replace(/\s/g, '').match(/.{1,64}/g) ?? [];
    return [label, [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')];
  });
  if (blocks.length < text.split('-----BEGIN ').length - 1)
    throw new Unusable('is cut off: a line "-----BEGIN …-----" has no matching "-----END …-----"');
  return blocks;
}

function certificatesIn(value: string | Buffer): X509Certificate[] {
  const blocks = blocksOf(value);
  const certificates = blocks.filter(([label]) => isCertificate(label));
  if (certificates.length === 0) {
    const held = blocks.some(([label]) => label.endsWith('PRIVATE KEY')) ? 'a private key' : `a ${blocks[0]![0]}`;
    throw new Unusable(`must hold a certificate, and it holds ${held.toLowerCase()} alone`);
  }
  return certificates.map(([, pem], index) => {
    try {
      // From DER, because the PEM of a "trusted certificate" has another label.
      return new X509Certificate(Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64'));
    } catch {
      throw new Unusable(`must hold certificates, and its certificate ${index + 1} cannot be read`);
    }
  });
}

function privateKeyIn(value: string | Buffer, passphrase: string | undefined): { pem: string; key: KeyObject } {
  const keys = blocksOf(value).filter(([label]) => label.endsWith('PRIVATE KEY'));
  if (keys.length === 0) throw new Unusable('must hold a private key, and it holds none');
  const pem = keys[0]!.join('').slice(keys[0]![0].length);
  const isEncrypted = /ENCRYPTED/.test(pem);
  if (isEncrypted && !passphrase) throw new Unusable('is encrypted, so tls.passphrase is needed');
  try {
    return { pem, key: createPrivateKey({ key: pem, ...(isEncrypted ? { passphrase } : {}) }) };
  } catch {
    throw new Unusable(
      isEncrypted ? 'cannot be decrypted; is tls.passphrase the right one?' : 'holds a private key that cannot be read',
    );
  }
}

/** Node's own list. Node 20 has no function that returns it, but makes it of these two. */
function nodeCertificates(): string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  if (getCACertificates) return getCACertificates('default');
  const { NODE_EXTRA_CA_CERTS: extra } = process.env;
  try {
    const more = extra ? certificatesIn(readFileSync(extra)) : [];
    return [...tls.rootCertificates, ...more.map(String)];
  } catch {
    // Node has already warned of a file that it cannot use.
    return [...tls.rootCertificates];
  }
}

const nameOf = ({ subject }: X509Certificate) => `'${redact(subject?.replaceAll('\n', ', ') ?? '')}'`;

function* doubts(option: string, certificates: X509Certificate[]): Generator<string> {
  for (const certificate of certificates) {
    const [from, to] = [certificate.validFrom, certificate.validTo].map((date) => new Date(date));
    const day = (date: Date) => date.toISOString().slice(0, 10);
    if (to! < new Date()) yield `${option}: the certificate ${nameOf(certificate)} expired on ${day(to!)}`;
    if (from! > new Date()) yield `${option}: the certificate ${nameOf(certificate)} is not valid before ${day(from!)}`;
  }
}

/** Without its root a CA is not trusted: Node accepts no chain that ends in the middle. */
function* orphans(certificates: X509Certificate[], all: string[]): Generator<string> {
  for (const certificate of certificates) {
    const hasIssuer = (others: X509Certificate[]) => others.some((other) => certificate.checkIssued(other));
    if (hasIssuer(certificates) || hasIssuer(all.map((pem) => new X509Certificate(pem)))) continue;
    yield `tls.ca: the certificate ${nameOf(certificate)} is not trusted without that of its issuer; add the root certificate as well`;
  }
}

/**
 * Reads and checks the certificates and the key; files are read once, at the start. `ca` is added to Node's list unless
 * `caOnly` is set.
 * @internal
 */
export function resolveTls(options: RtSmsTls = {}): {
  material: TlsMaterial | undefined;
  problems: Problem[];
  warnings: string[];
} {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const attempt = <T>(option: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      problems.push({ option, says: error.message });
      return undefined;
    }
  };
  const { passphrase, caOnly = false } = options;
  const material: TlsMaterial = {};

  const given = options.ca === undefined ? [] : [options.ca].flat();
  const nameAt = (index: number) => (Array.isArray(options.ca) ? `tls.ca[${index}]` : 'tls.ca');
  const cas = given.flatMap((value, index) => attempt(nameAt(index), () => certificatesIn(value)) ?? []);
  if (cas.length > 0) {
    material.ca = [...(caOnly ? [] : nodeCertificates()), ...cas.map(String)];
    warnings.push(...doubts('tls.ca', cas), ...orphans(cas, material.ca));
  }
  if (given.length === 0 && caOnly) problems.push({ option: 'tls.ca', says: 'is missing; tls.caOnly needs it' });

  const { cert, key } = options;
  if (cert !== undefined && key === undefined)
    problems.push({ option: 'tls.key', says: 'is missing; the certificate of tls.cert needs its private key' });
  if (key !== undefined && cert === undefined)
    problems.push({ option: 'tls.cert', says: 'is missing; the key of tls.key needs its certificate' });
  if (passphrase && key === undefined)
    problems.push({ option: 'tls.passphrase', says: 'is for the key of tls.key, which is missing' });
  const chain = cert === undefined ? undefined : attempt('tls.cert', () => certificatesIn(cert));
  const own = key === undefined ? undefined : attempt('tls.key', () => privateKeyIn(key, passphrase));
  if (chain && own && !chain[0]!.checkPrivateKey(own.key))
    problems.push({ option: 'tls.key', says: 'does not fit the (first) certificate of tls.cert' });
  if (chain && own) {
    Object.assign(material, { cert: chain.join(''), key: own.pem, ...(passphrase ? { passphrase } : {}) });
    warnings.push(...doubts('tls.cert', chain));
  }
  return { material: Object.keys(material).length > 0 ? material : undefined, problems, warnings };
}
