// Builds the library in the current folder twice, as ESM and as CommonJS, each with types of its own.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { rmSync, writeFileSync } from 'node:fs';

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync('dist', { recursive: true, force: true });
for (const [config, format] of [
  ['tsconfig.build.json', 'esm'],
  ['tsconfig.cjs.json', 'cjs'],
]) {
  execFileSync(process.execPath, [tsc, '-p', config], { stdio: 'inherit' });
  // The folder's own type overrides that of the package, so that Node reads each build as what it is.
  writeFileSync(`dist/${format}/package.json`, JSON.stringify({ type: format === 'esm' ? 'module' : 'commonjs' }));
}
