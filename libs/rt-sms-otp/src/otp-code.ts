import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Data of a challenge that its store has only encrypted. */
export type OtpSubject = { msisdn: string; purpose: string; digits: number };
export type OtpSecret = string | Uint8Array;

const CIPHER = 'aes-256-gcm';
const [IV, TAG] = [12, 16];

/** Returns a new id of 128 random bits. */
export const newChallengeId = (): string => randomBytes(16).toString('base64url');
export const isChallengeId = (value: unknown): boolean => typeof value === 'string' && /^[\w-]{22}$/.test(value);

const sha256 = (text: string) => createHash('sha256').update(text).digest();
/** Compares in constant time, also texts of different lengths. */
export const isSame = (a: string, b: string): boolean => timingSafeEqual(sha256(a), sha256(b));

/**
 * Derives the code of a challenge: the bytes of an HMAC as digits. Bytes from 250 are skipped, because `byte % 10` would
 * otherwise favour small digits.
 */
export function deriveCode(secret: OtpSecret, id: string, { msisdn, purpose, digits }: OtpSubject): string {
  let code = '';
  for (let block = 0; code.length < digits; block++) {
    const input = JSON.stringify(['nestjs-rt-sms-otp code', block, digits, id, msisdn, purpose]);
    for (const byte of createHmac('sha256', secret).update(input).digest())
      if (byte < 250 && code.length < digits) code += String(byte % 10);
  }
  return code;
}

const sealingKey = (secret: OtpSecret) => createHmac('sha256', secret).update('nestjs-rt-sms-otp seal').digest();

/** Encrypts the subject of a challenge, bound to its id. */
export function seal(secret: OtpSecret, id: string, subject: OtpSubject): string {
  const iv = randomBytes(IV);
  const cipher = createCipheriv(CIPHER, sealingKey(secret), iv).setAAD(Buffer.from(id));
  return Buffer.concat([iv, cipher.update(JSON.stringify(subject)), cipher.final(), cipher.getAuthTag()]).toString(
    'base64',
  );
}

/** Decrypts a subject and derives its code; `undefined` if none of the secrets has sealed it for this challenge. */
export function open(
  secrets: readonly OtpSecret[],
  id: string,
  sealed: string,
): (OtpSubject & { code: string }) | undefined {
  const bytes = Buffer.from(sealed, 'base64');
  for (const secret of secrets) {
    try {
      const decipher = createDecipheriv(CIPHER, sealingKey(secret), bytes.subarray(0, IV), { authTagLength: TAG });
      decipher.setAAD(Buffer.from(id)).setAuthTag(bytes.subarray(-TAG));
      const json = Buffer.concat([decipher.update(bytes.subarray(IV, -TAG)), decipher.final()]).toString();
      const subject = JSON.parse(json) as OtpSubject;
      return { ...subject, code: deriveCode(secret, id, subject) };
    } catch {
      // Sealed with another secret, or changed in the store.
    }
  }
  return undefined;
}
