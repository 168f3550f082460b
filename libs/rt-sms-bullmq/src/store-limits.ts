import { setImmediate } from 'node:timers/promises';
import {
  RtSmsOverloadedError,
  type LimitCharge,
  type LimitCounter,
  type LimitResult,
  type LimitStore,
} from 'nestjs-rt-sms';
import { MemoryLimits, refusalOf, roundedTo } from 'nestjs-rt-sms/engine';
import { idOf, jobIdOf } from './job-id.js';
import type { StoredCharge, StoredCounter, GroupResult } from './limit-operations.js';
import type { Store } from './store.js';
import { StoreAvailability, StoreDownError } from './store-availability.js';
import { isDown, isSlow, reason, safeStoreError } from './store-errors.js';
import { within } from './store-requests.js';
import { WriteBatcher } from './write-batcher.js';

/** Milliseconds for which giving back is tried, and for which a caller waits for it. */
const GIVE_BACK_MS = 5_000;
const GIVE_BACK_WAIT_MS = 500;
/** Calls that wait for the store at most. */
const MAX_WAITING = 10_000;
/** Minimum interval in milliseconds between two warnings. */
const WARNING_MS = 30_000;
/** Messages of one group: a larger one would block the store for long. */
const GROUP = 500;

/** Messages that are counted together, and whether their caller still waits. */
interface Group {
  charges: StoredCharge[];
  isWanted: () => boolean;
}
type Answer = GroupResult | { error: unknown };

/**
 * Counters of the send policy in the store of the queue, shared by all replicas. While the store is down each process counts by
 * itself. While it is only slow messages wait for it, because each process that counted by itself would have the whole limit.
 */
export class StoreLimits implements LimitStore {
  private readonly own: MemoryLimits;
  private readonly batcher: WriteBatcher<Group, Answer>;
  private readonly availability: StoreAvailability;
  private warnedAt = -Infinity;
  private waiting = 0;

  constructor(
    private readonly store: Store,
    private readonly account: string,
    private readonly idempotencyMs: number,
  ) {
    this.own = new MemoryLimits(idempotencyMs);
    this.batcher = new WriteBatcher(
      (groups) => this.takeAll(groups),
      async ({ charges }) => (await this.store.limits.take([charges], this.idempotencyMs))[0]!,
    );
    this.availability = new StoreAvailability(
      () => store.probe(),
      () => store.isEnding,
      (cause) => this.warn(cause),
    );
  }

  async take(charges: readonly LimitCharge[], isWanted = () => true): Promise<LimitResult> {
    const taken: string[] = [];
    for (let begin = 0; begin < charges.length; begin += GROUP) {
      if (begin > 0) await setImmediate();
      const taking = this.takeGroup(charges.slice(begin, begin + GROUP), isWanted);
      const result = await taking.catch(async (error: unknown) => {
        await this.giveBack(taken);
        throw error;
      });
      if ('refusal' in result) {
        await this.giveBack(taken);
        return result;
      }
      taken.push(...result.taken);
    }
    return { taken };
  }

  async giveBack(ids: readonly string[]): Promise<void> {
    await this.own.giveBack(ids);
    await within(GIVE_BACK_WAIT_MS, this.giveBackStored(ids)).catch(() => undefined);
  }

  private async giveBackStored(ids: readonly string[]): Promise<void> {
    const began = performance.now();
    const isWanted = () => performance.now() - began < GIVE_BACK_MS;
    for (let begin = 0; begin < ids.length; begin += GROUP) {
      const jobIds = ids.slice(begin, begin + GROUP).map(jobIdOf);
      await this.availability.run(() => this.store.limits.giveBack(jobIds), isWanted);
    }
  }

  private async takeGroup(charges: LimitCharge[], isWanted: () => boolean): Promise<LimitResult> {
    const counters = new Map<string, LimitCounter>();
    // An id that is not the caller's belongs to this call alone: if the store had it already, its first answer was lost.
    const own = charges.flatMap(({ id, queueId }) => (queueId === undefined ? [id] : []));
    let result: GroupResult;
    if (this.waiting >= MAX_WAITING) throw this.notCounted(new Error(`${MAX_WAITING} calls already wait for it`));
    this.waiting++;
    try {
      result = await this.availability.run(async () => {
        await this.store.ready;
        const stored = charges.map(({ id, queueId, counters: each }): StoredCharge => {
          const jobId = queueId === undefined ? '' : jobIdOf(queueId);
          return { id: jobIdOf(id), jobId, counters: each.map((counter) => this.stored(counter, counters)) };
        });
        const answer = await this.batcher.write({ charges: stored, isWanted });
        if ('error' in answer) throw answer.error;
        return answer;
      }, isWanted);
    } catch (error) {
      if (error instanceof StoreDownError && isWanted()) return this.own.take(charges);
      // The store may have counted them although its answer was lost.
      void this.giveBack(own);
      throw this.notCounted(error);
    } finally {
      this.waiting--;
    }
    if ('refused' in result)
      return { refusal: refusalOf(counters.get(result.refused)!, result.waitMs < 0 ? Infinity : result.waitMs) };
    return { taken: [...new Set([...own, ...result.taken.map(idOf)])] };
  }

  private async takeAll(groups: Group[]): Promise<Answer[]> {
    const wanted = groups.filter(({ isWanted }) => isWanted());
    try {
      const results =
        wanted.length === 0
          ? []
          : await this.store.limits.take(
              wanted.map(({ charges }) => charges),
              this.idempotencyMs,
            );
      const byGroup = new Map(wanted.map((group, n) => [group, results[n]!]));
      return groups.map((group) => byGroup.get(group) ?? { error: new Error('the caller no longer waits') });
    } catch (error) {
      // Groups that the store did not take need not be repeated one by one.
      if (isDown(error) || isSlow(error)) return groups.map(() => ({ error }));
      throw error;
    }
  }

  private notCounted(error: unknown): RtSmsOverloadedError {
    return new RtSmsOverloadedError(
      `Nothing was sent: the store of the queue could not count the limits of the send policy (${reason(error)})`,
      { account: this.account, cause: safeStoreError(error) },
    );
  }

  private stored(counter: LimitCounter, counters: Map<string, LimitCounter>): StoredCounter {
    const { rule, subject, max, perMs, cost } = counter;
    const key = `${rule}:${perMs}${subject === '' ? '' : `:${this.store.seal.hashOf(subject)}`}`;
    counters.set(key, counter);
    return { key, max, perMs, cost, stepMs: roundedTo(counter) };
  }

  private warn(error: unknown): void {
    const now = performance.now();
    if (now - this.warnedAt < WARNING_MS) return;
    this.warnedAt = now;
    this.store.logger.warn(
      `The store of the queue is down, so this process counts the limits of the send policy by itself: ${reason(error)}`,
    );
  }
}
