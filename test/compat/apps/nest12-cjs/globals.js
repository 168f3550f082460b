// Defines Jest's global names for `node --test`.
const { it } = require('node:test');
const { expect } = require('expect');
Object.assign(globalThis, { it, expect });
