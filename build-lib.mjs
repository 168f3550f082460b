// Builds the library in the current folder for `require` and for `import`, with nothing in it twice that can be there once:
// of all types, and of a module that works the same for both, there is the CommonJS form, and the ESM form imports it.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { minifySync } from '@swc/core';
import { build } from 'esbuild';

// Packages that are one to `require` and `import`, or keep no state. Whatever imports another one has to be there in both
// forms: Nest 12 is ES modules only, which Jest does not require; axios is two libraries, each with classes of its own.
const SAME_FOR_BOTH =
  /^(node:|(class-transformer|class-validator|ipaddr\.js|libphonenumber-js|reflect-metadata|rxjs|undici)(\/|$))/;
/** What is there once is one file: many small ones cost an application more to load than what is in them. */
const CORE = 'dist/cjs/core.js';
/** `import` reads a file of CommonJS for its names before it runs it; here they are, and little else. */
const NAMES = 'dist/cjs/names.js';

const require = createRequire(import.meta.url);
const read = (file) => readFileSync(file, 'utf8');
const { name: own, exports, bin = {} } = JSON.parse(read('package.json'));
const entries = Object.values(exports).filter((entry) => typeof entry === 'object');
const pathTo = (to, from) =>
  relative(dirname(from), to)
    .replaceAll('\\', '/')
    .replace(/^(?!\.)/, './');
const sourceOf = (file) => {
  const source = relative('dist/esm', file).replace(/js$/, 'ts');
  return existsSync(join('src', source)) ? join('src', source) : source;
};
/** Without comments, which are in the types, where editors look for them. The names in a stack trace stay. */
const minify = (code, module) =>
  minifySync(code, {
    module,
    compress: { keep_classnames: true, keep_fnames: true, passes: 2, toplevel: true },
    mangle: { keep_classnames: true, keep_fnames: true, toplevel: true },
    format: { comments: false },
  }).code;

/** The files of a page, and what tells where they are, are copied beside the builds. */
const pageFolder = {
  name: 'page-folder',
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/page\/folder\.cjs$/ }, () => ({ path: '../page/folder.cjs', external: true })),
};
const bundle = async ({ plugins = [], ...options }) => {
  const { outputFiles, metafile } = await build({
    plugins: [pageFolder, ...plugins],
    bundle: true,
    // Errors, Nest's log and OpenAPI show them.
    keepNames: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    tsconfig: 'tsconfig.build.json',
    outdir: 'dist',
    metafile: true,
    write: false,
    ...options,
  });
  return { outputs: outputFiles.map(({ path, text }) => [basename(path), text]), inputs: metafile.inputs };
};
/** All that came of one entry, which has the name of `file`, beside it. */
const write = (file, outputs, format) => {
  mkdirSync(dirname(file), { recursive: true });
  for (const [name, code] of outputs)
    writeFileSync(outputs.length > 1 ? join(dirname(file), name) : file, minify(code, format === 'esm'));
};

rmSync('dist', { recursive: true, force: true });
if (existsSync('page')) cpSync('page', 'dist/page', { recursive: true });
const tsc = require.resolve('typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', 'dist/cjs'], {
  stdio: 'inherit',
});
// The folder's own type overrides that of the package, so that Node reads each build as what it is.
mkdirSync('dist/esm');
writeFileSync('dist/esm/package.json', JSON.stringify({ type: 'module' }));
writeFileSync('dist/cjs/package.json', JSON.stringify({ type: 'commonjs' }));

const programs = Object.values(bin).map((file) => join(file));
const files = [...entries.map((entry) => join(entry.import.default)), ...programs];
const [main] = files;
const sources = files.map(sourceOf);
const { inputs } = await bundle({ entryPoints: sources, format: 'esm' });
// Of esbuild itself is what helps with decorators.
const isSame = (name) => name === '<runtime>' || name.endsWith('folder.cjs') || SAME_FOR_BOTH.test(name);
const sameForBoth = (file) =>
  inputs[file].imports.every(({ path, external }) => (external ? isSame(path) : sameForBoth(path)));
const isOwn = (file) => file.startsWith('src/');
const shared = Object.keys(inputs).filter((file) => isOwn(file) && !sources.includes(file) && sameForBoth(file));

if (shared.length > 0) {
  const contents = shared.map((file) => `export * from './${file}';`).join('\n');
  // Jest's CommonJS knows no import().
  const supported = { 'dynamic-import': false };
  const { outputs } = await bundle({ stdin: { contents, resolveDir: '.' }, format: 'cjs', supported });
  write(CORE, outputs, 'cjs');
  const names = Object.keys(require(resolve(CORE)));
  const lines = names.map((name) => `exports.${name}=core.${name};\n`);
  writeFileSync(NAMES, `'use strict';const core=require('./core.js');\n${lines.join('')}`);
}

/** What a file takes from others: of what is there once from there, and what it shares with the main entry from that one. */
const takenFrom = (file, format) => ({
  name: 'taken',
  setup({ onResolve }) {
    const from = (target) => ({ path: pathTo(target, file), external: true });
    const mainFile = main.replace('esm', format);
    onResolve({ filter: /^\./ }, ({ path, resolveDir, kind }) => {
      if (kind === 'entry-point') return undefined;
      const source = relative('.', join(resolveDir, path)).replace(/js$/, 'ts');
      if (shared.includes(source)) return from(format === 'esm' ? NAMES : CORE);
      return isOwn(source) && file !== mainFile ? from(mainFile) : undefined;
    });
    onResolve({ filter: new RegExp(`^${own}$`) }, () => from(mainFile));
  },
});
for (const file of files) {
  // A program is run, and imported by nobody; what it imports late, it loads late.
  const isProgram = programs.includes(file);
  for (const format of isProgram ? ['esm'] : ['esm', 'cjs']) {
    const target = file.replace('esm', format);
    const plugins = [takenFrom(target, format)];
    const { outputs } = await bundle({ entryPoints: [sourceOf(file)], format, plugins, splitting: isProgram });
    write(target, outputs, format);
  }
}

// A name that one file takes from another, which does not have it, is no error of the bundler's.
for (const entry of entries) await import(pathToFileURL(resolve(entry.import.default)));

// Of the types, those that a user can come to.
const typesOf = (file) =>
  [...read(file).matchAll(/(?<=\b(?:from |import\()['"])\.[^'"]+(?=\.js['"])/g)].map(([name]) =>
    join(dirname(file), `${name}.d.ts`),
  );
const reached = new Set(entries.map((entry) => join(entry.require.types)));
for (const file of reached) for (const other of typesOf(file)) reached.add(other);
for (const file of readdirSync('dist/cjs', { recursive: true }).map((name) => join('dist/cjs', name)))
  if (file.endsWith('.d.ts') && !reached.has(file)) rmSync(file);
for (const entry of entries) {
  const { types } = entry.import;
  writeFileSync(types, `export * from '${pathTo(entry.require.default, types)}';\n`);
}

// Schematics are small programs of the Nest CLI's.
if (existsSync('schematics')) {
  mkdirSync('dist/schematics');
  for (const file of readdirSync('schematics')) {
    const code = read(join('schematics', file));
    writeFileSync(join('dist/schematics', file), file.endsWith('.cjs') ? minify(code, false) : code);
  }
}
