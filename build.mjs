// Builds the library in the current folder, after `tsc` has written its types: the entries of its package.json as ES modules
// and as CommonJS, with types next to each, and its programs as ES modules. Each form shares its code in a few chunks, because
// importing every source file separately takes three times as much time.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import { build, transformSync } from 'esbuild';

const nameOf = (file) => /dist\/esm\/(.*)\.js$/.exec(file)[1];
const sourceOf = (name) => [`./src/${name}.ts`, `./${name}.ts`].find((file) => existsSync(file));
const read = (file) => readFileSync(file, 'utf8');
const withTabs = (text, width) =>
  text.replaceAll(new RegExp(`^( {${width}})+`, 'gm'), (spaces) => '\t'.repeat(spaces.length / width));
/** These files and everything that they import, directly or indirectly. */
function reachable(files, next) {
  const reached = new Set(files);
  for (const file of reached) for (const other of next(file)) reached.add(other);
  return [...reached];
}
const { exports, bin = {} } = JSON.parse(read('package.json'));
const entries = Object.values(exports).flatMap((entry) => (entry.import ? [nameOf(entry.import.default)] : []));
const programs = Object.values(bin).map(nameOf);
const readable = { charset: 'utf8', lineLimit: 120, sourcemap: true, sourcesContent: false, logLevel: 'warning' };
const common = { ...readable, platform: 'node', target: 'node20', metafile: true };
for (const format of ['esm', 'cjs']) rmSync(`dist/${format}`, { recursive: true, force: true });

const esm = await build({
  ...common,
  entryPoints: Object.fromEntries([...entries, ...programs].map((name) => [name, sourceOf(name)])),
  outdir: 'dist/esm',
  format: 'esm',
  bundle: true,
  splitting: true,
  packages: 'external',
  // Files that both forms use unchanged; they are published at their place in the source.
  external: ['./src/*.cjs', './page/*.cjs'],
  tsconfig: '../../tsconfig.base.json', // The library's own has `paths`, by which others would be bundled.
});
// esbuild can split only ES modules, so the chunks that the entries need are converted. Jest cannot run import() in CommonJS.
const { outputs } = esm.metafile;
const importsOf = (file) => outputs[file].imports.flatMap(({ path, external }) => (external ? [] : [path]));
const entryPoints = reachable(
  entries.map((name) => `dist/esm/${name}.js`),
  importsOf,
);
const supported = { 'dynamic-import': false };
const cjs = await build({ ...common, entryPoints, outbase: 'dist/esm', outdir: 'dist/cjs', format: 'cjs', supported });
writeFileSync('dist/cjs/package.json', '{ "type": "commonjs" }\n');

// A source map of the lines with code is enough for stack traces. Tabs take half of two spaces.
const minified = (code) => transformSync(code, { minify: true }).code;
for (const file of Object.keys({ ...outputs, ...cjs.metafile.outputs })) {
  const text = read(file);
  if (file.endsWith('.js')) {
    // Not in a file with an indented template literal, whose text would change.
    if (minified(text) === minified(withTabs(text, 2))) writeFileSync(file, withTabs(text, 2));
  } else {
    const [map, code] = [JSON.parse(text), read(file.slice(0, -4)).split('\n')];
    const first = ([segment]) => (segment ? [[0, ...segment.slice(1, 4)]] : []);
    const lines = decode(map.mappings).map((line, at) => (/^[\s)\]};,]*$/.test(code[at]) ? [] : first(line)));
    writeFileSync(file, JSON.stringify({ ...map, names: [], mappings: encode(lines) }));
  }
}

const typesOf = (file) =>
  [...read(join('dist/types', file)).matchAll(/(?:from |import\()['"](\.[^'"]*)\.js['"]/g)].map(([, path]) =>
    join(dirname(file), `${path}.d.ts`),
  );
// The types are the same for both forms, so the ES modules refer to those of CommonJS.
const declarations = entries.map((name) => `${name}.d.ts`);
const writeTypes = (form, file, text) => {
  mkdirSync(dirname(join('dist', form, file)), { recursive: true });
  writeFileSync(join('dist', form, file), text);
};
for (const file of reachable(declarations, typesOf))
  writeTypes('cjs', file, withTabs(read(join('dist/types', file)), 4));
for (const file of declarations) {
  const cjs = relative(dirname(join('dist/esm', file)), join('dist/cjs', file)).replaceAll('\\', '/');
  writeTypes('esm', file, `export * from '${cjs.replace(/d\.ts$/, 'js')}';\n`);
}
