import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { redact } from '../redact.js';
import type { Problem } from './option-rules.js';
import type { RtSmsTls } from './rt-sms.options.js';

/** Valid PEM texts for TLS. */
export interface TlsMaterial {
  /** All trusted certificates; absent for Node's list. */
  ca?: string[];
  cert?: string;
  key?: string;
  passphrase?: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^]*?)-----END \1-----/g;
const isCertificate = (label: string) => /(^|[^-])CERTIFICATE$/.test(label);
const OPENSSL_DER = 'openssl x509 -inform der -in <file> -out <file>.pem';

/** An unusable value. The message continues a sentence that starts with the name of the option. */
class Unusable extends Error {}

/** A wrong value may be a key without its first line, so it is shown only if it looks like a path and not like Base64. */
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
          : 'must be PEM text or the path of a file, but no such file exists',
      );
    }
  }
  const isFile = bytes !== value;
  const text = bytes.toString();
  if (text.includes('-----BEGIN ')) return text;
  const where = isFile ? `'${String(value)}'` : 'it';
  if (Buffer.isBuffer(bytes) && bytes[0] === 0x30)
    throw new Unusable(`must be PEM, but ${where} is DER; convert it: ${OPENSSL_DER}`);
  throw new Unusable(`must be PEM, but ${where} has no line "-----BEGIN …-----"`);
}

/**
 * Reads PEM blocks with their labels, in the form that OpenSSL accepts. Environment variables often hold `\n`, spaces or
 * nothing in place of line ends.
 */
function blocksOf(value: string | Buffer): [label: string, pem: string][] {
  const text = readText(value).replace(/(\\r)?\\n/g, '\n');
  const blocks = [...text.matchAll(BLOCK)].map(([whole, label = '', body = '']): [string, string] => {
    // The block of an old encrypted key has header lines and must stay unchanged.
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
    const content = blocks.some(([label]) => label.endsWith('PRIVATE KEY')) ? 'a private key' : `a ${blocks[0]![0]}`;
    throw new Unusable(`must contain a certificate, but contains only ${content.toLowerCase()}`);
  }
  return certificates.map(([, pem], index) => {
    try {
      // From DER, because the PEM of a "trusted certificate" has another label.
      return new X509Certificate(Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64'));
    } catch {
      throw new Unusable(`must contain certificates, but certificate ${index + 1} cannot be read`);
    }
  });
}

function privateKeyIn(value: string | Buffer, passphrase: string | undefined): { pem: string; key: KeyObject } {
  const keys = blocksOf(value).filter(([label]) => label.endsWith('PRIVATE KEY'));
  if (keys.length === 0) throw new Unusable('must contain a private key, but contains none');
  const pem = keys[0]!.join('').slice(keys[0]![0].length);
  const isEncrypted = /ENCRYPTED/.test(pem);
  if (isEncrypted && !passphrase) throw new Unusable('is encrypted; set tls.passphrase');
  try {
    return { pem, key: createPrivateKey({ key: pem, ...(isEncrypted ? { passphrase } : {}) }) };
  } catch {
    throw new Unusable(
      isEncrypted ? 'cannot be decrypted; check tls.passphrase' : 'contains a private key that cannot be read',
    );
  }
}

/** Certificates that Node trusts by default. Node 20 has no function for them and combines these two lists. */
function nodeCertificates(): string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  if (getCACertificates) return getCACertificates('default');
  const { NODE_EXTRA_CA_CERTS: extra } = process.env;
  try {
    const more = extra ? certificatesIn(readFileSync(extra)) : [];
    return [...tls.rootCertificates, ...more.map(String)];
  } catch {
    // Node has already logged a warning about a file that it cannot use.
    return [...tls.rootCertificates];
  }
}

const nameOf = ({ subject }: X509Certificate) => `'${redact(subject?.replaceAll('\n', ', ') ?? '')}'`;

function* validityWarnings(option: string, certificates: X509Certificate[]): Generator<string> {
  for (const certificate of certificates) {
    const [from, to] = [certificate.validFrom, certificate.validTo].map((date) => new Date(date));
    const day = (date: Date) => date.toISOString().slice(0, 10);
    if (to! < new Date()) yield `${option}: the certificate ${nameOf(certificate)} expired on ${day(to!)}`;
    if (from! > new Date()) yield `${option}: the certificate ${nameOf(certificate)} is not valid before ${day(from!)}`;
  }
}

/** Warns about CAs without their root: Node rejects a chain that does not end at a root. */
function* issuerWarnings(certificates: X509Certificate[], all: string[]): Generator<string> {
  for (const certificate of certificates) {
    const hasIssuer = (others: X509Certificate[]) => others.some((other) => certificate.checkIssued(other));
    if (hasIssuer(certificates) || hasIssuer(all.map((pem) => new X509Certificate(pem)))) continue;
    yield `tls.ca: the certificate ${nameOf(certificate)} is not trusted without the certificate of its issuer. Fix: add the root certificate`;
  }
}

/**
 * Reads and checks the certificates and the key. Files are read once, at the start. `ca` is added to Node's list unless
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
      problems.push({ option, text: error.message });
      return undefined;
    }
  };
  const { passphrase, caOnly = false } = options;
  const material: TlsMaterial = {};

  const items = options.ca === undefined ? [] : [options.ca].flat();
  const nameAt = (index: number) => (Array.isArray(options.ca) ? `tls.ca[${index}]` : 'tls.ca');
  const cas = items.flatMap((value, index) => attempt(nameAt(index), () => certificatesIn(value)) ?? []);
  if (cas.length > 0) {
    material.ca = [...(caOnly ? [] : nodeCertificates()), ...cas.map(String)];
    warnings.push(...validityWarnings('tls.ca', cas), ...issuerWarnings(cas, material.ca));
  }
  if (items.length === 0 && caOnly) problems.push({ option: 'tls.ca', text: 'is missing; tls.caOnly requires it' });

  const { cert, key } = options;
  if (cert !== undefined && key === undefined)
    problems.push({ option: 'tls.key', text: 'is missing; set the private key of tls.cert' });
  if (key !== undefined && cert === undefined)
    problems.push({ option: 'tls.cert', text: 'is missing; set the certificate of tls.key' });
  if (passphrase && key === undefined)
    problems.push({
      option: 'tls.passphrase',
      text: 'has no effect without tls.key; set tls.key or remove the passphrase',
    });
  const chain = cert === undefined ? undefined : attempt('tls.cert', () => certificatesIn(cert));
  const privateKey = key === undefined ? undefined : attempt('tls.key', () => privateKeyIn(key, passphrase));
  if (chain && privateKey && !chain[0]!.checkPrivateKey(privateKey.key))
    problems.push({ option: 'tls.key', text: 'does not match the (first) certificate of tls.cert' });
  if (chain && privateKey) {
    Object.assign(material, { cert: chain.join(''), key: privateKey.pem, ...(passphrase ? { passphrase } : {}) });
    warnings.push(...validityWarnings('tls.cert', chain));
  }
  return { material: Object.keys(material).length > 0 ? material : undefined, problems, warnings };
}
