// Each page of docs/recipes has a test that runs its code, and the list of recipes names each page.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { filesOf } from './page.js';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const pages = readdirSync(join(root, 'docs/recipes')).filter((name) => name !== 'README.md');
const tests = [
  ...readdirSync(join(root, 'test/recipes')).map((name) => `test/recipes/${name}`),
  'test/compat/managers.mjs',
].map(read);

it.each(pages)('%s is in the list of recipes, and has a test for all of its code', (name) => {
  const page = read(`docs/recipes/${name}`);
  expect(read('docs/recipes/README.md')).toContain(`](${name})`);
  expect(tests.filter((test) => test.includes(`'docs/recipes/${name}'`))).toHaveLength(1);
  // Blocks without a name could not be run; commands are checked with those of the other pages.
  const blocks = [...page.matchAll(/^ *```(\w+)$/gm)].filter(([, language]) => language !== 'sh');
  expect([...filesOf(`docs/recipes/${name}`).keys()]).toHaveLength(blocks.length);
});
