import { REASONS, STATUSES } from '../protocol.js';

const KNOWN: readonly unknown[] = ['ok', 'error', ...REASONS, ...STATUSES];

/** Keeps secrets out of a report: what the gateway sends may quote the number, the text, the login or the password. */
export class Secrets {
  readonly #values: readonly string[];

  constructor(values: readonly string[]) {
    this.#values = values.filter((value) => value !== '').map((value) => value.toLowerCase());
  }

  /** The word, if it is a short plain one that shares nothing with a secret. */
  shown(word: unknown): string | undefined {
    if (typeof word !== 'string' || !/^[a-z][a-z0-9_-]{0,39}$/i.test(word)) return undefined;
    const lower = word.toLowerCase();
    return this.#values.some((value) => value.includes(lower) || lower.includes(value)) ? undefined : word;
  }
}

/** A word of the document: it is shown even if a secret contains it. */
export function isKnownWord(word: unknown): word is string {
  return KNOWN.includes(word);
}

/** `7927*****01` */
export function maskNumber(number: string): string {
  return `${number.slice(0, 4)}${'*'.repeat(number.length - 6)}${number.slice(-2)}`;
}
