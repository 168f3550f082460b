// Packs the libraries in a copy like a fresh clone after `npm ci`: `npm pack` builds, and must not replace the build that
// another process uses.
//
//   node test/compat/pack.mjs <folder>      prints the paths of the tarballs as JSON
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const isSource = (path) => !/[\\/](dist|node_modules)$/.test(path);

/** Paths of the tarballs, by folder in `libs`. */
export async function pack(folder) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const modules = join(folder, 'node_modules');
  await mkdir(modules);
  // The libraries find each other in the copy: those of the original may not be built.
  for (const name of await readdir(join(root, 'node_modules'))) {
    const library = /^nestjs-(rt-sms.*)$/.exec(name)?.[1];
    const at = library === undefined ? join(root, 'node_modules', name) : join(folder, 'libs', library);
    await symlink(at, join(modules, name), 'junction');
  }
  for (const entry of ['package.json', 'tsconfig.base.json', 'build.mjs', 'libs'])
    await cp(join(root, entry), join(folder, entry), { recursive: true, filter: isSource });
  // Packed one by one, the engine before the core that it depends on: no package needs another one to be built.
  const packed = {};
  for (const name of (await readdir(join(folder, 'libs'))).toSorted().toReversed()) {
    const args = ['pack', '-w', `nestjs-${name}`, '--json', '--silent', '--pack-destination', folder];
    const { stdout } = await run('npm', args, {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '' },
      shell: process.platform === 'win32',
    });
    packed[name] = join(folder, /"filename": "(.*)"/.exec(stdout)[1]);
  }
  return packed;
}

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(await pack(resolve(process.argv[2]))));
