import { EXPECTED, mainJob } from '../src/main-job.js';

for (const platform of ['express', 'fastify'] as const) {
  it(`sends a message and hears that it was delivered, on ${platform}`, async () => {
    expect(await mainJob(platform)).toEqual(EXPECTED);
  });
}
