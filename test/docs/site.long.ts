import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { inflateSync } from 'node:zlib';
import { jest } from '@jest/globals';
import lunr from 'lunr';

jest.setTimeout(280_000);

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'rt-sms-site-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const typedoc = (...args: string[]) =>
  promisify(execFile)(process.execPath, [join(root, 'node_modules/typedoc/bin/typedoc'), ...args], { cwd: root });

const checkLinks = async (site: string) =>
  (await promisify(execFile)(process.execPath, [join(root, 'docs/check-links.mjs'), site])).stdout;

describe('the site of `npm run docs`', () => {
  const site = join(folder, 'site');
  beforeAll(() => typedoc('--out', site), 280_000);
  const read = (name: string) => readFileSync(join(site, name), 'utf8');

  it('has no link without a target', async () => {
    await expect(checkLinks(site)).resolves.toMatch(/^\d{3} pages, 0 dead links\n$/);
    // A page and an anchor that do not exist are found, also within one page.
    const broken = join(folder, 'broken');
    mkdirSync(broken);
    const links = ['page.html#there', '#there', 'gone.html', '#gone', 'page.html#lost', 'https://localhost/gone'];
    writeFileSync(
      join(broken, 'page.html'),
      `<p id="there">${links.map((link) => `<a href="${link}">link</a>`).join('')}`,
    );
    await expect(checkLinks(broken)).rejects.toMatchObject({
      code: 1,
      stderr: ['gone.html', '#gone', 'page.html#lost'].map((link) => `page.html: dead link ${link}\n`).join(''),
    });
  });

  it.each([
    ['RtSmsRecorder', 'RtSmsRecorder'],
    ['pumping', 'Send policy'],
    ['proxy_pass', 'nginx in front of the callback'],
    ['overdueAfterMs', 'Sending'],
    ['симулятор', 'От пустой папки до доставленного сообщения'],
    ['идемпотентности', 'Введение'],
  ])('finds %s in “%s”', (word, page) => {
    const data = /"(.*)"/.exec(read('assets/search.js'))![1]!;
    const { rows, index } = JSON.parse(inflateSync(Buffer.from(data, 'base64')).toString()) as {
      rows: { name: string; url: string }[];
      index: object;
    };
    const search = lunr.Index.load(index);
    // As the page searches: each word as a part of words.
    const found = search.query((query) => {
      query.term(word.toLowerCase(), {
        wildcard: lunr.Query.wildcard.LEADING | lunr.Query.wildcard.TRAILING,
      });
    });
    const names = found.map(({ ref }) => rows[Number(ref)]!.name);
    expect(names).toContain(page);
    expect(names.length).toBeLessThan(rows.length / 2);
    expect(search.search('*nosuchword*')).toEqual([]);
  });

  it('says that its Russian pages are Russian, and shows the pictures of both pages', () => {
    const languageOf = (name: string) => /<html[^>]* lang="(\w+)"/.exec(read(name))?.[1];
    expect(languageOf('index.html')).toBe('en');
    expect(languageOf('documents/Введение.html')).toBe('ru');
    for (const picture of ['media/sample.png', 'media/inbox.png']) expect(read('index.html')).toContain(picture);
  });
});

it('is not built with a link to a page that does not exist', async () => {
  const page = join(folder, 'page.md');
  writeFileSync(page, '# Page\n\n[missing](no-such-page.md)\n');
  const entry = 'libs/rt-sms-otp/src/testing/index.ts';
  const flags = `--entryPoints ${entry} --validation.notExported false --readme none`.split(' ');
  const built = typedoc(...flags, '--projectDocuments', page, '--out', join(folder, 'small'));
  const error = (await built.catch((reason: unknown) => reason)) as { code: number; stdout: string; stderr: string };
  expect(error.code).toBeGreaterThan(0);
  expect(`${error.stdout}${error.stderr}`).toContain('no-such-page.md');
});

it('the list of Russian pages names each page that is only in English, and no page twice', () => {
  const list = readFileSync(join(root, 'docs/ru/README.md'), 'utf8');
  const russian = readdirSync(join(root, 'docs/ru'));
  const english = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md') && !russian.includes(name));
  const links = [...list.matchAll(/\]\(\.\.\/([\w-]+\.md)\)/g)].map((match) => match[1]!);
  expect(links.toSorted()).toEqual(english.toSorted());
});
