import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { resolveOptions } from '../options/resolve-options.js';
import { checkCallbackAtStart } from './startup-checks.js';

const options = resolveOptions(
  { login: 'shop', password: 'p', callback: { secrets: 'a'.repeat(48), allowFrom: ['203.0.113.7'] } },
  'default',
  true,
);
const adapterOf = (type: string, instance: object) =>
  ({ getType: () => type, getInstance: () => instance }) as unknown as AbstractHttpAdapter;

it.each([
  ['an unknown version of Fastify', adapterOf('fastify', {}), 1],
  ['another platform', adapterOf('other', {}), 0],
  ['no platform', undefined, 0],
])(
  'on %s the check is skipped, with a warning if it is Fastify, and the application starts',
  (_, adapter, warnings) => {
    const log = jest.spyOn(Logger.prototype, 'log').mockReturnValue(undefined);
    const warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    checkCallbackAtStart(options, 'sms', adapter, new Logger('test'));
    expect(warn.mock.calls.filter(([line]) => String(line).includes('does not show'))).toHaveLength(warnings);
    expect(warn).toHaveBeenCalledTimes(warnings);
    warn.mockRestore();
    log.mockRestore();
  },
);
