import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

interface Manifest {
  name: string;
  version: string;
  private?: boolean;
  peerDependencies?: Record<string, string>;
  publishConfig?: { provenance?: boolean };
  repository?: string;
}
interface State {
  root: { version: string };
  libraries: Manifest[];
  changelog: string;
  uncommitted: string;
}
const root = resolve(import.meta.dirname, '../..');
const { problemsOf } = (await import(`${root}/release.mjs`)) as { problemsOf: (state: State) => string[] };

const core: Manifest = {
  name: 'core',
  version: '1.2.3',
  publishConfig: { provenance: true },
  repository: 'github:owner/name',
};
const engine: Manifest = { ...core, name: 'engine', peerDependencies: { core: '^1.2.0' } };
const state: State = {
  root: { version: '1.2.3' },
  libraries: [core, engine],
  changelog: '# Changes\n\n## 1.2.3 (2026-12-01)\n',
  uncommitted: '',
};

describe('npm run release:check', () => {
  it('finds nothing against a release that is ready', () => {
    expect(problemsOf(state)).toEqual([]);
    const beta = { ...core, private: true, publishConfig: {} };
    expect(problemsOf({ ...state, libraries: [beta, engine] })).toEqual([]);
  });

  it.each<[string, Partial<State>, RegExp]>([
    ['what is not committed', { uncommitted: ' M README.md' }, /not clean:\n M README\.md/],
    ['no entry in the changelog', { changelog: '## 1.2.2 (2026-11-01)' }, /no "## 1\.2\.3"/],
    ['an entry without its date', { changelog: '## 1.2.3 — not released yet' }, /has no date/],
    ['another version', { libraries: [{ ...core, version: '1.2.2' }] }, /core: version 1\.2\.2/],
    ['no provenance', { libraries: [{ ...core, publishConfig: {} }] }, /core: publishConfig/],
    ['no repository', { libraries: [{ ...core, repository: '' }] }, /core: no "repository"/],
  ])('finds %s', (_, change, problem) => {
    expect(problemsOf({ ...state, ...change })).toEqual([expect.stringMatching(problem)]);
  });

  it.each([
    ['1.2.3', '^1.2.3', true],
    ['1.3.0', '^1.2.3', true],
    ['1.2.2', '^1.2.3', false],
    ['2.0.0', '^1.2.3', false],
    ['0.1.5', '^0.1.0', true],
    ['0.2.0', '^0.1.0', false],
    ['0.1.0', '^0.1.1', false],
    ['0.0.2', '^0.0.1', false],
  ])('%s is in the peer range %s: %s', (version, range, admitted) => {
    const libraries = [core, { ...engine, peerDependencies: { core: range, bullmq: '^6.0.0' } }];
    const versions = libraries.map((library) => ({ ...library, version }));
    const changelog = `## ${version} (2026-12-01)`;
    expect(problemsOf({ ...state, root: { version }, libraries: versions, changelog })).toHaveLength(admitted ? 0 : 1);
  });

  it('the versions and peer ranges of this repository agree', () => {
    const manifest = (path: string) => JSON.parse(readFileSync(resolve(root, path), 'utf8')) as Manifest;
    const libraries = ['rt-sms', 'rt-sms-bullmq', 'rt-sms-testing'].map((name) =>
      manifest(`libs/${name}/package.json`),
    );
    const found = problemsOf({
      root: manifest('package.json'),
      libraries,
      changelog: readFileSync(resolve(root, 'CHANGELOG.md'), 'utf8'),
      uncommitted: '',
    });
    expect(found.filter((problem) => !/"repository"|has no date/.test(problem))).toEqual([]);
  });
});

describe('what it runs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-release-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const CHECKS = ['run check', 'run docs', 'run test:compat', 'run test:durable'];

  /** Runs it with an npm that only notes what it is told to do, and fails at what `fails` names. */
  function release(variables: Record<string, string> = {}, fails = 'nothing', ...flags: string[]) {
    const told = join(folder, 'told');
    writeFileSync(told, '');
    writeFileSync(
      join(folder, 'npm'),
      `#!/bin/sh
      echo "$* $AUDIT" >> '${told}'
      case "$*" in ${fails}) exit 1;; pack*) echo '[{"filename":"a.tgz","files":[],"size":1,"unpackedSize":2}]';; esac`,
      { mode: 0o755 },
    );
    const { AUDIT: _, PATH = '', ...env } = process.env;
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'release.mjs'), ...flags], {
      encoding: 'utf8',
      env: { ...env, PATH: `${folder}:${PATH}`, ...variables },
    });
    const lines = readFileSync(told, 'utf8').trim().split('\n');
    return { status, stdout, stderr, steps: lines.filter((line) => !line.startsWith('pack ')) };
  }

  it('the audit, which is required, before everything else', () => {
    expect(release().steps).toEqual(['test -- test/supply-chain', ...CHECKS].map((step) => `${step} required`));
  });

  it('nothing after a step that fails, which it names', () => {
    const { status, stdout, stderr, steps } = release({}, '*supply-chain');
    expect(stdout).not.toMatch('dist/release');
    expect([status, steps]).toEqual([1, ['test -- test/supply-chain required']]);
    expect(stderr).toMatch(/✗ npm audit .*AUDIT=skip.*: failed, see above/);
    expect(release({ AUDIT: 'skip' }, '*docs').stderr).toMatch('✗ npm run docs: failed, see above');
  });

  it('no audit where it is told so, and says that it was left out', () => {
    const { steps, stdout } = release({ AUDIT: 'skip' });
    expect(steps).toEqual(CHECKS.map((step) => `${step} skip`));
    expect(stdout).toMatch('Left out: the audit.');
  });

  it('nothing but the packing with --quick', () => {
    const { steps, stdout } = release({}, 'nothing', '--quick');
    expect(steps).toEqual([]);
    expect(stdout).toMatch('Left out: audit, checks and tests.');
  });
});
