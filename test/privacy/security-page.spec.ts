import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { MAX_UNKNOWN_UIDS } from 'nestjs-rt-sms/engine';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(resolve(root, 'docs/security.md'), 'utf8');

/** The rows of the table of threats. */
const rows = page
  .slice(page.indexOf('## Threats'), page.indexOf('## Remaining risks'))
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| threat'));

/** The test files that a row names, and the titles in its last cell. */
const proofsOf = (row: string) => ({
  files: [...row.matchAll(/\]\(\.\.\/([^)]+\.(?:spec|e2e|long)\.ts)\)/g)].map(([, file]) => file!),
  titles: [
    ...row
      .split(' | ')
      .at(-1)!
      .matchAll(/(?<!\*)\*([^*]+)\*(?!\*)/g),
  ].map(([, title]) => title!),
});

/**
 * Titles of the tests that run in this source, without comments, skipped tests and todos, also if a parent is skipped; an
 * empty list if `only` is used.
 */
function titlesIn(source: string): string[] {
  const titles: (string | undefined)[] = [];
  let only = false;
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [name = '', ...modifiers] = namesOf(node.expression);
      if (/^x(it|test|describe)$/.test(name) || modifiers.some((one) => one === 'skip' || one === 'todo')) return;
      only ||= /^f(it|describe)$/.test(name) || modifiers.includes('only');
      if (name === 'it' || name === 'test') titles.push(titleOf(node.arguments[0]));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('source.ts', source, ts.ScriptTarget.Latest));
  return only ? [] : titles.filter((title) => title !== undefined);
}

/** The names in a call: `it.each(rows)` has it and each. */
function namesOf(node: ts.Expression): string[] {
  if (ts.isIdentifier(node)) return [node.text];
  if (ts.isPropertyAccessExpression(node)) return [...namesOf(node.expression), node.name.text];
  if (ts.isCallExpression(node)) return namesOf(node.expression);
  return ts.isTaggedTemplateExpression(node) ? namesOf(node.tag) : [];
}

/** The title of a test, with `…` for the values of a template. */
function titleOf(node: ts.Expression | undefined): string | undefined {
  if (!node || ts.isStringLiteralLike(node)) return node?.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return [node.head, ...node.templateSpans.map(({ literal }) => literal)].map(({ text }) => text).join('…');
}

it('has threats enough to be read', () => expect(rows.length).toBeGreaterThanOrEqual(18));

it.each(rows.map((row) => [row.split(' | ')[0]!.slice(2), row]))('a test proves the control against: %s', (_, row) => {
  const { files, titles } = proofsOf(row);
  expect(files.length).toBeGreaterThan(0);
  expect(files.filter((file) => !existsSync(resolve(root, file)))).toEqual([]);
  const run = files.flatMap((file) => titlesIn(readFileSync(resolve(root, file), 'utf8')));
  expect(titles.filter((title) => !run.includes(title))).toEqual([]);
});

/** The test file and the title that a sentence outside of the table names. */
const sentences = [...page.matchAll(/\]\(\.\.\/([^)]+\.(?:spec|e2e|long)\.ts)\): \*([^*]+)\*/g)]
  .filter(([found]) => !rows.some((row) => row.includes(found)))
  .map(([, file, title]) => [file!, title!] as const);

it('has sentences beside the table that name a test', () => expect(sentences.length).toBeGreaterThanOrEqual(4));

it.each(sentences)('a sentence is proved by %s: %s', (file, title) =>
  expect(titlesIn(readFileSync(resolve(root, file), 'utf8'))).toContain(title),
);

it('names the versions of Node that every package takes', () => {
  const [, versions] = /^`([^`]+)`/m.exec(page.slice(page.indexOf('## Supported versions of Node')))!;
  for (const folder of ['', ...readdirSync(resolve(root, 'libs')).map((library) => `libs/${library}/`)]) {
    const { engines } = JSON.parse(readFileSync(resolve(root, `${folder}package.json`), 'utf8')) as {
      engines: { node: string };
    };
    expect([folder, engines.node]).toEqual([folder, versions]);
  }
});

it('says of invented uids what both engines have as their limit', () => {
  const [sentence = ''] = /\*\*A leaked callback secret\*\*[^]*?\n- /.exec(page) ?? [];
  expect(sentence.match(/\d+,\d{3}/g)).toEqual(['10,000', '10,000']);
  expect(MAX_UNKNOWN_UIDS).toBe(10_000);
});

describe('a test that is named', () => {
  it.each([
    "it('a title', () => {})",
    "test('a title', async () => {})",
    'it(`a title`, () => {})',
    "it.each(rows)('a title', () => {})",
    "describe.each([1])('%s', () => { describe('x', () => { it('a title', () => {}) }) })",
  ])('runs: %s', (source) => expect(titlesIn(source)).toContain('a title'));

  it.each([
    "// it('a title', () => {})",
    "const title = 'a title';",
    "it('a title that is longer', () => {})",
    "it('a title: %s', () => {})",
    "describe('a title', () => {})",
    "it.skip('a title', () => {})",
    "it.todo('a title')",
    "xit('a title', () => {})",
    "it.skip.each([1])('a title', () => {})",
    "it.each([1]).skip('a title', () => {})",
    "describe.skip('x', () => { it('a title', () => {}) })",
    "xdescribe('x', () => { it('a title', () => {}) })",
    "it('a title', () => {}); it.only('another', () => {})",
    "it('a title', () => {}); fit('another', () => {})",
    'it(`${a} title`, () => {})',
  ])('does not: %s', (source) => expect(titlesIn(source)).not.toContain('a title'));
});

it('names what a template puts into a title …', () => expect(titlesIn('it(`${a} b ${c}`)')).toEqual(['… b …']));

it('SECURITY.md leads here, and back', () => {
  expect(readFileSync(resolve(root, 'SECURITY.md'), 'utf8')).toContain('(docs/security.md)');
  expect(page).toContain('(../SECURITY.md)');
});
