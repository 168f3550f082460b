import type { EngineHost } from 'nestjs-rt-sms';
import { OVERDUE_RECHECK_MS, redact } from 'nestjs-rt-sms/engine';
import { isSettled, readRef } from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall, notEmittedAgain } from './handler-retries.js';
import { idOf } from './job-id.js';
import type { StoredJob } from './jobs.js';
import { isOverdueData, OVERDUE, type OverdueData, type OverdueEvent } from './overdue-jobs.js';
import type { Store } from './store.js';

/** Milliseconds by which a timer may be early. */
const EARLY_MS = 50;
/**
 * Milliseconds by which a timer may be younger than its message. An older message was added by an earlier call, whose timer has
 * fired. It is less than the shortest timer, so that two calls at the same time have one timer.
 */
const YOUNGER_MS = 500;

/** A message that may be announced. It has a uid if it was sent. */
interface Message {
  uid?: string | undefined;
  /** True if it is not polled any more. */
  isClosed?: boolean | undefined;
  event: OverdueEvent;
}

/** What the worker of the check queue lends. */
interface Lent {
  postpone(job: StoredJob<OverdueData>, token: string, at: number): Promise<never>;
  handled(handlers: Promise<boolean>): Promise<boolean>;
}

/**
 * Runs the timers of messages with `overdueAfterMs`. A message that was not sent is announced here. The events of a sent one are
 * those of its check job, which polls first.
 */
export class OverdueRuns {
  constructor(
    private readonly store: Store,
    private readonly host: EngineHost,
    private readonly jobs: CheckJobs,
    private readonly worker: Lent,
  ) {}

  async run(job: StoredJob<OverdueData>, token: string): Promise<string> {
    const { data } = job;
    if (!isOverdueData(data)) {
      this.host.logger.error(
        `Dropped a timer that this module did not write (${redact(job.id!)}). Fix: see who can write to the store of the queue`,
      );
      return 'invalid';
    }
    const recheck = () => this.worker.postpone(job, token, this.store.clock.now() + OVERDUE_RECHECK_MS);
    // A worker takes what is due by its own clock.
    if (data.dueAt > this.store.clock.now() + EARLY_MS) return this.worker.postpone(job, token, data.dueAt);
    const message = await this.find(job);
    if (message === 'over') return message;
    if (message === 'in flight') return recheck();
    const { uid } = message;
    if (data.event) return this.announce(job, token, data.event);
    if (uid === undefined || message.isClosed) return this.announce(job, token, message.event);
    const { afterMs, sendJobId } = data;
    const entry = { at: this.store.clock.now(), overdue: { afterMs, sendJobId } };
    if ((await this.jobs.note(uid, data.isNoted ? undefined : entry)) !== 'notDelayed') return 'noted';
    // A run of the check job that has read its inbox already would leave the note to the next poll.
    if (!data.isNoted) await job.updateData({ ...data, isNoted: true });
    return recheck();
  }

  /** Looks at the send job and the check job of the message. `over`: nothing is to be announced. */
  private async find({ data, timestamp }: StoredJob<OverdueData>): Promise<Message | 'over' | 'in flight'> {
    let { uid } = data;
    if (data.sendJobId !== undefined) {
      const send = await this.store.send.getJob(data.sendJobId);
      if (!send || timestamp > send.timestamp + YOUNGER_MS) return 'over';
      const { state, sendStartedAt, ref } = send.data;
      if (state === undefined) return sendStartedAt === undefined ? { event: { ref } } : 'in flight';
      if (state === 'accepted') ({ uid } = send.data);
    }
    const check = uid === undefined ? undefined : (await this.jobs.find(uid))?.data;
    if (!check || isSettled(check) || check.overdue || check.overdueAnnounced) return 'over';
    return { uid, isClosed: check.closed, event: { uid, ref: check.ref, lastStatus: check.delivery?.last?.status } };
  }

  /** Emits the event. It is stored before, so that it is the same after a failed handler or the death of its worker. */
  private async announce(job: StoredJob<OverdueData>, token: string, event: OverdueEvent): Promise<string> {
    const { afterMs: overdueAfterMs, sendJobId } = job.data;
    const { uid, lastStatus } = event;
    const id = sendJobId === undefined ? undefined : idOf(sendJobId);
    if (!job.data.event) await job.updateData({ ...job.data, event });
    const payload = { uid, id, ref: readRef(event), lastStatus, overdueAfterMs };
    if (await this.worker.handled(this.host.emit.overdue(payload))) return OVERDUE;
    const failures = (job.data.failures ?? 0) + 1;
    if (failures > MAX_HANDLER_FAILURES) {
      this.host.logger.error(notEmittedAgain(`${uid ?? id}:overdue`));
      return OVERDUE;
    }
    await job.updateData({ ...job.data, failures });
    return this.worker.postpone(job, token, nextHandlerCall(failures, this.store.clock.now()));
  }
}
