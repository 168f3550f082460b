// npm run release:check: audits, checks, builds and packs, and says what would be published and what stands against it.
// It publishes nothing; how to do that is in CONTRIBUTING.md. --quick only packs; AUDIT=skip leaves the audit out.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const read = (file) => readFileSync(join(import.meta.dirname, file), 'utf8');
const run = (command, args, stdio) =>
  execFileSync(command, args, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
    stdio,
    shell: process.platform === 'win32',
  });

/** Whether a `^` range takes this version. */
function admits(range, version) {
  const [from, to] = [range.replace(/^\^/, ''), version].map((one) => one.split('.').map(Number));
  const fixed = from[0] > 0 ? 1 : from[1] > 0 ? 2 : 3;
  const differs = from.findIndex((part, at) => part !== to[at]);
  return differs === -1 || (differs >= fixed && to[differs] > from[differs]);
}

/** What stands against a release of these manifests: sentences, none if it may go ahead. */
export function problemsOf({ root, libraries, changelog, uncommitted }) {
  const { version } = root;
  const names = new Set(libraries.map(({ name }) => name));
  const heading = changelog.split('\n').find((line) => line.startsWith(`## ${version}`));
  const problems = [];
  if (uncommitted) problems.push(`the tree is not clean:\n${uncommitted}`);
  if (!heading) problems.push(`CHANGELOG.md has no "## ${version}"`);
  else if (!/\d{4}-\d\d-\d\d/.test(heading)) problems.push(`CHANGELOG.md: "${heading}" has no date`);
  for (const library of libraries) {
    const say = (problem) => problems.push(`${library.name}: ${problem}`);
    if (library.version !== version) say(`version ${library.version}, and the workspace is ${version}`);
    for (const [name, range] of Object.entries({ ...library.dependencies, ...library.peerDependencies }))
      if (names.has(name) && !admits(range, version)) say(`${name} "${range}" does not take ${version}`);
    if (library.private) continue;
    if (!library.publishConfig?.provenance) say('publishConfig.provenance is not set');
    if (!library.repository) say('no "repository": provenance needs that of the repository which publishes');
  }
  return problems;
}

/** What has to go well first, the quickest before the rest: a name, and what npm is told to do. */
const AUDIT = ['npm audit of what users install (AUDIT=skip goes on without)', 'test', '--', 'test/supply-chain'];
const STEPS = ['check', 'docs', 'test:compat', 'test:durable'].map((script) => [`npm run ${script}`, 'run', script]);

/** The name of the first step that fails, if one does. */
function failing(steps) {
  const failed = steps.find(([name, ...args]) => {
    console.log(`\n— ${name}`);
    try {
      run('npm', args, 'inherit');
      return false;
    } catch {
      return true;
    }
  });
  return failed?.[0];
}

function main() {
  const quick = process.argv.includes('--quick');
  // Where npm audit cannot look, that is a failure, too, unless somebody said otherwise.
  const audit = (process.env.AUDIT ??= 'required');
  const failed = quick ? undefined : failing(audit === 'skip' ? STEPS : [AUDIT, ...STEPS]);
  if (failed) {
    console.error(`\n✗ ${failed}: failed, see above`);
    process.exit(1);
  }
  const folders = readdirSync(join(import.meta.dirname, 'libs')).map((name) => `./libs/${name}`);
  const libraries = folders.map((folder) => JSON.parse(read(`${folder}/package.json`)));
  const destination = join(import.meta.dirname, 'dist/release');
  mkdirSync(destination, { recursive: true });
  for (const [at, { name, version, private: kept }] of libraries.entries()) {
    if (kept) {
      console.log(`\n${name}@${version} is private: not published`);
      continue;
    }
    const packed = run('npm', ['pack', folders[at], '--json', '--silent', '--pack-destination', destination]);
    const [{ filename, files, size, unpackedSize }] = JSON.parse(packed.slice(packed.indexOf('[')));
    console.log(
      `\n${name}@${version}: dist/release/${filename}, ${size} bytes, ${unpackedSize} unpacked, ${files.length} files`,
    );
    for (const file of files) console.log(`${String(file.size).padStart(8)}  ${file.path}`);
  }
  const uncommitted = run('git', ['status', '--porcelain']).trimEnd();
  const problems = problemsOf({
    root: JSON.parse(read('package.json')),
    libraries,
    changelog: read('CHANGELOG.md'),
    uncommitted,
  });
  if (quick || audit === 'skip') console.log(`\nLeft out: ${quick ? 'audit, checks and tests' : 'the audit'}.`);
  for (const problem of problems) console.error(`\n✗ ${problem}`);
  console.log(problems.length > 0 ? '\nNot ready.' : '\nReady: see CONTRIBUTING.md for how to publish.');
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (process.argv[1] === import.meta.filename) main();
