import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '..');
const LIBRARIES = readdirSync(join(root, 'libs'));
const LICENCES = ['MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', '0BSD'];
/** What npm would run on a user's machine. */
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare', 'preprepare', 'postprepare'];

interface Manifest {
  name: string;
  license?: string | { type: string };
  files?: string[];
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}
const manifestIn = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** Where Node finds the package from this folder; one of ours is where it is made, linked or not. */
function find(name: string, from: string): string | undefined {
  const own = LIBRARIES.find((library) => name === `nestjs-${library}`);
  if (own) return join(root, 'libs', own);
  const folder = join(from, 'node_modules', name);
  if (existsSync(join(folder, 'package.json'))) return folder;
  return from === dirname(from) ? undefined : find(name, dirname(from));
}

/** Every package that an installation of the library brings along, by its folder; peers too, as npm installs them. */
function broughtBy(folder: string, found = new Map<string, Manifest>()): Map<string, Manifest> {
  const manifest = manifestIn(folder);
  const optional = Object.keys(manifest.optionalDependencies ?? {});
  const peers = Object.keys(manifest.peerDependencies ?? {}).filter(
    (name) => manifest.peerDependenciesMeta?.[name]?.optional !== true,
  );
  for (const name of [...Object.keys(manifest.dependencies ?? {}), ...peers, ...optional]) {
    const place = find(name, folder);
    if (place === undefined) {
      // Those of other systems are not installed.
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

  it('runs nothing when it is installed', () => {
    const own = Object.keys(manifestIn(folder).scripts ?? {});
    expect(own.filter((script) => INSTALL_SCRIPTS.includes(script))).toEqual([]);
    const scripted = [...brought.values()].filter(({ scripts = {} }) =>
      ['preinstall', 'install', 'postinstall'].some((script) => script in scripts),
    );
    // An optional package of BullMQ's, which takes a prebuilt file or does without.
    expect(scripted.map(({ name }) => name).filter((name) => name !== 'msgpackr-extract')).toEqual([]);
  });

  it('is what its `files` name, and nothing else', async () => {
    const { files = [] } = manifestIn(folder);
    expect(files).toContain('dist');
    expect(existsSync(join(folder, '.npmignore'))).toBe(false);
    const { stdout } = await promisify(execFile)(
      'npm',
      ['pack', '--dry-run', '--ignore-scripts', '--json', '--silent'],
      {
        cwd: folder,
      },
    );
    const [{ files: packed }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const named = [
      ...files.filter((name) => !name.startsWith('!')).map((name) => `${name}/`),
      'package.json',
      'README.md',
      'LICENSE',
    ];
    const paths = packed.map(({ path }) => path);
    expect(
      paths.filter((path) => !named.some((name) => path === name || (name.endsWith('/') && path.startsWith(name)))),
    ).toEqual([]);
    expect(paths.filter((path) => /\.map$|\.spec\.|(^|\/)\.|(?<!\.d)\.ts$|\.(pem|key|env)$/.test(path))).toEqual([]);
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

/** What `npm audit --omit=dev --json` found: nothing, or vulnerabilities, or that it could not look. */
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
  // It looks at the `dependencies` of the root; what is for development only it leaves out.
  it.each(LIBRARIES)('sees all that %s needs', (library) => {
    const { dependencies, peerDependencies } = manifestIn(join(root, 'libs', library));
    const needed = Object.keys({ ...dependencies, ...peerDependencies }).filter(
      (name) => !name.startsWith('nestjs-rt-'),
    );
    expect(Object.keys(manifestIn(root).dependencies ?? {})).toEqual(expect.arrayContaining(needed));
  });

  it('is told clean, vulnerable and unavailable apart', () => {
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
        `\nNOT CHECKED: npm audit could not be run (${verdict.unavailable}). Before a release run AUDIT=required npm test -- test/supply-chain\n`,
      );
      expect(process.env['AUDIT']).not.toBe('required');
    } else {
      expect(verdict.vulnerable).toEqual([]);
    }
  }, 120_000);
});
