import { setTimeout as pause } from 'node:timers/promises';
import {
  RtSmsTimeoutError,
  type DeliveryReport,
  type DeliveryTracker,
  type EngineHost,
  type RtSmsStatusEvent,
} from 'nestjs-rt-sms';
import { finalOf, HINT_PAUSE_MS, PENDING_SENDS_WAIT_MS, redact, statusEvent } from 'nestjs-rt-sms/engine';
import { pickReport, readRef, type StatusNote } from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { Hints } from './hints.js';
import { overdueTimer } from './overdue-jobs.js';
import type { Store } from './store.js';
import type { UnknownQueue } from './unknown-queue.js';

/** Interval in milliseconds at which a wait for a final status reads the store, because another replica may emit the event. */
const FIND_INTERVAL_MS = 500;

/** Tracker of the account on every replica: it passes callbacks and requests to the check jobs. */
export class BullMqTracker implements DeliveryTracker {
  private stopped = false;
  private readonly hints: Hints;

  constructor(
    private readonly store: Store,
    private readonly host: EngineHost,
    private readonly jobs: CheckJobs,
    private readonly unknown: UnknownQueue,
  ) {
    this.hints = new Hints((uid) => this.runHinted(uid), HINT_PAUSE_MS, PENDING_SENDS_WAIT_MS);
  }

  /** True for any uid, because early callbacks can wait in the store. */
  follows(): boolean {
    return true;
  }

  async isKnown(uid: string): Promise<boolean> {
    return (await this.store.guard('callback', () => this.jobs.find(uid))) !== undefined;
  }

  /** If the store does not take it now, this process retries until it does. */
  async follow(uid: string, about: Parameters<DeliveryTracker['follow']>[1] = {}): Promise<void> {
    if (!this.host.options.tracking) return;
    const now = this.store.clock.now();
    // A journal may return a date as text, or null.
    const sentAt = Math.min(now, (about.sentAt && new Date(about.sentAt).getTime()) || now);
    const { ref, overdue } = about;
    const timer = overdue && overdueTimer(now, now + overdue.inMs, { afterMs: overdue.afterMs, uid });
    const register = async () => {
      await this.jobs.add(uid, sentAt, ref, timer);
      if (ref === undefined) return;
      // The uid may have been tracked before without a ref.
      const job = await this.jobs.find(uid);
      if (job && job.data.ref === undefined) await this.jobs.append(uid, { at: now, sent: { at: sentAt, ref } });
    };
    await this.guardOrRetry('track', uid, register);
  }

  async observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> {
    const { uid } = report;
    const note: StatusNote = { at: this.store.clock.now(), report: pickReport(report), source, confirmed };
    try {
      await this.store.guard('callback', async () => {
        if (!(await this.jobs.receive(uid, note)) && source === 'callback') await this.unknown.add(uid, note.at, note);
      });
    } catch (error) {
      this.store.warnThrottled(error);
      // The gateway's answer can be requested again. A callback comes only once.
      if (source === 'callback') throw error;
    }
  }

  requestPoll(uid: string, evenIfUnknown: boolean): Promise<void> | void {
    if (!evenIfUnknown) return this.hints.add(uid);
    const at = this.store.clock.now();
    return this.guardOrRetry('callback', `poll ${uid}`, async () => {
      if (!(await this.jobs.receive(uid))) await this.unknown.add(uid, at);
    });
  }

  async findFinal(uid: string, isOver: () => boolean): Promise<RtSmsStatusEvent | undefined> {
    const { account } = this.host.options;
    for (let first = true; !isOver(); first = false) {
      const job = await this.store.guard('find', () => this.jobs.find(uid)).catch(() => undefined);
      const final = job && finalOf(job.data.delivery ?? {});
      if (final) return statusEvent(account, uid, readRef(job.data), final);
      if (job?.data.closed)
        throw new RtSmsTimeoutError(`${redact(uid)} is no longer tracked and has no final status`, 'not_sent', {
          operation: 'wait',
          account,
        });
      if (first) {
        await this.follow(uid);
        const polled = this.host.status(uid).then((report) => this.observe(report, 'poll', true));
        await polled.catch(() => undefined);
      }
      await pause(FIND_INTERVAL_MS, undefined, { ref: false });
    }
    return undefined;
  }

  stop(): void {
    this.stopped = true;
    this.jobs.deferred.stop();
  }

  private async guardOrRetry(request: 'track' | 'callback', key: string, work: () => Promise<void>): Promise<void> {
    try {
      await this.store.guard(request, work);
    } catch (error) {
      this.store.warnThrottled(error);
      this.jobs.deferred.retryLater(key, work);
    }
  }

  /** Runs the job of a hint. False if it does not exist. */
  private async runHinted(uid: string): Promise<boolean> {
    if (this.stopped) return true;
    try {
      return await this.jobs.receive(uid);
    } catch (error) {
      this.store.warnThrottled(error);
      return true;
    }
  }
}
