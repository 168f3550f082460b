import { readFile } from 'node:fs/promises';

const PATH = Symbol.for('nestjs-rt-sms:password-path');

/** Why the file of a password cannot be used. The message continues a sentence that starts with the file. */
export class PasswordFileError extends Error {}

/** Only a path in a folder is shown: someone may have put the password itself in the place of the path. */
const shown = (path: string) =>
  /^(\/|\.{1,2}[\\/]|[A-Za-z]:[\\/]).+[\\/]/.test(path) ? `the file '${path}'` : 'the file';

/** The value of the option `password` for a file, such as a mounted secret. It is read at each call, without its last line break. */
export function passwordFile(path: string): () => Promise<string> {
  const read = async () => {
    const bytes = await readFile(path).catch(({ code }: NodeJS.ErrnoException) => {
      throw new PasswordFileError(`cannot be read (${code})`);
    });
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new PasswordFileError('is not UTF-8 text');
    }
    const password = text.replace(/\r?\n$/, '');
    if (password === '') throw new PasswordFileError('is empty');
    return password;
  };
  return Object.assign(read, { [PATH]: shown(path) });
}

/** Name of the file for errors, if `password` reads one. */
export const passwordPath = (password: unknown): string | undefined =>
  typeof password === 'function' ? (password as { [PATH]?: string })[PATH] : undefined;
