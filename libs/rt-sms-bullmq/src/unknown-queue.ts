import { setTimeout as pause } from 'node:timers/promises';
import { DelayedError } from 'bullmq';
import { RtSmsNotFoundError, type DeliveryReport, type EngineHost, type RtSmsStatusEvent } from 'nestjs-rt-sms';
import { isFinal, MAX_UNKNOWN_UIDS, PENDING_SENDS_WAIT_MS, redact } from 'nestjs-rt-sms/engine';
import { MAX_HANDLER_FAILURES, nextHandlerCall } from './handler-retries.js';
import { checkIdOf } from './job-id.js';
import { JOB, keepFor, postpone, stopWorker, type JobWorker, type Store, type StoredJob } from './store.js';
import { jobError, reason } from './store-errors.js';

/** A callback waits so long for the answer to the POST of its message, and is looked at earlier once. */
const FIRST_LOOK_MS = 100;
/** A final status follows one that is not final and came at the same time. */
const FINAL_LATER_MS = 50;
/** The status that the provider reports before a final one (§3.1). */
const OPEN = 'awaiting_report';
const RETRY_MS = 5_000;
const COUNT_MS = 1_000;
const TRIM_MS = 1_000;
const WARNING_MS = 30_000;
/** A turn to ask the gateway that comes later makes way for other jobs meanwhile. */
const PATIENCE_MS = 100;

/** A status, and how it became known. */
export interface Word {
  at: number;
  report: Omit<DeliveryReport, 'uid'>;
  source: 'callback' | 'poll';
  confirmed: boolean;
}

/** A callback: its status, or nothing if only the gateway is to be believed. */
export interface UnknownData {
  uid: string;
  at: number;
  word?: Word;
  failures?: number;
}

/** The records of the messages that the account does know. */
export interface KnownMessages {
  /** Gives the status, or a hint, to the job of the message. False if there is none. */
  receive(uid: string, word?: Word): Promise<boolean>;
  /** In how many milliseconds the gateway may be asked by the job of this id. */
  turnMs(jobId: string): number;
  /** One status request. */
  poll(uid: string): Promise<Word['report']>;
  event(uid: string, word: Word): RtSmsStatusEvent;
}

/**
 * Callbacks about uids that the account does not know. A job waits for the sender of the message, which may still be waiting for
 * the answer to its POST, and then emits the status: once for each uid on all replicas, because the id of the job says what is
 * emitted. The gateway is not polled for such a uid. The last 10,000 jobs are kept, so that a repeated callback finds its own.
 */
export class UnknownQueue {
  private worker: JobWorker<UnknownData> | undefined;
  private warnedAt = -Infinity;
  /** Jobs that wait, as counted lately, and those that were added since. */
  private pending = 0;
  private countedAt = -Infinity;
  private trimTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly store: Pick<Store<never, never, UnknownData>, 'unknown' | 'forget' | 'work' | 'complain'>,
    private readonly host: EngineHost,
    private readonly messages: KnownMessages,
    /** How long a job is kept after its status was emitted. */
    private readonly keepMs: number,
  ) {}

  async open(): Promise<void> {
    this.worker = await this.store.work<UnknownData>(
      'unknown',
      (job, token) => this.process(job, token),
      keepFor(this.keepMs),
    );
  }

  startWorker(): void {
    void this.worker?.run().catch(this.store.complain);
  }

  async stopWorker(): Promise<void> {
    clearTimeout(this.trimTimer);
    if (this.worker) await stopWorker(this.worker);
  }

  /** Stores a callback; without `word` the gateway is to be asked. */
  async add(uid: string, at: number, word?: Word): Promise<void> {
    if (await this.isFull()) return;
    const ends = word && isFinal(word.report.status);
    const delay = FIRST_LOOK_MS + (ends ? FINAL_LATER_MS : 0);
    const data: UnknownData = { uid, at, ...(word && { word }) };
    // What was asked need not be remembered: what the gateway says is stored as a job of its own.
    const opts = {
      ...JOB,
      jobId: idOf(uid, word?.report, ends),
      delay,
      ...(word ? {} : { removeOnComplete: true }),
    };
    await this.store.unknown.add('callback', data, opts);
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
      `Dropping callbacks about unknown messages: ${MAX_UNKNOWN_UIDS} wait already. If you did not expect them, change the callback's secret`,
    );
  }

  private async process(job: StoredJob<UnknownData>, token: string): Promise<string> {
    this.trimTimer ??= setTimeout(() => void this.trim().catch(this.store.complain), TRIM_MS).unref();
    try {
      return await this.take(job, token);
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      throw jobError(error);
    }
  }

  /** Forgets the oldest beyond the cap. BullMQ's own count would on PostgreSQL sort all jobs at each that completes. */
  private async trim(): Promise<void> {
    this.trimTimer = undefined;
    const [oldest] = await this.store.unknown.getJobs('completed', MAX_UNKNOWN_UIDS, MAX_UNKNOWN_UIDS);
    if (oldest?.finishedOn) await this.store.forget('unknown', oldest.finishedOn + 1);
  }

  private async take(job: StoredJob<UnknownData>, token: string): Promise<string> {
    const { uid, at, word } = job.data;
    if (word && (await this.isTooEarly(uid, word))) return postpone(job, token, Date.now() + FINAL_LATER_MS);
    if (await this.messages.receive(uid, word)) return 'known';
    if (Date.now() < at + PENDING_SENDS_WAIT_MS) {
      const later = word && isFinal(word.report.status) ? FINAL_LATER_MS : 0;
      return postpone(job, token, at + PENDING_SENDS_WAIT_MS + later);
    }
    if (await this.host.sentByAnother(uid)) return "another account's";
    if (!word) return this.ask(job, token);
    if (!isFinal(word.report.status)) {
      const final = await this.store.unknown.getJob(idOf(uid, word.report, true));
      if (final && final.data.at < at) return 'after the final one';
    }
    const event = this.messages.event(uid, word);
    const failures = (job.data.failures ?? 0) + 1;
    if (await this.host.emit.status(event)) return word.report.status;
    if (failures > MAX_HANDLER_FAILURES) {
      this.host.logger.error(
        `The handlers of ${reason(event.id)} failed ${MAX_HANDLER_FAILURES} times; it is not emitted again`,
      );
      return word.report.status;
    }
    await job.updateData({ ...job.data, failures });
    return postpone(job, token, nextHandlerCall(failures));
  }

  /** A final status comes after the one that is not final: both have a job, and another replica may have that one in its hands. */
  private async isTooEarly(uid: string, { at, report }: Word): Promise<boolean> {
    if (!isFinal(report.status)) return false;
    const before = await this.store.unknown.getJob(idOf(uid, { status: OPEN, gatewayStatus: OPEN }));
    // Handlers that fail may do so for a day.
    return before !== undefined && before.data.at <= at && !before.finishedOn && !before.data.failures;
  }

  private async ask(job: StoredJob<UnknownData>, token: string): Promise<string> {
    const { uid, at } = job.data;
    const turnMs = this.messages.turnMs(job.id!);
    if (turnMs > PATIENCE_MS) return postpone(job, token, Date.now() + turnMs);
    if (turnMs > 0) await pause(turnMs);
    let report: Word['report'];
    try {
      report = await this.messages.poll(uid);
    } catch (error) {
      this.host.logger.debug(`Status of ${redact(uid)}: ${reason(error)}`);
      if (error instanceof RtSmsNotFoundError || Date.now() - at > this.keepMs) return 'not found';
      return postpone(job, token, Date.now() + RETRY_MS);
    }
    await this.add(uid, at, { at: Date.now(), report, source: 'callback', confirmed: true });
    return 'asked';
  }
}

/** One id for all final statuses of a uid: the first is emitted. A uid has no `%` in it. */
function idOf(uid: string, report: Word['report'] | undefined, ends?: boolean): string {
  if (!report) return `${checkIdOf(uid)}%ask`;
  return `${checkIdOf(uid)}%${ends ? 'final' : `.${Buffer.from(report.gatewayStatus).toString('base64url')}`}`;
}
