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
