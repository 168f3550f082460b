import { isRtSmsError, RtSmsOverloadedError } from 'nestjs-rt-sms';
import type { EngineHost, EngineItem, QueuedSmsState } from 'nestjs-rt-sms';
import { fromStored } from 'nestjs-rt-sms/engine';
import { readRef } from './check-data.js';
import type { SendData } from './job-data.js';
import { jobIdOf } from './job-id.js';
import { addTimers, removeTimer } from './overdue-jobs.js';
import { BATCH, compareIds, distinctItems, isForgotten, overdueTimers, sendJob } from './send-jobs.js';
import type { Store } from './store.js';

/** The send queue as every replica uses it: adds messages, finds and cancels them. */
export class SendProducer {
  private stopped = false;

  constructor(
    private readonly store: Store,
    private readonly host: EngineHost,
  ) {}

  async enqueue(items: EngineItem[]): Promise<void> {
    const { account } = this.host.options;
    if (this.stopped)
      throw new RtSmsOverloadedError('Nothing was queued: the application is shutting down', { account });
    const began = this.store.clock.now();
    const entries = distinctItems(items, account);
    const named = entries.filter((item) => !item.hasGeneratedId);
    await this.store.guard(
      'enqueue',
      async () => {
        if (entries.length > 1) await this.compare(named, began);
        await addTimers(this.store, overdueTimers(this.store.clock, entries));
        await this.addAll(entries);
        await this.confirm(named, began, entries.length);
      },
      entries.length,
    );
  }

  async find(id: string): Promise<QueuedSmsState | undefined> {
    const job = await this.store.guard('find', () => this.store.send.getJob(jobIdOf(id)));
    if (!job || isForgotten(job, this.host.options, this.store.clock.now())) return undefined;
    const { state = 'queued', uid, error } = job.data;
    const ref = readRef(job.data);
    return {
      id,
      state,
      ...(uid === undefined ? {} : { uid }),
      ...(ref === undefined ? {} : { ref }),
      ...(error === undefined ? {} : { errorCode: fromStored(error, this.host.options.account).code }),
    };
  }

  async cancel(id: string): Promise<boolean> {
    return this.store.guard('cancel', async () => {
      const jobId = jobIdOf(id);
      const job = await this.store.send.getJob(jobId);
      if (!job) return false;
      const { state, sendStartedAt, digest, ref, version, overdueAfterMs } = job.data;
      if (state !== undefined || sendStartedAt !== undefined) return state === 'cancelled';
      const data: SendData = { digest, ref, version, state: 'cancelled' };
      if (!(await this.store.operations('send').replaceUnsent(jobId, data))) {
        // Another call was faster, or this one was executed and its answer was lost.
        const now = await this.store.send.getJob(jobId);
        if (now?.data.state !== 'cancelled') return false;
      }
      if (overdueAfterMs !== undefined) void removeTimer(this.store, jobId);
      // A worker announces the cancellation, now or when the message would have been sent.
      await this.store.runNow(this.store.send, jobId).catch(() => undefined);
      return true;
    });
  }

  stop(): void {
    this.stopped = true;
  }

  private async addAll(entries: EngineItem[]): Promise<void> {
    const [only] = entries;
    if (only && entries.length === 1) {
      const { name, data, opts } = sendJob(this.store, only);
      await this.store.send.add(name, data, opts);
      return;
    }
    const add = (begin: number) =>
      this.store.send.addBulk(entries.slice(begin, begin + BATCH).map((entry) => sendJob(this.store, entry)));
    let before: Promise<unknown> = Promise.resolve();
    for (let begin = 0; begin < entries.length; begin += BATCH) {
      const next = add(begin).catch((error: unknown) => {
        if (begin === 0) throw error;
        throw new Error(`${begin} of ${entries.length} are queued, and perhaps more`, { cause: error });
      });
      next.catch(() => undefined);
      // The first batch is added alone: if it fails, nothing was queued. Later ones are prepared while the store is busy.
      await (begin === 0 ? next : before);
      before = next;
    }
    await before;
  }

  /**
   * Checks after the insertion which message has each id, because another replica may have added the same id.
   *
   * @param count number of messages in the call, including those without an id of the caller's
   */
  private async confirm(entries: EngineItem[], began: number, count: number): Promise<void> {
    try {
      const free = await this.compare(entries, began);
      if (free.length === 0) return;
      // An expired message had the id, unless the new one may itself be settled and removed by now.
      if (this.store.clock.now() - began >= this.host.options.idempotencyMs) throw new Error('it took too long');
      await this.addAll(free);
      if ((await this.compare(free, began)).length > 0) throw new Error('expired messages could not be removed');
    } catch (error) {
      // The id is used by a different message, so the only message of the call was not added.
      if (isRtSmsError(error) && count === 1) throw error;
      // Messages were added and will be sent, so the error must not read as "not queued".
      const why = isRtSmsError(error)
        ? `the others are queued: ${error.message}`
        : 'it may be queued, but could not be checked';
      throw new Error(why, { cause: error });
    }
  }

  /**
   * Removes messages with these ids that were expired at `now`, and returns the entries whose ids are free.
   * @throws RtSmsValidationError if an id belongs to a different message
   */
  private async compare(entries: EngineItem[], now: number): Promise<EngineItem[]> {
    const { seal } = this.store;
    const { options } = this.host;
    const lookUp = (jobIds: string[]) => this.store.operations('send').lookUp(jobIds);
    const { free, hasForgotten } = await compareIds(entries, lookUp, { seal, options, now });
    // Removed by age, not by id, because the id may belong to a new message by now.
    if (hasForgotten) await this.store.removeCompleted('send', now - options.idempotencyMs);
    return free;
  }
}
