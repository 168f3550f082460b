// Packs the libraries in a copy: `npm pack` builds, and must not take the build from under somebody else.
//
//   node test/compat/pack.mjs <folder>      prints the paths of the tarballs as JSON
import { execFile } from 'node:child_process';
import { cp, mkdir, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const CORE = 'rt-sms';
const OTHERS = ['rt-sms-bullmq', 'rt-sms-testing'];

/** The tarballs, by the folders in `libs`. */
export async function pack(folder) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, 'libs/node_modules'), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const file of ['tsconfig.base.json', 'build-lib.mjs']) await cp(join(root, file), join(folder, file));
  const packed = async (name) => {
    const library = join(folder, 'libs', name);
    const skipped = ['dist', 'node_modules'].map((entry) => join(root, 'libs', name, entry));
    await cp(join(root, 'libs', name), library, { recursive: true, filter: (path) => !skipped.includes(path) });
    const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
      cwd: library,
      env: { ...process.env, NODE_OPTIONS: '' },
      shell: process.platform === 'win32',
    });
    return [name, join(folder, JSON.parse(stdout.slice(stdout.indexOf('[')))[0].filename)];
  };
  const core = await packed(CORE);
  // The engine is compiled against the core that was built here: in a fresh clone there is no other.
  await symlink(join(folder, 'libs', CORE), join(folder, 'libs/node_modules', 'nestjs-rt-sms'), 'junction');
  return Object.fromEntries([core, ...(await Promise.all(OTHERS.map(packed)))]);
}

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(await pack(resolve(process.argv[2]))));
