import * as fc from 'fast-check';
import { misspeltKeys, suggestion, unknownKeys } from './unknown-keys.js';

const KNOWN = ['id', 'delayMs', 'expiresAt', 'priority', 'signal', 'timeoutMs'];

it.each([
  ['delayMS', 'delayMs'],
  ['delay', 'delayMs'],
  ['delay_ms', 'delayMs'],
  ['expireAt', 'expiresAt'],
  ['expires', 'expiresAt'],
  ['expriesAt', 'expiresAt'],
  ['Priority', 'priority'],
  ['prority', 'priority'],
  ['timeout', 'timeoutMs'],
  ['timeoutMS', 'timeoutMs'],
  ['singal', 'signal'],
  ['ID', 'id'],
])('suggests for %s the known key %s', (wrong, meant) => {
  expect(suggestion(wrong, KNOWN)).toBe(`; did you mean ${meant}?`);
});

it.each(['order', 'to', 'x', 'tx', 'overdueAfterMs', ''])('suggests nothing for %j', (wrong) => {
  expect(suggestion(wrong, KNOWN)).toBe('');
});

it('names the known keys if none is similar', () => {
  expect(unknownKeys({ tx: {} }, ['id', 'delayMs'])).toEqual(["options has no key 'tx'; accepted keys: id, delayMs"]);
});

it('each unknown key is one problem on one line, without a phone number; a known key is not a problem', () => {
  const keys = fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom(...KNOWN, '79270000001', 'toString')),
    fc.anything(),
  );
  fc.assert(
    fc.property(keys, (options) => {
      const wrong = Object.keys(options).filter((key) => !KNOWN.includes(key) && options[key] !== undefined);
      const problems = unknownKeys(options, KNOWN);
      expect(problems).toHaveLength(wrong.length);
      for (const problem of problems)
        expect(problem).toMatch(/^options has no key '.*'; (did you mean|accepted keys:) \w.*$/);
      expect(problems.join()).not.toContain('79270000001');
      expect(misspeltKeys(options, KNOWN, 'options').length).toBeLessThanOrEqual(problems.length);
    }),
  );
});
