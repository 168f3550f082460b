import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Queue, type IQueueBackend, type JobsOptions } from 'bullmq';
import type { StoreOperations } from './operations.js';
import type { SqlJob } from './transaction-sql.js';

const NAME = 'probe';
const DELAY_MS = 60_000;

/**
 * Checks that the layout of BullMQ's data is the expected one: runs a job through BullMQ's calls and the engine's own operations,
 * in a temporary queue. Returns the first difference, or nothing.
 * @param addBySql adds a job as a transaction of the application does
 */
export async function probeSchema(
  name: string,
  backend: IQueueBackend,
  steps: (queue: Queue) => StoreOperations,
  options: JobsOptions & { attempts: number },
  addBySql?: (job: SqlJob) => Promise<unknown>,
): Promise<string | undefined> {
  // Replicas may start at the same time.
  const unique = `${name}-${randomUUID()}`;
  const probe = backend.forQueue(unique);
  const queue = new Queue(unique, { connection: {} }, () => probe as never);
  queue.on('error', () => undefined);
  try {
    const own = steps(queue);
    const [token, data] = [randomUUID(), { step: 0 }];
    const delayed = (jobId: string) => ({ ...options, jobId, delay: DELAY_MS });
    const take = () =>
      probe.moveToActive(token) as Promise<[job: unknown, id: unknown, limitedMs: unknown, next?: number]>;
    const fields = async (jobId: string): Promise<unknown> => {
      const { name, data, opts, delay, priority } = (await queue.getJob(jobId))!;
      return { name, data, delay, priority, opts: { ...opts, jobId: '' } };
    };
    await queue.add(NAME, data, { ...options, jobId: 'a' });
    if (!(await own.replaceUnsent('a', { step: 1, digest: 'd' }))) return 'a waiting job is not found';
    const [known, none] = await own.lookUp(['a', 'x']);
    if (known?.digest !== 'd' || known.finishedOn !== undefined || none) return 'the data of a job is stored elsewhere';
    if ((await take())[1] !== 'a') return 'a job is not taken';
    if (await own.replaceUnsent('a', data)) return 'the lock of a job is not found';
    if ((await own.update({ jobId: 'a', token: randomUUID(), data })).replaced)
      return 'the owner of a lock is not found';
    const other = { name: NAME, data, opts: delayed('b') };
    const next = { step: 2 };
    const kept = await own.update({ jobId: 'a', token, data: next, checkJob: other });
    if (!kept.replaced || !kept.added) return 'a locked job is not found';
    const now = await queue.getJob('a');
    if (now?.data.step !== 2) return 'the data of a job is stored elsewhere';
    await queue.add(NAME, data, delayed('c'));
    if (!isDeepStrictEqual(await fields('b'), await fields('c'))) return 'a job has other fields';
    const sqlJob = { queue: unique, id: 'd', name: NAME, data, opts: delayed('d'), priority: 0, delay: DELAY_MS };
    await addBySql?.({ ...sqlJob, at: Date.now(), attempts: options.attempts });
    if (addBySql && !isDeepStrictEqual(await fields('d'), await fields('c'))) return 'add_job adds other fields';
    const [, , , dueAt = 0] = await take();
    if (Math.abs(Date.now() + DELAY_MS - dueAt) > DELAY_MS / 2) return 'a job is due at another time';
    await own.removeCompleted(0);
    const noted = await own.note([{ jobId: 'b', row: 'one' }, { jobId: 'x', row: 'two' }, { jobId: 'a' }]);
    if (!isDeepStrictEqual(noted, ['runs', 'missing', 'notDelayed'])) return 'a delayed job is not found';
    const { rows, isAnnouncing } = await own.inbox('b', 0, 'a');
    const { logs } = await queue.getJobLogs('b');
    if (!isAnnouncing || rows.join() !== 'one' || logs.join() !== 'one') return 'the log of a job is stored elsewhere';
    return (await take())[1] === 'b' ? undefined : 'a delayed job does not start';
  } finally {
    await queue.obliterate({ force: true }).catch(() => undefined);
    await queue.close();
  }
}
