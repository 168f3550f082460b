import { getMaxListeners } from 'node:events';
import { sendAll } from './send-many.js';

it('many calls can share a signal, and all share the shutdown signal, without a leak warning', async () => {
  const signal = new AbortController().signal;
  const ending = new AbortController().signal;
  const send = () => Promise.reject(new Error('must not be called'));
  for await (const _ of sendAll([], send, { signal }, { ending, account: 'default' }));
  expect([getMaxListeners(signal), getMaxListeners(ending)]).toEqual([Infinity, Infinity]);
});
