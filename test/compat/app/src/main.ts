import 'reflect-metadata';
import { deepStrictEqual } from 'node:assert';
import { EXPECTED, mainJob } from './main-job.js';

// No top-level await: the same file is built as CommonJS.
void mainJob().then((result) => deepStrictEqual(result, EXPECTED));
