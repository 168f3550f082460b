import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const run = promisify(execFile);
const EXECUTABLE = '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A text that would run as a script if a page took it for markup. */
export const XSS = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"\'&amp;';

/** Starts a real Chromium. Run as root, it installs Debian's if it is missing. */
export async function startChromium(): Promise<Browser> {
  if (!existsSync(EXECUTABLE)) {
    if (process.getuid?.() !== 0) {
      throw new Error(`${EXECUTABLE} is missing: install it first, on Debian by "sudo apt-get install -y chromium"`);
    }
    await run('apt-get', ['update']);
    await run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium']);
  }
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
}

/** Opens a new page and records its problems: errors and warnings of the console, and exceptions. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 850 }, locale: 'en-US', ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints };
}

let axe: Promise<string> | undefined;

/** Serious and critical findings of axe-core, one per line. */
export async function seriousFindings(page: Page): Promise<string[]> {
  axe ??= readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(await axe);
  const violations = await page.evaluate<{ id: string; impact: string; nodes: { html: string }[] }[]>(
    'axe.run().then(({ violations }) => violations)',
  );
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}
