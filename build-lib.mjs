// Builds the library in the current folder for `require` and for `import`, with nothing in it twice that can be there once:
// of all types, and of a module that works the same for both, there is the CommonJS form, and the ESM form re-exports it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { minifySync, transformSync } from '@swc/core';

// Packages that are one to `require` and `import`, or keep no state. Whatever imports another one has to be there in both
// forms: Nest 12 is ES modules only, which Jest does not require; axios is two libraries, each with classes of its own.
const SAME_FOR_BOTH =
  /^(node:|(class-transformer|class-validator|ipaddr\.js|libphonenumber-js|@opentelemetry\/api|reflect-metadata|rxjs|undici)(\/|$))/;

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync('dist', { recursive: true, force: true });
for (const [format, type, ...how] of [
  ['esm', 'module', '-p', 'tsconfig.build.json', '--declaration', 'false'],
  ['cjs', 'commonjs', '-p', 'tsconfig.cjs.json'],
]) {
  execFileSync(process.execPath, [tsc, ...how, '--sourceMap', 'false'], { stdio: 'inherit' });
  // The folder's own type overrides that of the package, so that Node reads each build as what it is.
  writeFileSync(`dist/${format}/package.json`, JSON.stringify({ type }));
}

const read = (file) => readFileSync(file, 'utf8');
const filesOf = (format, ending) =>
  readdirSync(join('dist', format), { recursive: true })
    .filter((file) => file.endsWith(ending))
    .map((file) => join('dist', format, file));
const IMPORT = /(?<=\b(?:from |import |import\()['"])[^'"]+(?=['"])/g;
/** What a file imports: files of the library as paths, packages by their names. */
const importsOf = (file) =>
  (read(file).match(IMPORT) ?? []).map((name) => (name.startsWith('.') ? join(dirname(file), name) : name));
const isOwn = (name) => name.startsWith('dist');
const sameForBoth = (file) =>
  importsOf(file).every((name) => (isOwn(name) ? sameForBoth(name) : SAME_FOR_BOTH.test(name)));
/** How an ESM file names the CommonJS form of another one, or of itself. */
const twin = (from, file) =>
  relative(dirname(from), join('dist/cjs', relative('dist/esm', file))).replaceAll('\\', '/');
/** Without comments, which are in the types, where editors look for them. The names in a stack trace stay. */
const minify = (code, module) =>
  minifySync(code, {
    module,
    // `!0` for `true` hides re-exports from the lexer of Node 20, by which `import` knows the names of CommonJS.
    compress: { booleans: false, keep_classnames: true, keep_fnames: true, passes: 2 },
    mangle: { keep_classnames: true, keep_fnames: true },
    format: { comments: false },
  }).code;

const { name: own, exports, bin = {} } = JSON.parse(read('package.json'));
const entries = Object.values(exports).filter((entry) => typeof entry === 'object');

const modules = filesOf('esm', '.js');
const programs = Object.values(bin).map((file) => join(file));
const shared = new Set(modules.filter((file) => sameForBoth(file) && !programs.includes(file)));
for (const file of modules) {
  const imported = (name) => (shared.has(join(dirname(file), name)) ? twin(file, join(dirname(file), name)) : name);
  if (!shared.has(file)) writeFileSync(file, minify(read(file).replace(IMPORT, imported), true));
  else if (entries.some((entry) => join(entry.import.default) === file))
    writeFileSync(file, `export * from '${twin(file, file)}';\n`);
  else rmSync(file);
}
for (const file of filesOf('cjs', '.js')) writeFileSync(file, minify(read(file), false));

// Of the types, those that a user can come to.
const reached = new Set(entries.map((entry) => join(entry.require.types)));
for (const file of reached) {
  for (const name of importsOf(file).filter(isOwn)) reached.add(name.replace(/\.js$/, '.d.ts'));
}
for (const file of filesOf('cjs', '.d.ts')) if (!reached.has(file)) rmSync(file);
for (const {
  import: { types, default: file },
} of entries)
  writeFileSync(types, `export * from '${twin(file, join(file))}';\n`);

// Schematics are small programs of the Nest CLI's.
if (existsSync('schematics')) {
  mkdirSync('dist/schematics');
  for (const file of readdirSync('schematics')) {
    const code = read(join('schematics', file));
    writeFileSync(join('dist/schematics', file), file.endsWith('.cjs') ? minify(code, false) : code);
  }
}

// A program over the library, beside its sources: nobody imports it, so there is one form, without types and names.
if (existsSync('terminal')) {
  mkdirSync('dist/esm/terminal');
  for (const file of readdirSync('terminal').filter((name) => /(?<!\.spec)\.ts$/.test(name))) {
    const library = (name) => (name === own ? '../index.js' : name);
    const { code } = transformSync(read(join('terminal', file)).replace(IMPORT, library), {
      swcrc: false,
      minify: true,
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript' },
        transform: { useDefineForClassFields: false },
        minify: { compress: true, mangle: true, format: { comments: false } },
      },
    });
    writeFileSync(join('dist/esm/terminal', file.replace(/ts$/, 'js')), code);
  }
}
