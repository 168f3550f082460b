import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '../..');

/** Code of a page. A block that begins with the name of its file (`// src/main.ts`, `# shop.conf`) belongs to it. */
export interface Page {
  /** Text of one file. */
  text(file: string): string;
  /** Module of one TypeScript file, with those that it imports. */
  module<T>(file: string): Promise<T>;
  /** A process that runs one TypeScript file. */
  run(file: string, env: NodeJS.ProcessEnv): ChildProcess;
}

/** Files of a page, by their names. */
export function filesOf(page: string): Map<string, string> {
  const text = readFileSync(join(root, page), 'utf8');
  const blocks = [...text.matchAll(/^ *```\w+\n(?:\/\/|#) (\S+\.\w+)\n([^]*?)^ *```$/gm)];
  return new Map(blocks.map(([, file, code]) => [file!, code!]));
}

/**
 * The page, written into a temporary folder in which its packages are found. At the end of the suite each of its files must
 * have been used.
 */
export function pageOfSuite(page: string): Page {
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-page-'));
  const files = filesOf(page);
  const unused = new Set(files.keys());
  for (const [file, code] of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), code);
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');

  const use = (file: string): string => {
    const code = files.get(file);
    if (code === undefined) throw new Error(`${page} has no ${file}, but ${[...files.keys()].join(', ')}`);
    if (!unused.delete(file)) return code;
    for (const [, imported] of code.matchAll(/from '(\.[^']*)\.js'/g)) use(join(dirname(file), `${imported}.ts`));
    return code;
  };
  afterAll(() => {
    rmSync(folder, { recursive: true });
    if (unused.size > 0)
      throw new Error(`Of ${page}, no test has run ${[...unused].join(', ')} (with -t that is expected)`);
  });
  return {
    text: use,
    module: (file) => {
      use(file);
      return import(join(folder, file));
    },
    run: (file, env) => {
      use(file);
      const loader = pathToFileURL(join(root, 'test/child/ts.mjs')).href;
      return spawn(process.execPath, ['--import', loader, join(folder, file)], {
        cwd: folder,
        env: { PATH: process.env['PATH'], ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    },
  };
}
