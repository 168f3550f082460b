import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const docs = resolve(import.meta.dirname, '../../docs');
const page = readFileSync(resolve(docs, 'security.md'), 'utf8');

/** The rows of the table of threats. */
const rows = page
  .slice(page.indexOf('## Threats'), page.indexOf('## What stays'))
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| threat'));

/** What a row names: each file of tests, with the titles that stand nearest to it. */
const proofsOf = (row: string) => {
  const files = [...row.matchAll(/\]\(\.\.\/([^)]+\.(?:spec|e2e)\.ts)\)/g)].map(([, file]) => file!);
  const titles = [
    ...row
      .split(' | ')
      .at(-1)!
      .matchAll(/(?<!\*)\*([^*]+)\*(?!\*)/g),
  ].map(([, title]) => title!);
  return { files, titles };
};
const sourceOf = (file: string) => readFileSync(resolve(docs, '..', file), 'utf8');

it('has threats enough to be read', () => expect(rows.length).toBeGreaterThanOrEqual(18));

it.each(rows.map((row) => [row.split(' | ')[0]!.slice(2), row]))('a test proves the control against: %s', (_, row) => {
  const { files, titles } = proofsOf(row);
  expect(files.length).toBeGreaterThan(0);
  expect(files.filter((file) => !existsSync(resolve(docs, '..', file)))).toEqual([]);
  const sources = files.map((file) => sourceOf(file).replaceAll("\\'", "'")).join('\n');
  // At the beginning of a title, or after the figure that it begins with.
  const isThere = (title: string) =>
    [`'${title}`, `"${title}`, `\`${title}`, `} ${title}`].some((one) => sources.includes(one));
  expect(titles.filter((title) => !isThere(title))).toEqual([]);
});

it('SECURITY.md leads here, and back', () => {
  expect(readFileSync(resolve(docs, '../SECURITY.md'), 'utf8')).toContain('(docs/security.md)');
  expect(page).toContain('(../SECURITY.md)');
});
