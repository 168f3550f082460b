import type { JobsOptions } from 'bullmq';
import { RtSmsNotFoundError, type EngineHost } from 'nestjs-rt-sms';
import { isFinal, MAX_UNKNOWN_UIDS, PENDING_SENDS_WAIT_MS, redact, statusEvent } from 'nestjs-rt-sms/engine';
import type { StatusNote, UnknownData } from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall, notEmittedAgain } from './handler-retries.js';
import { checkIdOf } from './job-id.js';
import type { PollGate } from './poll-gate.js';
import { JOB, keepFor, type StoredJob } from './jobs.js';
import { QueueWorker } from './queue-worker.js';
import type { Store } from './store.js';
import { reason } from './store-errors.js';
import { WriteBatcher } from './write-batcher.js';

/** A callback is processed after this time, and again after the wait for pending sends. */
const FIRST_RUN_MS = 100;
/** Additional delay of a final status, so that it follows a status of the same moment that is not final. */
const FINAL_DELAY_MS = 50;
/** The status that the provider reports before a final one (§3.1). */
const OPEN = 'awaiting_report';
const RETRY_MS = 5_000;
const COUNT_MS = 1_000;
const TRIM_MS = 1_000;
const WARNING_MS = 30_000;

/**
 * Callbacks with uids that the account does not know. A job waits for the pending send of its message, and then emits the
 * status: once for each uid on all replicas, because the job id contains what is emitted. Such a uid is not polled on a
 * schedule. The last 10,000 jobs are kept, so that repeated callbacks are recognised.
 */
export class UnknownQueue extends QueueWorker<UnknownData> {
  private readonly adds: WriteBatcher<{ name: string; data: UnknownData; opts: JobsOptions }, StoredJob<UnknownData>>;
  private warnedAt = -Infinity;
  /** Number of unprocessed jobs at the last count, plus those added since. */
  private pending = 0;
  private countedAt = -Infinity;
  private trimTimer: NodeJS.Timeout | undefined;

  constructor(
    store: Store,
    private readonly host: EngineHost,
    private readonly jobs: Pick<CheckJobs, 'receive' | 'keepMs'>,
    private readonly gate: PollGate,
  ) {
    super(store, 'unknown', keepFor(jobs.keepMs));
    this.adds = new WriteBatcher(
      (all) => store.unknown.addBulk(all),
      ({ name, data, opts }) => store.unknown.add(name, data, opts),
    );
  }

  override async stop(): Promise<void> {
    clearTimeout(this.trimTimer);
    await super.stop();
  }

  /** Stores a callback; without `note` the gateway is polled once. */
  async add(uid: string, at: number, note?: StatusNote): Promise<void> {
    if (await this.isFull()) return;
    const isEnd = note && isFinal(note.report.status);
    const data: UnknownData = { uid, at, ...(note && { note }) };
    const opts = {
      ...JOB,
      jobId: idOf(uid, note?.report, isEnd),
      delay: FIRST_RUN_MS + (isEnd ? FINAL_DELAY_MS : 0),
      // The answer of a poll is stored as its own job, so the request need not be remembered.
      ...(note ? {} : { removeOnComplete: true }),
    };
    await this.adds.write({ name: 'callback', data, opts });
  }

  private async isFull(): Promise<boolean> {
    const now = performance.now();
    if (now - this.countedAt > COUNT_MS) {
      this.countedAt = now;
      this.pending = await this.store.unknown.getJobCountByTypes('waiting', 'delayed', 'active');
    }
    if (this.pending++ < MAX_UNKNOWN_UIDS) return false;
    if (now - this.warnedAt > WARNING_MS) this.warn();
    return true;
  }

  private warn(): void {
    this.warnedAt = performance.now();
    this.host.logger.warn(
      `Dropping callbacks with unknown uids: ${MAX_UNKNOWN_UIDS} are waiting already. Fix: if you did not expect them, change the callback secret`,
    );
  }

  /** Removes the oldest completed jobs. BullMQ's own limit would sort all jobs on PostgreSQL each time one completes. */
  private async trim(): Promise<void> {
    this.trimTimer = undefined;
    const [oldest] = await this.store.unknown.getJobs('completed', MAX_UNKNOWN_UIDS, MAX_UNKNOWN_UIDS);
    if (oldest?.finishedOn) await this.store.removeCompleted('unknown', oldest.finishedOn + 1);
  }

  protected async run(job: StoredJob<UnknownData>, token: string): Promise<string> {
    this.trimTimer ??= setTimeout(() => void this.trim().catch(this.store.warnThrottled), TRIM_MS).unref();
    const { uid, at, note } = job.data;
    if (note && (await this.isTooEarly(uid, note)))
      return this.postpone(job, token, this.store.clock.now() + FINAL_DELAY_MS);
    if (await this.jobs.receive(uid, note)) return 'known';
    if (this.store.clock.now() < at + PENDING_SENDS_WAIT_MS) {
      const delayMs = note && isFinal(note.report.status) ? FINAL_DELAY_MS : 0;
      return this.postpone(job, token, at + PENDING_SENDS_WAIT_MS + delayMs);
    }
    if (await this.host.sentByAnother(uid)) return "another account's";
    if (!note) return this.poll(job, token);
    if (!isFinal(note.report.status)) {
      const final = await this.store.unknown.getJob(idOf(uid, note.report, true));
      if (final && final.data.at < at) return 'after the final one';
    }
    const { report, ...how } = note;
    const event = statusEvent(this.host.options.account, uid, undefined, { ...report, ...how });
    if (await this.handled(this.host.emit.status(event))) return note.report.status;
    const failures = (job.data.failures ?? 0) + 1;
    if (failures > MAX_HANDLER_FAILURES) {
      this.host.logger.error(notEmittedAgain(event.id));
      return note.report.status;
    }
    await job.updateData({ ...job.data, failures });
    return this.postpone(job, token, nextHandlerCall(failures, this.store.clock.now()));
  }

  /** True for a final status while an earlier status that is not final is unprocessed, here or on another replica. */
  private async isTooEarly(uid: string, { at, report }: StatusNote): Promise<boolean> {
    if (!isFinal(report.status)) return false;
    const before = await this.store.unknown.getJob(idOf(uid, { status: OPEN, gatewayStatus: OPEN }));
    // A failing handler may delay the earlier one for a day, which the final one does not wait for.
    return before !== undefined && before.data.at <= at && !before.finishedOn && !before.data.failures;
  }

  private async poll(job: StoredJob<UnknownData>, token: string): Promise<string> {
    const { uid, at } = job.data;
    const waitMs = await this.gate.enter(job.id!);
    if (waitMs > 0) return this.postpone(job, token, this.store.clock.now() + waitMs);
    let report: StatusNote['report'];
    try {
      report = await this.gate.poll(uid);
    } catch (error) {
      this.host.logger.debug(`Status of ${redact(uid)}: ${reason(error)}`);
      if (error instanceof RtSmsNotFoundError || this.store.clock.now() - at > this.jobs.keepMs) return 'not found';
      return this.postpone(job, token, this.store.clock.now() + RETRY_MS);
    }
    await this.add(uid, at, { at: this.store.clock.now(), report, source: 'callback', confirmed: true });
    return 'polled';
  }
}

/** All final statuses of a uid share one id, so only the first is emitted. A uid does not contain `%`. */
function idOf(uid: string, report: StatusNote['report'] | undefined, isEnd?: boolean): string {
  if (!report) return `${checkIdOf(uid)}%ask`;
  return `${checkIdOf(uid)}%${isEnd ? 'final' : `.${Buffer.from(report.gatewayStatus).toString('base64url')}`}`;
}
