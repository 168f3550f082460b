import { setImmediate } from 'node:timers/promises';
import type { LimitCharge, LimitCounter, LimitResult, LimitStore } from 'nestjs-rt-sms';
import { MemoryLimits, refusalOf, roundedTo } from 'nestjs-rt-sms/engine';
import { idOf, jobIdOf } from './job-id.js';
import type { StoredCharge, StoredCounter, GroupResult } from './limit-operations.js';
import type { Store } from './store.js';
import { reason } from './store-errors.js';
import { within } from './store-requests.js';
import { WriteBatcher } from './write-batcher.js';

/** Milliseconds that a message waits for the counters of the store. */
const ANSWER_MS = 5_000;
/** Milliseconds after a failure for which the store is not asked, so that not every message waits for it. */
const PAUSE_MS = 1_000;
/** Minimum interval in milliseconds between two warnings. */
const WARNING_MS = 30_000;
/** Messages of one group: a larger one would block the store for long. */
const GROUP = 500;

/**
 * Counters of the send policy in the store of the queue, shared by all replicas. While the store is down each process counts by
 * itself.
 */
export class StoreLimits implements LimitStore {
  private readonly own = new MemoryLimits();
  private readonly batcher: WriteBatcher<StoredCharge[], GroupResult>;
  private failedAt = -Infinity;
  private warnedAt = -Infinity;

  constructor(
    private readonly store: Store,
    private readonly idempotencyMs: number,
  ) {
    const take = (groups: StoredCharge[][]) => this.store.limits.take(groups, this.idempotencyMs);
    this.batcher = new WriteBatcher(take, async (group) => (await take([group]))[0]!);
  }

  async take(charges: readonly LimitCharge[]): Promise<LimitResult> {
    const taken: string[] = [];
    for (let begin = 0; begin < charges.length; begin += GROUP) {
      const result = await this.takeGroup(charges.slice(begin, begin + GROUP));
      if ('taken' in result) taken.push(...result.taken);
      else {
        if (taken.length > 0) await this.giveBack(taken);
        return result;
      }
      if (begin > 0) await setImmediate();
    }
    return { taken };
  }

  async giveBack(ids: readonly string[]): Promise<void> {
    await this.own.giveBack(ids);
    for (let begin = 0; begin < ids.length; begin += GROUP)
      await this.ask(() => this.store.limits.giveBack(ids.slice(begin, begin + GROUP).map(jobIdOf))).catch(
        () => undefined,
      );
  }

  private async takeGroup(charges: LimitCharge[]): Promise<LimitResult> {
    const counters = new Map<string, LimitCounter>();
    let result: GroupResult;
    try {
      result = await this.ask(() => {
        const group = charges.map(({ id, queueId, counters: each }): StoredCharge => {
          const jobId = queueId === undefined ? '' : jobIdOf(queueId);
          return { id: jobIdOf(id), jobId, counters: each.map((counter) => this.stored(counter, counters)) };
        });
        return this.batcher.write(group);
      });
    } catch {
      return this.own.take(charges);
    }
    if ('taken' in result) return { taken: result.taken.map(idOf) };
    return { refusal: refusalOf(counters.get(result.refused)!, result.waitMs < 0 ? Infinity : result.waitMs) };
  }

  private stored(counter: LimitCounter, counters: Map<string, LimitCounter>): StoredCounter {
    const { rule, subject, max, perMs, cost } = counter;
    const key = `${rule}:${perMs}${subject === '' ? '' : `:${this.store.seal.hashOf(subject)}`}`;
    counters.set(key, counter);
    return { key, max, perMs, cost, stepMs: roundedTo(counter) };
  }

  /** Asks the store, unless it has just failed. @throws if it does not answer in time */
  private async ask<T>(work: () => Promise<T>): Promise<T> {
    if (performance.now() - this.failedAt < PAUSE_MS) throw new Error('the store has just failed');
    try {
      return await within(ANSWER_MS, (async () => work())());
    } catch (error) {
      this.failedAt = performance.now();
      this.warn(error);
      throw error;
    }
  }

  private warn(error: unknown): void {
    if (this.failedAt - this.warnedAt < WARNING_MS) return;
    this.warnedAt = this.failedAt;
    this.store.logger.warn(
      `The store of the queue failed, so this process counts the limits of the send policy by itself: ${reason(error)}`,
    );
  }
}
