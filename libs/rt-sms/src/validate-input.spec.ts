import { InputValidator } from './validate-input.js';

const input = new InputValidator('default', 'SHOP');
const hello = { msisdn: '79270000001', text: 'Hello' };

it('an engine can tell a generated id, which needs no look-up, from one of the caller', () => {
  expect(input.queued(hello, {})).toMatchObject({ hasGeneratedId: true, id: expect.stringMatching(/^[\da-f-]{36}$/) });
  expect(input.queued(hello, { id: 'a' })).not.toHaveProperty('hasGeneratedId');
  expect(input.items([{ message: hello, id: 'a' }, { message: hello }]).map((item) => item.hasGeneratedId)).toEqual([
    undefined,
    true,
  ]);
});
