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

/** The known name that was probably meant: it begins like this one, or differs in few letters, whatever their case. */
function meantBy(wrong: string, known: readonly string[]): string | undefined {
  const plain = (name: string) => name.slice(0, 40).replace(/[_-]/g, '').toLowerCase();
  const written = plain(wrong);
  const near = known
    .map((name) => ({ name, changes: distance(written, plain(name)) }))
    .filter(
      ({ name, changes }) => changes <= name.length >> 2 || (written.length > 3 && plain(name).startsWith(written)),
    )
    .toSorted((a, b) => a.changes - b.changes);
  return near[0]?.name;
}

/** Ends the sentence about a name that does not exist: with the one that was probably meant, or with all that exist. */
export function suggestion(wrong: string, known: readonly string[]): string {
  const meant = meantBy(wrong, known);
  return meant === undefined ? `; there are ${known.join(', ')}` : `; did you mean ${meant}?`;
}

// A key whose value is undefined asks for nothing.
const keysOf = (value: object, known: readonly string[]) =>
  Object.keys(value).filter((key) => !known.includes(key) && (value as Record<string, unknown>)[key] !== undefined);
const problem = (key: string, known: readonly string[], what: string) =>
  `${what} has no key '${redact(key.slice(0, 40))}'${suggestion(key, known)}`;

/** A problem for each key of the options of a call that is not known: what is ignored in silence sends at the wrong time. */
export const unknownKeys = (options: object, known: readonly string[], what = 'options'): string[] =>
  keysOf(options, known).map((key) => problem(key, known, what));

/** The same for data, which may have keys of its own, such as a row of a database: only what looks like a mistake. */
export const misspeltKeys = (data: object, known: readonly string[], what: string): string[] =>
  keysOf(data, known)
    .filter((key) => meantBy(key, known) !== undefined)
    .map((key) => problem(key, known, what));
