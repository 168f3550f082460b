import 'reflect-metadata';
import { deepStrictEqual } from 'node:assert';
import { EXPECTED, mainJob } from './main-job.js';

// No top-level await: the same file is built as CommonJS.
async function main(): Promise<void> {
  deepStrictEqual(await mainJob('express'), EXPECTED);
  deepStrictEqual(await mainJob('fastify'), EXPECTED);
}

void main();
