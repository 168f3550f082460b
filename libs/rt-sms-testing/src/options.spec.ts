import { resolveOptions } from './options.js';

describe('resolveOptions', () => {
  it('fills in the defaults', () => {
    expect(resolveOptions({ seed: 1 })).toMatchObject({
      port: 0,
      host: '127.0.0.1',
      allowFrom: undefined,
      callbackUrl: undefined,
      callbackId: 'full',
      seed: 1,
      lifecycle: { awaitingMs: 300, finalMs: 1_000 },
      loss: 0,
      duplicate: 0,
      reorder: 0,
      latencyMs: 0,
      maxMessages: 100_000,
    });
  });

  it('draws a seed if none is given', () => {
    expect(resolveOptions({}).seed).not.toBe(resolveOptions({}).seed);
  });

  it.each([
    [{ prot: 1 }, 'prot: no such option'],
    [{ port: 65_536 }, 'port must be a whole number from 0 to 65535'],
    [{ login: 'a:b' }, 'login must not contain ":"'],
    [{ login: '' }, 'login must be a string that is not empty'],
    [{ allowFrom: ['localhost'] }, 'allowFrom must be a list of IP addresses'],
    [{ allowFrom: '127.0.0.1' }, 'allowFrom must be a list'],
    [{ allowFrom: Array.from({ length: 16 }, (_, n) => `10.0.0.${n}`) }, 'allowFrom must have at most 15 addresses'],
    [{ shortcodes: [1] }, 'shortcodes must be a list of sender names'],
    [{ callbackUrl: 'localhost:3000/cb' }, 'callbackUrl must be an http or https URL'],
    [{ callbackUrl: '/callback' }, 'callbackUrl must be an http or https URL'],
    [{ callbackUrl: 'http://localhost/#cb' }, 'callbackUrl must not have a fragment'],
    [{ callbackId: 'short' }, 'callbackId must be full or bare'],
    [{ callbackTimeoutMs: 0 }, 'callbackTimeoutMs must be more than 0'],
    [{ errorCodeIn: 'body' }, 'errorCodeIn must be result or envelope'],
    [{ seed: 1.5 }, 'seed must be a whole number'],
    [{ seed: Number.NaN }, 'seed must be a whole number'],
    [{ lifecycle: true }, 'lifecycle must be false or'],
    [{ lifecycle: { finalMS: 1 } }, '"finalMS" is not'],
    [{ lifecycle: { finalMs: -1 } }, '"finalMs" is not'],
    [{ loss: 1.1 }, 'loss must be a probability from 0 to 1'],
    [{ duplicate: -0.1 }, 'duplicate must be a probability'],
    [{ reorder: '1' }, 'reorder must be a probability'],
    [{ latencyMs: Infinity }, 'latencyMs must be milliseconds'],
    [{ notice: '' }, 'notice must be a text of 1 to 300 characters'],
    [{ notice: 'x'.repeat(301) }, 'notice must be a text'],
    [{ maxMessages: 0 }, 'maxMessages must be a whole number'],
  ])('rejects %j', (options, problem) => {
    expect(() => resolveOptions(options as object)).toThrow(TypeError);
    expect(() => resolveOptions(options as object)).toThrow(problem);
  });

  it('lists all problems at once and does not show the password', () => {
    const wrong = () => resolveOptions({ loss: 2, reorder: 2, login: ':', password: 'hunter2' });
    expect(wrong).toThrow(/login must.*loss must.*reorder must|loss must.*reorder must.*login must/);
    expect(wrong).not.toThrow('hunter2');
  });
});
