import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { atEnd } from '../platforms.js';

it('npm start says that it builds before it does, in the 20 s that it would be silent', async () => {
  const root = await mkdtemp(join(tmpdir(), 'rt-sms-build-'));
  atEnd(() => rm(root, { recursive: true }));
  await cp('build-libs.mjs', join(root, 'build-libs.mjs'));
  // In place of the build itself, so that the others that run meanwhile keep theirs.
  await writeFile(join(root, 'build-lib.mjs'), `console.error('built');`);
  await mkdir(join(root, 'node_modules'));
  for (const name of ['rt-sms', 'rt-sms-bullmq', 'rt-sms-testing'])
    await mkdir(join(root, 'libs', name), { recursive: true });
  const { stderr } = await promisify(execFile)(process.execPath, [join(root, 'build-libs.mjs')]);
  expect(stderr.trim().split('\n')).toEqual([
    'Building nestjs-rt-sms, nestjs-rt-sms-bullmq, nestjs-rt-sms-testing …',
    ...Array.from({ length: 3 }, () => 'built'),
  ]);
});
