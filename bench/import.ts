// Cost of importing nestjs-rt-sms after its peers: import and require in turn, each time in a new process. It measures the
// build, as an application gets it.
import { execFileSync } from 'node:child_process';
import { median, report } from './figures.js';

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

/** Duration of one import in a separate process, in milliseconds. */
function once(form: Form): number {
  // Waits until the peers have finished their deferred work, which would be counted otherwise.
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
report(
  (['module', 'commonjs'] as const).flatMap((form) => {
    const what = `${form === 'module' ? 'import' : 'require'}, its peers there already`;
    // Disturbances only add time, so the minimum is the cost on an idle machine.
    return [
      { what: `${what}: median`, value: median(times[form]), unit: 'ms', bar: { atMost: 25 } },
      { what: `${what}: least`, value: Math.min(...times[form]), unit: 'ms' },
    ];
  }),
);
