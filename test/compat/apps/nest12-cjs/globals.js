// For `node --test`: the names that Jest has as globals.
const { it } = require('node:test');
const { expect } = require('expect');
Object.assign(globalThis, { it, expect });
