// What importing nestjs-rt-sms costs an application that has imported its peers already: both ways in turn, each time in a
// fresh process. Measured is the build, as an application gets it.
import { execFileSync } from 'node:child_process';
import { median, tell } from './figures.js';

const ROUNDS = 15;
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

const FORMS = { module: 'await import', commonjs: 'require' };
type Form = keyof typeof FORMS;

/** One import in a process of its own, in milliseconds. */
function once(form: Form): number {
  // Once the peers have done what they left for later: it would count as ours.
  const script = `(async () => {
    for (const name of ${JSON.stringify(PEERS)}) ${FORMS[form]}(name);
    await new Promise((done) => setTimeout(done, 100));
    const start = performance.now();
    ${FORMS[form]}('nestjs-rt-sms');
    process.stdout.write(String(performance.now() - start));
  })();`;
  return Number(execFileSync(process.execPath, [`--input-type=${form}`, '--eval', script], { encoding: 'utf8' }));
}

const times: Record<Form, number[]> = { module: [], commonjs: [] };
for (let round = 0; round < ROUNDS; round++) {
  for (const form of ['module', 'commonjs'] as const) times[form].push(once(form));
}
tell(
  (['module', 'commonjs'] as const).flatMap((form) => {
    const what = `${form === 'module' ? 'import' : 'require'}, its peers there already`;
    // What disturbs only adds, so the least is what it costs a machine with nothing else to do.
    return [
      { what: `${what}: median`, value: median(times[form]), unit: 'ms', bar: { atMost: 25 } },
      { what: `${what}: least`, value: Math.min(...times[form]), unit: 'ms' },
    ];
  }),
);
