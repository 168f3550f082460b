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

// What is there once is one file: many small ones cost an application more to load than what is in them. `import` reads a
// file of CommonJS for its names before it runs, so they stand in another one.
const CORE = 'dist/cjs/core.js';
const NAMES = 'dist/cjs/names.js';
const path = (from, to) => `./${relative(dirname(from), to)}`.replaceAll('\\', '/').replace('./../', '../');
const cjsOf = (file) => join('dist/cjs', relative('dist/esm', file));
const isEntry = (file) => entries.some(({ require: { default: name } }) => join(name) === file);
/** With its requires of the library's own files replaced. */
const requiring = (file, replace) =>
  read(file).replace(/\brequire\("(\.[^"]+)"\)/g, (was, name) => replace(join(dirname(file), name)) ?? was);
const namesOf = (file) => [...new Set([...read(file).matchAll(/\bexports\.(\w+) = /g)].map(([, name]) => name))];
const passedOn = (names, from) =>
  `'use strict';\nconst core = require('${from}');\n${names.map((name) => `exports.${name} = core.${name};\n`).join('')}`;

const once = new Set([...shared].map(cjsOf));
// An entry only passes on what others export.
const bundled = [...once].filter((file) => !isEntry(file));
const names = bundled.flatMap(namesOf);
const twice = names.filter((name, at) => names.indexOf(name) !== at);
if (twice.length > 0) throw new Error(`Exported by two modules: ${twice.join(', ')}`);
const bodies = bundled.map((file) => `'${file}'(exports) {${requiring(file, (name) => `load('${name}')`)}}`);
for (const file of filesOf('cjs', '.js')) {
  const core = (name) => (once.has(name) ? `require('${path(file, CORE)}')` : undefined);
  if (!once.has(file)) writeFileSync(file, requiring(file, core));
  else if (isEntry(file)) writeFileSync(file, passedOn(namesOf(file), path(file, CORE)));
  else rmSync(file);
}
if (bundled.length > 0) {
  writeFileSync(NAMES, passedOn(names, './core.js'));
  writeFileSync(
    CORE,
    `'use strict';
const modules = {${bodies.join(',\n')}};
const loaded = {};
function load(name) {
  if (!loaded[name]) modules[name]((loaded[name] = {}));
  return loaded[name];
}
for (const name in modules) Object.assign(exports, load(name));`,
  );
}
for (const file of modules) {
  const imported = (name) => (shared.has(join(dirname(file), name)) ? path(file, NAMES) : name);
  if (!shared.has(file)) writeFileSync(file, minify(read(file).replace(IMPORT, imported), true));
  else if (isEntry(cjsOf(file))) writeFileSync(file, `export * from '${path(file, cjsOf(file))}';\n`);
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
  writeFileSync(types, `export * from '${path(file, cjsOf(join(file)))}';\n`);

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
