import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { transformFile } from '@swc/core';

/**
 * A separate folder to compile into, from which the packages of a workspace can be resolved. So the test does not need an
 * earlier build, cannot use a stale one, and does not conflict with another test that builds `dist` at the same time.
 */
export async function compiledFolder(
  name: string,
  workspace = '.',
): Promise<{ folder: string; remove: () => Promise<void> }> {
  const cache = join(workspace, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(process.cwd(), cache, `${name}-`));
  return { folder, remove: () => rm(folder, { recursive: true }) };
}

/** Compiles a folder without its specs and without type checks, which `npm run lint` does. Browser files are copied. */
export async function compile(from: string, to: string): Promise<void> {
  const files = await readdir(from, { recursive: true });
  for (const file of files.filter((name) => /\.(html|css|js|cjs)$/.test(name)))
    await cp(join(from, file), join(to, file));
  for (const file of files.filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))) {
    const { code } = await transformFile(join(from, file), {
      swcrc: false,
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
      },
      module: { type: 'es6' },
    });
    const target = join(to, file.replace(/ts$/, 'js'));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, code);
  }
}

/** Compiles a library to its place after installation. The files of its page are read relative to the build. */
export async function compileLibrary(name: string, to: string): Promise<void> {
  const source = join('libs', name);
  await compile(join(source, 'src'), join(to, 'dist/esm'));
  await cp(join(source, 'package.json'), join(to, 'package.json'));
  const page = join(source, 'page');
  if (existsSync(page)) await cp(page, join(to, 'dist/page'), { recursive: true });
}
