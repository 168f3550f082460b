// Builds all libraries, each after those that it needs, and links them where the applications find them by name, as once
// installed. Not npm's workspaces: package-lock.json would have to record where they are.
import { execFileSync } from 'node:child_process';
import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

const root = import.meta.dirname;
const LIBRARIES = ['rt-sms', 'rt-sms-bullmq', 'rt-sms-testing'];
// `npm start` shows nothing else for some 20 s.
process.stderr.write(`Building ${LIBRARIES.map((name) => `nestjs-${name}`).join(', ')} …\n`);
for (const name of LIBRARIES) {
  const library = join(root, 'libs', name);
  execFileSync(process.execPath, [join(root, 'build-lib.mjs')], { cwd: library, stdio: 'inherit' });
  const link = join(root, 'node_modules', `nestjs-${name}`);
  rmSync(link, { recursive: true, force: true });
  symlinkSync(library, link, 'junction');
}
