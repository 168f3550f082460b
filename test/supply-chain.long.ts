import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '..');
const LIBRARIES = readdirSync(join(root, 'libs'));
const LICENCES = ['MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', '0BSD'];
/** Scripts that npm would run on a user's machine. */
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare', 'preprepare', 'postprepare'];

interface Manifest {
  name: string;
  version: string;
  license?: string | { type: string };
  files?: string[];
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}
const manifestIn = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** The folder in which Node finds a package from here; for our own libraries, the source folder, linked or not. */
function find(name: string, from: string): string | undefined {
  const own = LIBRARIES.find((library) => name === `nestjs-${library}`);
  if (own) return join(root, 'libs', own);
  const folder = join(from, 'node_modules', name);
  if (existsSync(join(folder, 'package.json'))) return folder;
  return from === dirname(from) ? undefined : find(name, dirname(from));
}

/** All packages that an installation of the library adds, by folder, including peers, which npm installs. */
function broughtBy(folder: string, found = new Map<string, Manifest>()): Map<string, Manifest> {
  const manifest = manifestIn(folder);
  const optional = Object.keys(manifest.optionalDependencies ?? {});
  const peers = Object.keys(manifest.peerDependencies ?? {}).filter(
    (name) => manifest.peerDependenciesMeta?.[name]?.optional !== true,
  );
  for (const name of [...Object.keys(manifest.dependencies ?? {}), ...peers, ...optional]) {
    const place = find(name, folder);
    if (place === undefined) {
      // Optional packages for other systems are not installed.
      if (!optional.includes(name)) throw new Error(`${name}, which ${manifest.name} needs, is not installed`);
    } else if (!found.has(place)) {
      found.set(place, manifestIn(place));
      broughtBy(place, found);
    }
  }
  return found;
}
const licenceOf = ({ license }: Manifest) => (typeof license === 'object' ? license.type : license) ?? 'none';
const isFree = (licence: string) =>
  licence
    .replace(/^\((.*)\)$/, '$1')
    .split(' OR ')
    .some((one) => LICENCES.includes(one));

/** The packages with an install script that docs/security.md names in the row of this package. */
function scriptedInPage(name: string): string[] {
  const page = readFileSync(join(root, 'docs/security.md'), 'utf8');
  const [, , rows = ''] = /## What runs at installation\n([^]*?)\n(\|[^]*?)\n\n/.exec(page)!;
  const row = rows.split('\n').find((line) => line.startsWith(`| ${name} |`));
  if (row === undefined) throw new Error(`docs/security.md says nothing of ${name}`);
  return [...row.split('|')[2]!.matchAll(/`([^`]+)`/g)].map(([, one]) => one!);
}

describe.each(LIBRARIES)('what comes with %s', (library) => {
  const folder = join(root, 'libs', library);
  const brought = broughtBy(folder);

  it('has licences that any application may use', () => {
    const others = [...brought].flatMap(([place, manifest]) =>
      isFree(licenceOf(manifest)) ? [] : [`${relative(root, place)}: ${licenceOf(manifest)}`],
    );
    expect(others).toEqual([]);
    expect(licenceOf(manifestIn(folder))).toBe('MIT');
  });

  it('runs at installation what docs/security.md says, and nothing of ours', () => {
    const own = Object.keys(manifestIn(folder).scripts ?? {});
    expect(own.filter((script) => INSTALL_SCRIPTS.includes(script))).toEqual([]);
    const scripted = [...brought.values()].filter(({ scripts = {} }) =>
      ['preinstall', 'install', 'postinstall'].some((script) => script in scripts),
    );
    expect(scripted.map(({ name }) => name).toSorted()).toEqual(scriptedInPage(`\`nestjs-${library}\``));
  });

  it('is what its `files` name, and nothing else', async () => {
    const { files = [] } = manifestIn(folder);
    expect(files).toEqual(expect.arrayContaining(['dist/esm', 'dist/cjs']));
    expect(existsSync(join(folder, '.npmignore'))).toBe(false);
    const { stdout } = await promisify(execFile)(
      'npm',
      ['pack', '--dry-run', '--ignore-scripts', '--json', '--silent'],
      {
        cwd: folder,
      },
    );
    const [{ files: packed }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const named = [...files, 'package.json', 'README.md', 'LICENSE'];
    const paths = packed.map(({ path }) => path);
    expect(paths.filter((path) => !named.some((name) => path === name || path.startsWith(`${name}/`)))).toEqual([]);
    expect(paths.filter((path) => /\.spec\.|(^|\/)\.|(?<!\.d)\.ts$|\.(pem|key|env)$/.test(path))).toEqual([]);
  }, 120_000);
});

it('the walk goes deep, and finds a licence that is none', () => {
  const names = [...broughtBy(join(root, 'libs/rt-sms')).values()].map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['undici', 'axios', 'rxjs', 'tslib', 'follow-redirects', 'validator']));
  expect(['GPL-3.0', 'none', 'SEE LICENSE IN FILE', '(GPL-2.0 OR AGPL-3.0)', 'MIT AND GPL-3.0'].filter(isFree)).toEqual(
    [],
  );
  expect(['MIT', '(MIT OR GPL-3.0)', 'BSD-3-Clause'].filter((licence) => !isFree(licence))).toEqual([]);
});

interface Locked {
  integrity?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  hasInstallScript?: boolean;
}
const { packages: locked } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};

describe('package-lock.json', () => {
  const installed = Object.entries(locked).filter(([path, { link }]) => path.includes('node_modules/') && !link);

  it('has an integrity for every package, and no address of a registry', () => {
    expect(installed.length).toBeGreaterThan(500);
    // npm omits it for packages of other systems that it adds while node_modules exists: `npm install --package-lock-only`
    // in a copy without node_modules and without these entries restores it.
    expect(installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual(
      [],
    );
    const addresses = Object.entries(locked).flatMap(([path, { resolved }]) => (resolved ? [[path, resolved]] : []));
    expect(addresses.filter(([, resolved]) => !/^(libs|apps)\/[\w-]+$/.test(resolved!))).toEqual([]);
  });

  it('has the install scripts that docs/security.md names', () => {
    const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript);
    const names = scripted.map(([path]) => path.split('node_modules/').at(-1)!);
    expect([...new Set(names)].toSorted()).toEqual(scriptedInPage('this repository'));
  });
});

describe('the workspace', () => {
  const folders = ['libs', 'apps'].flatMap((group) => readdirSync(join(root, group)).map((name) => `${group}/${name}`));
  /** The packages that the sources below these folders import, types included. */
  const importedBy = (places: string[], match: RegExp) => {
    const files = places.flatMap((place) =>
      ts.sys.readDirectory(join(root, place), ['.ts', '.mjs', '.cjs'], ['**/dist', '**/node_modules']),
    );
    const names = files
      .filter((file) => match.test(relative(root, file)))
      .flatMap((file) => ts.preProcessFile(readFileSync(file, 'utf8'), true, true).importedFiles)
      .flatMap(({ fileName }) => /^(?!node:)((?:@[\w.-]+\/)?[a-z][\w.-]*)/.exec(fileName)?.[1] ?? []);
    return [...new Set(names)].toSorted();
  };

  it.each(folders)('%s declares all packages that it imports', (folder) => {
    const { name, dependencies, peerDependencies } = manifestIn(join(root, folder));
    const imported = importedBy([folder], /^(?!.*\.spec\.ts$)[^/]+\/[^/]+\/(src|terminal)\//);
    expect(imported.length + Number(folder === 'libs/rt-sms-testing')).toBeGreaterThan(0);
    const declared = [name, ...Object.keys({ ...dependencies, ...peerDependencies })];
    expect(imported.filter((one) => !declared.includes(one))).toEqual([]);
  });

  it('declares at its root what tests, benches and scripts import', () => {
    const imported = importedBy(['.'], /^(?!test\/compat\/app)(test|bench|[^/]*$)/);
    expect(imported.length).toBeGreaterThan(20);
    const declared = Object.keys(manifestIn(root).devDependencies ?? {});
    const missing = imported.filter((one) => !declared.includes(one) && !one.startsWith('nestjs-rt-sms'));
    expect(missing).toEqual([]);
  });

  it('releases its libraries together: one version, and peers of that version', () => {
    const libraries = LIBRARIES.map((library) => manifestIn(join(root, 'libs', library)));
    const { version } = manifestIn(root);
    expect(libraries.map((library) => library.version)).toEqual(libraries.map(() => version));
    const ranges = libraries.flatMap(({ peerDependencies = {} }) =>
      Object.entries(peerDependencies).filter(([name]) => name.startsWith('nestjs-rt-sms')),
    );
    expect(ranges).toEqual([1, 2].map(() => ['nestjs-rt-sms', `^${version}`]));
  });
});

/** Result of `npm audit --omit=dev --json`: clean, vulnerable, or unavailable. */
function verdictOf(stdout: string): { vulnerable: string[] } | { unavailable: string } {
  try {
    const { metadata, vulnerabilities, message } = JSON.parse(stdout) as {
      metadata?: object;
      vulnerabilities?: Record<string, { severity: string }>;
      message?: string;
    };
    if (metadata && vulnerabilities) {
      return { vulnerable: Object.entries(vulnerabilities).map(([name, { severity }]) => `${name}: ${severity}`) };
    }
    return { unavailable: message ?? 'an answer without a result' };
  } catch {
    return { unavailable: 'no answer that can be read' };
  }
}

describe('npm audit', () => {
  it.each(LIBRARIES)('sees all that %s needs', (library) => {
    const { dependencies, peerDependencies } = manifestIn(join(root, 'libs', library));
    for (const name of Object.keys({ ...dependencies, ...peerDependencies })) {
      const found = locked[`libs/${library}/node_modules/${name}`] ?? locked[`node_modules/${name}`];
      expect([name, found]).toEqual([name, expect.anything()]);
      // It leaves out packages that are only for development.
      expect([name, found!.dev]).toEqual([name, undefined]);
    }
  });

  it('distinguishes clean, vulnerable and unavailable', () => {
    const found = { axios: { severity: 'high' } };
    expect(verdictOf(JSON.stringify({ vulnerabilities: {}, metadata: {} }))).toEqual({ vulnerable: [] });
    expect(verdictOf(JSON.stringify({ vulnerabilities: found, metadata: {} }))).toEqual({
      vulnerable: ['axios: high'],
    });
    expect(verdictOf(JSON.stringify({ message: '405 Method Not Allowed' }))).toEqual({
      unavailable: '405 Method Not Allowed',
    });
    expect(verdictOf('')).toEqual({ unavailable: 'no answer that can be read' });
    expect(verdictOf('{}')).toEqual({ unavailable: 'an answer without a result' });
  });

  it('knows of no vulnerability in what users install; where it cannot look it says so, and AUDIT=required fails', async () => {
    const audit = ['audit', '--omit=dev', '--json', '--fetch-retries=0', '--fetch-timeout=10000'];
    const stdout = await promisify(execFile)('npm', audit, { cwd: root }).then(
      (done) => done.stdout,
      (failed: { stdout: string }) => failed.stdout,
    );
    const verdict = verdictOf(stdout);
    if ('unavailable' in verdict) {
      process.stderr.write(
        `\nNOT CHECKED: npm audit could not be run (${verdict.unavailable}). Before a release run AUDIT=required npm run test:long -- supply-chain\n`,
      );
      expect(process.env['AUDIT']).not.toBe('required');
    } else {
      expect(verdict.vulnerable).toEqual([]);
    }
  }, 120_000);
});
