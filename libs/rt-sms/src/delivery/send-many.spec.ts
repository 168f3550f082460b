import { getMaxListeners } from 'node:events';
import { sendAll } from './send-many.js';

it('many calls may share a signal, and all share the end of the application: that is no leak to warn of', async () => {
  const signal = new AbortController().signal;
  const ending = new AbortController().signal;
  const send = () => Promise.reject(new Error('nothing is to be sent'));
  for await (const _ of sendAll([], send, { signal }, { ending, account: 'default' }));
  expect([getMaxListeners(signal), getMaxListeners(ending)]).toEqual([Infinity, Infinity]);
});
