// What importing nestjs-rt-sms costs an application that has imported its peers already: wall time in a fresh process, the
// least and the median of many, as ESM and as CommonJS. Needs the build: npm run build:libs.
//
//   node bench/import.mjs [runs]
import { spawnSync } from 'node:child_process';

const PEERS = [
  'reflect-metadata',
  '@nestjs/common',
  '@nestjs/core',
  '@nestjs/config',
  '@nestjs/axios',
  '@nestjs/event-emitter',
  'axios',
  'undici',
  'class-validator',
  'class-transformer',
];
const runs = Number(process.argv[2] ?? 15);

// The pause lets go by what the peers left to do: without it, its cost would count as ours.
const FORMS = {
  import: (load) => `for (const name of ${JSON.stringify(PEERS)}) await import(name);
    await new Promise((done) => setTimeout(done, 100));
    ${load('await import')}`,
  require: (load) => `for (const name of ${JSON.stringify(PEERS)}) require(name);
    setTimeout(() => { ${load('require')} }, 100);`,
};
const timed = (how) => `const start = performance.now();
  ${how}('nestjs-rt-sms');
  process.stdout.write(String(performance.now() - start));`;

for (const [form, script] of Object.entries(FORMS)) {
  const times = Array.from({ length: runs }, () => {
    const type = form === 'import' ? 'module' : 'commonjs';
    const child = spawnSync(process.execPath, [`--input-type=${type}`, '--eval', script(timed)], { encoding: 'utf8' });
    if (child.status !== 0) throw new Error(child.stderr);
    return Number(child.stdout);
  }).toSorted((a, b) => a - b);
  const [least, median] = [times[0], times[times.length >> 1]].map((ms) => ms.toFixed(1));
  console.log(
    `${form} of nestjs-rt-sms after its peers, Node ${process.versions.node}: least ${least} ms, median ${median} ms`,
  );
}
