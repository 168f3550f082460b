import { redact } from './redact.js';

/** Edit distance: the number of letters to change, remove or insert to turn one word into the other. */
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

/**
 * Finds the known name with the fewest different letters, regardless of case; at most `share` of its letters may differ.
 */
function nearest(wrong: string, known: readonly string[], share: number): string | undefined {
  const plain = (name: string) => name.slice(0, 40).replace(/[_-]/g, '').toLowerCase();
  const typed = plain(wrong);
  return known
    .map((name) => ({ name, changes: distance(typed, plain(name)) }))
    .filter(({ name, changes }) => changes <= name.length * share)
    .toSorted((a, b) => a.changes - b.changes)[0]?.name;
}

/** End of a sentence about an unknown name: suggests a known name, if one is similar. */
export function suggestion(wrong: string, known: readonly string[]): string {
  const begun = wrong.length > 3 ? known.find((name) => name.startsWith(wrong)) : undefined;
  const meant = nearest(wrong, known, 1 / 3) ?? begun;
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

// A key whose value is undefined has no effect and is ignored.
const keysOf = (value: object, known: readonly string[]) =>
  Object.keys(value).filter((key) => !known.includes(key) && (value as Record<string, unknown>)[key] !== undefined);
const problem = (key: string, known: readonly string[], what: string) =>
  `${what} has no key '${redact(key.slice(0, 40))}'${suggestion(key, known) || `; accepted keys: ${known.join(', ')}`}`;

/**
 * Returns a problem for each unknown key of a call's options. If `delayMS` were ignored, the message would be sent at the
 * wrong time.
 */
export const unknownKeys = (options: object, known: readonly string[], what = 'options'): string[] =>
  keysOf(options, known).map((key) => problem(key, known, what));

/**
 * Returns a problem for each key that looks like a missing known key. Used for data that may have other keys, such as a
 * database row.
 */
export function misspeltKeys(data: object, known: readonly string[], what: string): string[] {
  // Tests only the presence of fields, because their values must be read only once, elsewhere.
  const missing = known.filter((name) => !(name in data));
  return keysOf(data, known)
    .filter((key) => nearest(key, missing, 1 / 4) !== undefined)
    .map((key) => problem(key, missing, what));
}
