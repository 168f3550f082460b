import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The path of a program that a test starts, or the reason why it is missing. */
export type Found = { path: string } | { missing: string };

const isRoot = process.getuid?.() === 0;
const found = new Map<string, Found>();

/** Looks a program up by its name, as a shell does. */
export function onPath(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, program))
    .find((file) => existsSync(file));
}

/** Finds a program of a Debian package. Run as root on Debian, it installs a missing package. */
export function findProgram(look: () => string | undefined, debianPackage: string): Found {
  const known = found.get(debianPackage);
  if (known) return known;
  let path = look();
  if (path === undefined && isRoot && onPath('apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const aptGet = (...args: string[]) => execFileSync('apt-get', args, { env, stdio: 'ignore' });
    try {
      aptGet('update', '-q');
      aptGet('install', '-yq', '--no-install-recommends', debianPackage);
    } catch {
      // The failure is reported below, as on a machine without permission to install.
    }
    path = look();
  }
  const missing = `${debianPackage} is not installed (on Debian: apt-get install ${debianPackage})`;
  const result = path === undefined ? { missing } : { path };
  found.set(debianPackage, result);
  return result;
}

export function required(program: Found): string {
  if ('path' in program) return program.path;
  throw new Error(program.missing);
}

/**
 * `describe.each` over services, by the programs that they need. A service whose program is missing is skipped with one
 * line; with `CI` set it fails instead.
 */
export function describeWith<Kind extends string>(
  services: Record<Kind, () => Found>,
  title: string,
  define: (kind: Kind) => void,
): void {
  for (const [kind, find] of Object.entries(services) as [Kind, () => Found][]) {
    const program = find();
    if ('missing' in program && process.env['CI']) throw new Error(program.missing);
    if ('missing' in program) process.stderr.write(`Skipped: ${title.replace('%s', kind)}: ${program.missing}\n`);
    ('missing' in program ? describe.skip : describe)(title.replace('%s', kind), () => define(kind));
  }
}
