// Tests the packed libraries in applications: all ways of building and testing that Nest 11 and 12 generate, on all
// supported versions of Node, on Express and then on Fastify; the README's code in an application of the Nest CLI;
// an application in one file; and an installation with pnpm and with Yarn. Needs the network (npm).
//
//   node test/compat/run.mjs [--app <name>] [--in <folder>]
//
// --in: a folder to keep; installed packages in it are used again.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { bundled } from './bundled.mjs';
import { generated } from './generated.mjs';
import { managed, MANAGERS } from './managers.mjs';
import { pack } from './pack.mjs';

const run = promisify(execFile);
const env = { ...process.env, npm_config_update_notifier: 'false', NODE_OPTIONS: '', FORCE_COLOR: '0' };

const NODES = [20, 22, 24];

const jest = ['node_modules/jest/bin/jest.js', '--runInBand', '--cacheDirectory=.jest'];
const esmJest = ['--experimental-vm-modules', ...jest];
const compiled = ['--require=./globals.js', '--test', 'dist/src/orders.service.spec.js', 'dist/test/app.e2e-spec.js'];

/** An application: a folder of `apps/`, the tsconfigs that it is built with, how it runs its tests, and whether it is bundled. */
const APPS = {
  nest11: { builds: ['nodenext', 'node16', 'commonjs'], test: () => jest, isBundled: true },
  'nest12-jest': { test: () => esmJest, isBundled: true },
  'nest12-vitest': { test: () => ['node_modules/vitest/vitest.mjs', 'run'] },
  // Its `main` checks the reports of @nestjs/observe.
  'nest12-observe': { test: () => ['node_modules/vitest/vitest.mjs', 'run'] },
  // Before Node 24.9 Jest cannot require ES modules, so the compiled tests run on Node's test runner there.
  'nest12-cjs': { test: (node) => (node < 24 ? compiled : esmJest) },
};

const { values: options } = parseArgs({
  options: { app: { type: 'string' }, in: { type: 'string' } },
});
const folder = options.in ? resolve(options.in) : await mkdtemp(join(tmpdir(), 'rt-sms-compat-'));

const rows = Object.entries(APPS)
  .filter(([app]) => app === (options.app ?? app))
  .flatMap(([app, { builds = ['nodenext'], test }]) => builds.map((build) => ({ app, build, test })));
const apps = [...new Set(rows.map(({ app }) => app))];

function npm(cwd, ...args) {
  return run('npm', [...args, '--silent', '--no-audit', '--no-fund'], {
    cwd,
    env,
    shell: process.platform === 'win32',
  });
}

/** Executables of all Node versions: the running one for its major version, the others from npm. */
async function nodes() {
  const own = Number(process.versions.node.split('.')[0]);
  const others = NODES.filter((node) => node !== own);
  const home = join(folder, 'nodes');
  await mkdir(home, { recursive: true });
  const system = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  if (!existsSync(join(home, 'node_modules')))
    await npm(home, 'install', '--no-package-lock', ...others.map((node) => `node${node}@npm:${system}@${node}`));
  const binary = (node) => (node === own ? process.execPath : join(home, `node_modules/node${node}/bin/node`));
  return new Map(NODES.map((node) => [node, binary(node)]));
}

/** Copies an application, installs it with the tarballs, and compiles it with type checks. */
async function install(app, tarballs) {
  const home = join(folder, app);
  for (const entry of ['src', 'test']) await rm(join(home, entry), { recursive: true, force: true });
  await cp(join(import.meta.dirname, 'app'), home, { recursive: true });
  await cp(join(import.meta.dirname, 'apps', app), home, { recursive: true });
  const manifest = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
  for (const file of (await readdir(home, { recursive: true })).filter((name) => /^(src|test).*\.ts$/.test(name))) {
    const text = await readFile(join(home, file), 'utf8');
    // A CommonJS package imports its own files without an extension.
    const own = manifest.type === 'module' ? text : text.replace(/(from '\.[^']*)\.js'/g, "$1'");
    await writeFile(join(home, file), own);
    // They have other names here, so that Jest does not run them in this repository.
    await rename(join(home, file), join(home, file.replace(/test\.ts$/, 'spec.ts')));
  }
  for (const name of ['nestjs-rt-sms', 'nestjs-rt-sms-bullmq', 'nestjs-rt-sms-otp', 'nestjs-rt-sms-testing'])
    await rm(join(home, 'node_modules', name), { recursive: true, force: true });
  await npm(home, 'install', '--no-package-lock', '--prefer-offline', ...tarballs);
}

/** Builds an application once, into the folder `dist`. */
async function build({ app, build: name }) {
  const tsconfig = name === 'nodenext' ? 'tsconfig.json' : `tsconfig.${name}.json`;
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', tsconfig], { cwd: join(folder, app), env });
  return tsconfig;
}

/** Runs the application as deployed, then its tests. */
async function tryOut({ app, build: name, test }, tsconfig, node, binary) {
  const how = { cwd: join(folder, app), env: { ...env, TSCONFIG: tsconfig }, timeout: 120_000 };
  await run(binary, [`${name === 'nodenext' ? 'dist' : `dist-${name}`}/src/main.js`], how);
  await run(binary, test(node), how);
}

/** Builds a row of the table once, and runs it on all versions of Node. */
async function tryRow(row, binaries) {
  const what = `${row.app} ${row.build}`;
  const results = (table[what] = {});
  const tsconfig = await build(row).catch((error) => void failed(`${what}: build`, error));
  for (const [node, binary] of binaries) {
    const column = `Node ${node}`;
    results[column] =
      tsconfig === undefined
        ? '✗'
        : await tryOut(row, tsconfig, node, binary).then(
            () => '✓',
            (error) => failed(`${what} on ${column}`, error),
          );
  }
}

/** Runs the schematic in an application of the Nest CLI. */
async function added(version, packed) {
  const what = `nest ${version} generated, with nest add and by hand`;
  const home = join(folder, `generated-${version}`);
  const tarballs = { core: packed['rt-sms'], testing: packed['rt-sms-testing'], codes: packed['rt-sms-otp'] };
  const result = await generated(version, home, tarballs).then(
    () => '✓',
    (error) => failed(what, error),
  );
  console.log(`${what}: ${result}`);
}

/** Installs the package with another package manager, and sends a message. */
async function tryManager(manager, packed) {
  const result = await managed(manager, join(folder, manager), packed).then(
    () => '✓',
    (error) => failed(manager, error),
  );
  console.log(`${manager}: ${result}`);
}

/** Tests an application in one file. It installs another package in the folder, so it runs last. */
async function tryBundle(app) {
  const result = await bundled(join(folder, app)).then(
    () => '✓',
    (error) => failed(`${app} bundled`, error),
  );
  console.log(`${app}, bundled: ${result}`);
}

/** Runs the tasks in order, with one task per processor at once. */
async function inTurn(tasks) {
  const rest = [...tasks];
  const worker = async () => {
    for (let task = rest.shift(); task; task = rest.shift()) await task();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

const table = {};
const failures = [];
const failed = (what, error) => {
  failures.push(`${what}\n${[error.message, error.stdout, error.stderr].filter(Boolean).join('\n').slice(0, 4_000)}`);
  return '✗';
};
const started = performance.now();
const seconds = () => `${((performance.now() - started) / 1_000).toFixed(0)} s`;

try {
  await mkdir(folder, { recursive: true });
  const [packed, binaries] = await Promise.all([pack(join(folder, 'pack')), nodes()]);
  const tarballs = Object.values(packed);
  await inTurn(apps.map((app) => () => install(app, tarballs)));
  console.log(`${apps.length} applications installed after ${seconds()}`);
  await inTurn([
    ...(options.app ? [] : [11, 12].map((version) => () => added(version, packed))),
    ...(options.app ? [] : Object.keys(MANAGERS).map((manager) => () => tryManager(manager, packed))),
    ...rows.map((row) => () => tryRow(row, binaries)),
  ]);
  await inTurn(apps.filter((app) => APPS[app].isBundled).map((app) => () => tryBundle(app)));
  console.table(Object.fromEntries(rows.map(({ app, build: name }) => [`${app} ${name}`, table[`${app} ${name}`]])));
  for (const failure of failures) console.error(`\n${failure}`);
  console.log(
    `${rows.length * binaries.size} cells, each on both platforms: ${failures.length} failures, ${seconds()}`,
  );
} finally {
  if (!options.in) await rm(folder, { recursive: true, force: true });
}
process.exitCode = failures.length > 0 ? 1 : 0;
