// node docs/check-links.mjs <folder>: fails if a link of the finished site has no target. TypeDoc checks links to other pages
// before it renders them; this also covers anchors within a page, and what the theme adds.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';

const site = resolve(process.argv[2] ?? 'dist/site');
const names = readdirSync(site, { recursive: true }).filter((name) => name.endsWith('.html'));
const pages = new Map(names.map((name) => [resolve(site, name), readFileSync(resolve(site, name), 'utf8')]));

const isDead = (file, link) => {
  if (/^(https?|data|mailto):/.test(link)) return false;
  const [path, anchor] = link.split('#').map(decodeURIComponent);
  const target = path ? resolve(file, '..', path) : file;
  const page = pages.get(target);
  return !existsSync(target) || (anchor && page !== undefined && !page.includes(`id="${anchor}"`));
};

const dead = [...pages].flatMap(([file, html]) => {
  const links = [...html.matchAll(/\s(?:href|src)="([^"]*)"/g)].map(([, link]) => link.replaceAll('&amp;', '&'));
  return [...new Set(links)]
    .filter((link) => isDead(file, link))
    .map((link) => `${relative(site, file)}: dead link ${link}`);
});
console.log(`${pages.size} pages, ${dead.length} dead links`);
for (const line of dead) console.error(line);
process.exitCode = dead.length > 0 || pages.size === 0 ? 1 : 0;
