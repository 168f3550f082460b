#!/usr/bin/env node
import { runSimulator } from './program.js';

const [command, ...args] = process.argv.slice(2);
const running =
  command === 'verify' ? import('../verify/program.js').then((verify) => verify.runVerify(args)) : runSimulator();
void running.then((code) => {
  process.exitCode = code;
});
