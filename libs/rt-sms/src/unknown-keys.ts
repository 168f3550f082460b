import { redact } from './redact.js';

/** How many letters have to be changed, left out or put in to make one word of the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j]! + Number(letter !== b[j]), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row[b.length]!;
}

/** The known name that differs in the fewest letters, whatever their case, and at most in this share of its own. */
function nearest(wrong: string, known: readonly string[], share: number): string | undefined {
  const plain = (name: string) => name.slice(0, 40).replace(/[_-]/g, '').toLowerCase();
  const written = plain(wrong);
  return known
    .map((name) => ({ name, changes: distance(written, plain(name)) }))
    .filter(({ name, changes }) => changes <= name.length * share)
    .toSorted((a, b) => a.changes - b.changes)[0]?.name;
}

/** Ends the sentence about a name that does not exist, if it is clear which one was meant. */
export function suggestion(wrong: string, known: readonly string[]): string {
  const begun = wrong.length > 3 ? known.find((name) => name.startsWith(wrong)) : undefined;
  const meant = nearest(wrong, known, 1 / 3) ?? begun;
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

// A key whose value is undefined asks for nothing.
const keysOf = (value: object, known: readonly string[]) =>
  Object.keys(value).filter((key) => !known.includes(key) && (value as Record<string, unknown>)[key] !== undefined);
const problem = (key: string, known: readonly string[], what: string) =>
  `${what} has no key '${redact(key.slice(0, 40))}'${suggestion(key, known) || `; there are ${known.join(', ')}`}`;

/** A problem for each key of the options of a call that is not known: what is ignored in silence sends at the wrong time. */
export const unknownKeys = (options: object, known: readonly string[], what = 'options'): string[] =>
  keysOf(options, known).map((key) => problem(key, known, what));

/**
 * The same for data, which may have keys of its own, such as a row of a database: a problem only for what looks like a known
 * key that is not there.
 */
export function misspeltKeys(data: object, known: readonly string[], what: string): string[] {
  // Not by their values: each field is read once, elsewhere.
  const missing = known.filter((name) => !(name in data));
  return keysOf(data, known)
    .filter((key) => nearest(key, missing, 1 / 4) !== undefined)
    .map((key) => problem(key, missing, what));
}
