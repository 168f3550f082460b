import type { CheckedMessage } from 'nestjs-rt-sms';
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

/** What a sealed message belongs to. With any other value it cannot be opened. */
export interface SealedFor {
  id: string;
  expiresAt?: number | undefined;
}

const CIPHER = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Characters of a digest: 132 bits. */
const DIGEST_LENGTH = 22;

/** Keys derived from one key of the application. */
interface Key {
  /** Names the key in the store, so that a value shows which key it was made with. */
  name: string;
  seal: Buffer;
  digest: Buffer;
}

function deriveKey(secret: Buffer): Key {
  const derive = (use: string) => Buffer.from(hkdfSync('sha256', secret, '', `nestjs-rt-sms ${use}`, 32));
  return { name: derive('name').toString('base64url').slice(0, 6), seal: derive('seal'), digest: derive('digest') };
}

/**
 * Seals the messages of an account in the store, and makes the digests that identify them. New values are made with the first
 * key; values of all keys can be read. Without keys messages are stored in the clear, and `storeKey` makes the digests.
 */
export class MessageSeal {
  private readonly sealKeys: readonly Key[];
  private readonly digestKeys: readonly Key[];

  constructor(
    private readonly account: string,
    keys: readonly Buffer[],
    storeKey: Buffer,
  ) {
    this.sealKeys = keys.map(deriveKey);
    this.digestKeys = [...this.sealKeys, deriveKey(storeKey)];
  }

  /**
   * Hash of a number or its start for a counter. Made with the last key, so that replicas count together while a key is being
   * replaced.
   */
  hashOf(subject: string): string {
    const { digest } = this.sealKeys.at(-1) ?? this.digestKeys[0]!;
    const bound = JSON.stringify([this.account, 'limit', subject]);
    return createHmac('sha256', digest).update(bound).digest('base64url').slice(0, DIGEST_LENGTH);
  }

  /** The message as it is stored. */
  close(message: CheckedMessage, about: SealedFor): string {
    const plain = JSON.stringify([message.msisdn, message.shortcode, message.text]);
    const [key] = this.sealKeys;
    if (!key) return plain;
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv(CIPHER, key.seal, iv).setAAD(this.boundTo(about));
    const sealed = Buffer.concat([iv, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return `${key.name}.${sealed.toString('base64url')}`;
  }

  /** Opens a stored message. `undefined` if it was not stored by this account with one of the keys, or was changed. */
  open(stored: unknown, digest: unknown, about: SealedFor): CheckedMessage | undefined {
    const plain = typeof stored === 'string' ? this.plain(stored, about) : undefined;
    const message = plain === undefined ? undefined : parse(plain);
    return message && this.matches(digest, message) === true ? message : undefined;
  }

  /** Digest of a message, which identifies it without storing it. */
  digest(message: CheckedMessage): string {
    return this.digestWith(this.digestKeys[0]!, message);
  }

  /** True if a stored digest is that of the message, `undefined` if it was made with a key that is not known. */
  matches(digest: unknown, message: CheckedMessage): boolean | undefined {
    if (typeof digest !== 'string') return undefined;
    const key = this.digestKeys.find(({ name }) => digest.startsWith(`${name}.`));
    if (!key) return undefined;
    const [stored, own] = [Buffer.from(digest), Buffer.from(this.digestWith(key, message))];
    return stored.length === own.length && timingSafeEqual(stored, own);
  }

  private digestWith({ name, digest }: Key, { msisdn, shortcode, text }: CheckedMessage): string {
    const hmac = createHmac('sha256', digest).update(JSON.stringify([msisdn, shortcode, text]));
    return `${name}.${hmac.digest('base64url').slice(0, DIGEST_LENGTH)}`;
  }

  private plain(stored: string, about: SealedFor): string | undefined {
    if (this.sealKeys.length === 0) return stored;
    const key = this.sealKeys.find(({ name }) => stored.startsWith(`${name}.`));
    if (!key) return undefined;
    const sealed = Buffer.from(stored.slice(key.name.length + 1), 'base64url');
    if (sealed.length < IV_BYTES + TAG_BYTES) return undefined;
    const decipher = createDecipheriv(CIPHER, key.seal, sealed.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
      .setAAD(this.boundTo(about))
      .setAuthTag(sealed.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]).toString('utf8');
    } catch {
      return undefined;
    }
  }

  private boundTo({ id, expiresAt }: SealedFor): Buffer {
    return Buffer.from(JSON.stringify([this.account, id, expiresAt ?? null]));
  }
}

function parse(plain: string): CheckedMessage | undefined {
  try {
    const [msisdn, shortcode, text] = JSON.parse(plain) as unknown[];
    const isMessage = typeof msisdn === 'string' && typeof shortcode === 'string' && typeof text === 'string';
    return isMessage ? { msisdn, shortcode, text } : undefined;
  } catch {
    return undefined;
  }
}
