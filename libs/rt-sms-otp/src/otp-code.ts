import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Data of a challenge that its store has only encrypted. */
export type OtpSubject = { msisdn: string; purpose: string; digits: number };
export type OtpSecret = string | Uint8Array;

const CIPHER = 'aes-256-gcm';
const [IV, TAG] = [12, 16];

/** Returns a new id of 128 random bits. */
export const newChallengeId = (): string => randomBytes(16).toString('base64url');
export const isChallengeId = (value: unknown): boolean => typeof value === 'string' && /^[\w-]{22}$/.test(value);

const DIGITS = /^\d{4,10}$/;
/** Compares what a person typed with a code, in constant time. Anything but digits is wrong. */
export const isSame = (typed: string, code: string): boolean =>
  timingSafeEqual(Buffer.from((DIGITS.test(typed) ? typed : '').padEnd(10)), Buffer.from(code.padEnd(10)));

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

/** A secret, and the key of the encryption that is derived from it. */
export type OtpKey = { secret: OtpSecret; sealing: Buffer };
export const otpKey = (secret: OtpSecret): OtpKey => ({
  secret,
  sealing: createHmac('sha256', secret).update('nestjs-rt-sms-otp seal').digest(),
});

/** Encrypts the subject of a challenge, bound to its id. */
export function seal({ sealing }: OtpKey, id: string, subject: OtpSubject): string {
  const iv = randomBytes(IV);
  const cipher = createCipheriv(CIPHER, sealing, iv).setAAD(Buffer.from(id));
  return Buffer.concat([iv, cipher.update(JSON.stringify(subject)), cipher.final(), cipher.getAuthTag()]).toString(
    'base64',
  );
}

/** Decrypts a subject and derives its code; `undefined` if none of the keys has sealed it for this challenge. */
export function open(keys: readonly OtpKey[], id: string, sealed: string): (OtpSubject & { code: string }) | undefined {
  const bytes = Buffer.from(sealed, 'base64');
  for (const { secret, sealing } of keys) {
    try {
      const decipher = createDecipheriv(CIPHER, sealing, bytes.subarray(0, IV), { authTagLength: TAG });
      decipher.setAAD(Buffer.from(id)).setAuthTag(bytes.subarray(-TAG));
      const json = decipher.update(bytes.subarray(IV, -TAG), undefined, 'utf8') + decipher.final('utf8');
      const subject = JSON.parse(json) as OtpSubject;
      return Object.assign(subject, { code: deriveCode(secret, id, subject) });
    } catch {
      // Sealed with another secret, or changed in the store.
    }
  }
  return undefined;
}
