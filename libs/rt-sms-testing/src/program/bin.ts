#!/usr/bin/env node
import { runSimulator } from './program.js';

void runSimulator().then((code) => {
  process.exitCode = code;
});
