#!/usr/bin/env node
import { runTerminal } from './program.js';

void runTerminal().then((code) => {
  process.exitCode = code;
});
