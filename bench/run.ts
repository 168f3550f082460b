// node --import ./test/child/ts.mjs bench/run.ts [--write] [bench …]: prints a table of all figures, and fails if a bar
// is missed or a figure cannot be measured. --write puts the table into docs/performance.md. `durable:cost` is one part of
// a bench.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Figure } from './figures.js';

const BENCHES = [
  'send',
  'deadline',
  'stale',
  'heap',
  'telemetry',
  'policy',
  'callback',
  'durable',
  'otp',
  'simulator',
  'inbox',
  'import',
];
const chosen = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));

async function figuresOf(bench: string): Promise<Figure[]> {
  const [name, ...part] = bench.split(':');
  const child = fork(new URL(`./${name}.ts`, import.meta.url), part, {
    execArgv: [...process.execArgv, '--expose-gc'],
  });
  const reported = once(child, 'message') as Promise<[Figure[]]>;
  const ended = once(child, 'exit').then(([code]) => {
    if (code !== 0) throw new Error(`${bench} ended with code ${code}`);
  });
  const [[figures]] = await Promise.all([reported, ended]);
  return figures;
}

const shown = (value: number) => value.toLocaleString('en', { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 0 });
const reached = ({ value, failed, bar }: Figure) =>
  failed === undefined && (bar === undefined || ('atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost));
function row(figure: Figure): string {
  const { what, value, failed, unit = '', bar } = figure;
  const shownBar = bar === undefined ? '' : 'atLeast' in bar ? `≥ ${shown(bar.atLeast)}` : `≤ ${shown(bar.atMost)}`;
  const result =
    failed !== undefined ? '**failed**' : bar === undefined ? '' : reached(figure) ? 'reached' : '**missed**';
  const measured = failed === undefined ? `${shown(value)} ${unit}` : failed.replace(/[\s|]+/g, ' ');
  return `| ${what} | ${measured} | ${shownBar === '' ? '' : `${shownBar} ${unit}`.trim()} | ${result} |\n`;
}

const figures: Figure[] = [];
for (const bench of chosen.length > 0 ? chosen : BENCHES) figures.push(...(await figuresOf(bench)));
const machine = `${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model}`;
const table = `${machine}\n\n| figure | value | bar | |\n|---|---|---|---|\n${figures.map(row).join('')}`;
process.stdout.write(table);
if (process.argv.includes('--write')) {
  const path = new URL('../docs/performance.md', import.meta.url);
  const place = /(<!-- figures: .* -->\n)[^]*?(<!-- \/figures -->)/;
  writeFileSync(path, readFileSync(path, 'utf8').replace(place, `$1\n${table}\n$2`));
}
process.exitCode = figures.every(reached) ? 0 : 1;
