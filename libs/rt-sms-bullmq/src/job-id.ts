import { createHmac, scrypt } from 'node:crypto';
import { promisify } from 'node:util';

/*
 * BullMQ accepts no job id that consists of digits only or contains a `:`. Ids of users may contain any characters, so they are
 * encoded, and the first letter names the encoding.
 */

export function jobIdOf(id: string): string {
  // UTF-8 cannot encode an unpaired surrogate: two such ids would become one.
  return /\p{Cs}/u.test(id)
    ? `w${Buffer.from(id, 'utf16le').toString('base64url')}`
    : `i${Buffer.from(id, 'utf8').toString('base64url')}`;
}

export function idOf(jobId: string): string {
  return Buffer.from(jobId.slice(1), 'base64url').toString(jobId.startsWith('w') ? 'utf16le' : 'utf8');
}

/** A uid contains letters and no `%`. */
export const checkIdOf = (uid: string): string => uid.replaceAll(':', '%3A');
export const uidOf = (checkId: string): string => checkId.replaceAll('%3A', ':');

/**
 * Digests that identify a message without storing it. The key is derived from the account, so that all replicas have the same
 * one, and slowly, so that the digests in the store cannot be used to guess the password. The first characters name the key:
 * digests of different keys, for example after a change of the password, cannot be compared.
 */
export class Digests {
  private readonly key: Promise<Buffer>;

  constructor(login: string, password: string) {
    this.key = promisify<string, string, number, Buffer>(scrypt)(password, `nestjs-rt-sms:${login}`, 32);
  }

  async of(messages: readonly { msisdn: string; shortcode: string; text: string }[]): Promise<string[]> {
    const key = await this.key;
    const hmac = (text: string) => createHmac('sha256', key).update(text).digest('base64url');
    const name = hmac('name').slice(0, 6);
    return messages.map(
      ({ msisdn, shortcode, text }) => `${name}.${hmac(JSON.stringify([msisdn, shortcode, text])).slice(0, 22)}`,
    );
  }

  /** True if two digests certainly belong to different messages. */
  static differ(a: string, b: string): boolean {
    return a !== b && a.split('.')[0] === b.split('.')[0];
  }
}
