import { EXPECTED, mainJob } from '../src/main-job.js';

it('sends a message and hears that it was delivered', async () => {
  expect(await mainJob()).toEqual(EXPECTED);
});
