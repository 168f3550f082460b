import { jest } from '@jest/globals';
import { PollSchedule } from 'nestjs-rt-sms/engine';
import type { CheckData } from './check-data.js';
import { CheckWorker } from './check-worker.js';
import type { Processor } from './jobs.js';

const HOUR_MS = 3_600_000;

/** A worker whose gateway reports `delivered`, whose handlers fail, and whose store cannot write. */
async function worker() {
  let processor: Processor<CheckData> | undefined;
  const emit = { status: jest.fn(async () => false), unresolved: jest.fn(async () => true) };
  const store = {
    work: async (_: string, given: Processor<CheckData>) => void (processor = given),
    options: { concurrency: 10, handlerTimeoutMs: 60_000 },
    clock: { now: () => Date.now(), isUsable: true },
    operations: () => ({ inbox: async () => ({ rows: [], isAnnouncing: false }) }),
  };
  const host = { options: { account: 'default', tracking: {} }, logger: { debug: jest.fn(), warn: jest.fn() }, emit };
  const jobs = { keepMs: HOUR_MS, schedule: new PollSchedule({ schedule: [1_000], maxAgeMs: HOUR_MS }) };
  const gate = { enter: async () => 0, poll: async () => ({ status: 'delivered', gatewayStatus: 'delivered' }) };
  const made = new CheckWorker(store as never, host as never, jobs as never, gate as never);
  await made.open();
  return { emit, process: processor! };
}

it('a store that fails after a failed handler does not end the tracking of a delivered message', async () => {
  const { emit, process } = await worker();
  const job = {
    id: 'message-id-1',
    // Its last poll.
    data: { sentAt: Date.now() - 2 * HOUR_MS, dueAt: Date.now() - HOUR_MS },
    updateData: jest.fn(async () => {
      throw new Error('the connection was lost');
    }),
  };
  await expect(process(job as never, 'token')).rejects.toThrow('the connection was lost');
  expect(emit.status).toHaveBeenCalledTimes(1);
  expect(emit.unresolved).not.toHaveBeenCalled();
  expect(job.updateData).toHaveBeenCalledTimes(1);
});
