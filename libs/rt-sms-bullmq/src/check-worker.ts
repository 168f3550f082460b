import { RtSmsNotFoundError, RtSmsValidationError, type EngineHost, type RtSmsStatusEvent } from 'nestjs-rt-sms';
import {
  applyReport,
  finalOf,
  gaveUp,
  HINT_PAUSE_MS,
  ignoredDuplicate,
  OVERDUE_POLL_MS,
  redact,
  statusEvent,
} from 'nestjs-rt-sms/engine';
import {
  isCheckData,
  isSettled,
  readEntry,
  readRef,
  type CheckData,
  type InboxEntry,
  type Overdue,
  type StatusNote,
} from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall, notEmittedAgain } from './handler-retries.js';
import { idOf, uidOf } from './job-id.js';
import { OVERDUE, type OverdueData } from './overdue-jobs.js';
import { OverdueRuns } from './overdue-runs.js';
import { PATIENCE_MS, type PollGate } from './poll-gate.js';
import { keepFor, type StoredJob } from './jobs.js';
import { QueueWorker } from './queue-worker.js';
import type { Store } from './store.js';
import { reason } from './store-errors.js';

/** First and last time in milliseconds for which statuses wait for the handlers of `accepted`. */
const FIRST_ACCEPT_WAIT_MS = 100;
const MAX_ACCEPT_WAIT_MS = 300_000;
const RETRY_MS = 5_000;

type Applied = 'nothing' | 'emitted' | 'failed' | 'needsConfirmation';
type PollCause = 'schedule' | 'hint' | 'confirmation' | 'overdue';

/** One run of a check job. `data` is the working copy that the run stores at its end. */
interface Run {
  job: StoredJob<CheckData>;
  token: string;
  uid: string;
  data: CheckData;
}

/**
 * Worker of the check jobs. A run applies the inbox of the job, polls the gateway if it is due, and emits the events. A failed
 * event handler postpones the job.
 */
export class CheckWorker extends QueueWorker<CheckData> {
  private readonly overdue: OverdueRuns;

  constructor(
    store: Store,
    private readonly host: EngineHost,
    private readonly jobs: CheckJobs,
    private readonly gate: PollGate,
  ) {
    super(store, 'check', keepFor(jobs.keepMs));
    this.overdue = new OverdueRuns(store, host, jobs, {
      postpone: (timer, token, at) => this.postpone(timer as unknown as StoredJob<CheckData>, token, at),
      handled: (handlers) => this.handled(handlers),
    });
  }

  protected async run(job: StoredJob<CheckData>, token: string): Promise<string> {
    if (job.name === OVERDUE) return this.overdue.run(job as unknown as StoredJob<OverdueData>, token);
    const run: Run = { job, token, uid: uidOf(job.id!), data: { ...job.data } };
    const { data } = run;
    if (!isCheckData(data)) return this.drop(run);
    const inbox = await this.readInbox(run);
    if (inbox === 'announcing') {
      const now = this.store.clock.now();
      return this.postpone(job, token, now + Math.max(FIRST_ACCEPT_WAIT_MS, (now - data.sentAt) / 10));
    }
    delete data.awaitingAccept;
    delete data.sendJobId;
    let needsConfirmation = false;
    let hasStatus = false;
    for (const entry of inbox) {
      if (entry && 'report' in entry) {
        hasStatus = true;
        const applied = await this.apply(run, entry);
        if (applied === 'failed') return this.postponeAfterFailure(run);
        needsConfirmation ||= applied === 'needsConfirmation';
      } else if (entry && 'overdue' in entry && !data.overdueAnnounced) {
        data.overdue ??= { ...entry.overdue, at: entry.at };
      }
      data.inboxRead = (data.inboxRead ?? 0) + 1;
    }
    // A worker that is ahead of the store has taken the job by its own clock.
    const isDue = Math.max(Date.now(), this.store.clock.now()) >= data.dueAt - PATIENCE_MS;
    const isOpen = !isSettled(data) && !data.closed;
    if (isSettled(data)) delete data.overdue;
    if (needsConfirmation) await this.poll(run, 'confirmation');
    else if (data.overdue) await this.pollOverdue(run, data.overdue, isDue);
    else if (isOpen && isDue) await this.poll(run, 'schedule');
    else if (isOpen && !hasStatus) await this.poll(run, 'hint');
    await job.updateData(data);
    if (!isSettled(data) && !data.closed) return this.postpone(job, token, data.dueAt);
    return finalOf(data.delivery ?? {})?.status ?? 'unresolved';
  }

  /** Reads what has arrived; `announcing` while `accepted` is still to be announced, because it comes before any status. */
  private async readInbox({ job, data }: Run): Promise<(InboxEntry | undefined)[] | 'announcing'> {
    const awaited = () =>
      data.awaitingAccept && this.store.clock.now() - data.sentAt <= MAX_ACCEPT_WAIT_MS ? data.sendJobId : undefined;
    const read = (sendJobId: string | undefined) =>
      this.store.operations('send').inbox(job.id!, data.inboxRead ?? 0, sendJobId);
    const before = awaited();
    const { rows, isAnnouncing } = await read(before);
    const inbox = rows.map(readEntry);
    applySent(data, inbox);
    const now = awaited();
    const isAwaited = now === before ? isAnnouncing : (await read(now)).isAnnouncing;
    return isAwaited ? 'announcing' : inbox;
  }

  /** Polls the gateway and applies its answer to `run.data`. @throws DelayedError if the job was postponed */
  private async poll(run: Run, cause: PollCause): Promise<void> {
    const { job, token, uid, data } = run;
    const isScheduled = cause === 'schedule';
    if (isScheduled && !this.host.options.tracking) {
      data.closed = true;
      return;
    }
    const notBefore = (data.polledAt ?? 0) + (cause === 'hint' ? HINT_PAUSE_MS : 0);
    const waitMs = await this.gate.enter(job.id!, notBefore);
    if (waitMs > 0) {
      // A confirmation leaves its inbox unread, so that the next run finds the contradiction again.
      if (cause !== 'confirmation') await job.updateData(data);
      await this.postpone(job, token, this.store.clock.now() + waitMs);
    }
    data.polledAt = this.store.clock.now();
    const isLast = isScheduled && this.jobs.schedule.isOver(data.sentAt, data.polledAt);
    let isMissing = false;
    let hasFailedHandler = false;
    try {
      const report = await this.gate.poll(uid);
      data.missingSince = undefined;
      const source = isScheduled || cause === 'overdue' ? 'poll' : 'callback';
      const applied = await this.apply(run, { at: this.store.clock.now(), report, source, confirmed: true });
      hasFailedHandler = applied === 'failed';
    } catch (error) {
      isMissing = error instanceof RtSmsNotFoundError;
      this.host.logger.debug(`Status of ${redact(uid)}: ${reason(error)}`);
      if (error instanceof RtSmsValidationError) {
        this.drop(run);
        data.closed = true;
        return;
      }
      if (cause === 'confirmation' && !isMissing) await this.postpone(job, token, this.store.clock.now() + RETRY_MS);
    }
    // Outside the `try`: an error of the store must not be taken for a failed poll.
    if (hasFailedHandler) await this.postponeAfterFailure(run);
    if (isSettled(data)) return;
    if (isMissing) data.missingSince ??= this.store.clock.now();
    const isLost = this.jobs.schedule.isLost(data.missingSince, this.store.clock.now());
    if (isLost || isLast) return this.giveUp(run, isLost);
    if (isScheduled) data.step = (data.step ?? 0) + 1;
    if (isScheduled || this.store.clock.now() >= data.dueAt)
      data.dueAt = Math.round(this.jobs.schedule.next(data.sentAt, data.step ?? 0, this.store.clock.now()));
  }

  /** Polls an overdue message if the gateway can be asked in time, and announces it unless its status is final. */
  private async pollOverdue(run: Run, overdue: Overdue, isDue: boolean): Promise<void> {
    const { data } = run;
    // The handlers of a status have failed: the status is known, and an overdue event would be wrong.
    const isInTime = data.failures !== undefined || this.store.clock.now() < overdue.at + OVERDUE_POLL_MS;
    if (isInTime && !overdue.event && !data.closed && !this.host.breaker.error)
      await this.poll(run, isDue ? 'schedule' : 'overdue');
    if (!isSettled(data)) await this.announceOverdue(run, overdue);
    delete data.overdue;
  }

  private async announceOverdue(run: Run, overdue: Overdue): Promise<void> {
    const { uid, data } = run;
    const { sendJobId, afterMs: overdueAfterMs } = overdue;
    const id = sendJobId === undefined ? undefined : idOf(sendJobId);
    const { lastStatus } = (overdue.event ??= { lastStatus: data.delivery?.last?.status });
    const handlers = this.host.emit.overdue({ uid, id, ref: readRef(data), lastStatus, overdueAfterMs });
    if (!(await this.handled(handlers))) {
      if ((data.failures ?? 0) < MAX_HANDLER_FAILURES) await this.postponeAfterFailure(run);
      this.host.logger.error(notEmittedAgain(`${uid}:overdue`));
    }
    delete data.failures;
    data.overdueAnnounced = true;
  }

  /** Ends a job that the engine did not write. */
  private drop({ uid }: Run): string {
    this.host.logger.error(
      `Dropped a check job that this module did not write (${redact(uid)}). Fix: see who can write to the store of the queue`,
    );
    return 'invalid';
  }

  private async giveUp(run: Run, isLost: boolean): Promise<void> {
    const { uid, data } = run;
    this.host.logger.warn(gaveUp(uid, isLost ? 'not-found' : this.jobs.schedule.maxAgeMs));
    const lastStatus = data.delivery?.last?.status;
    const succeeded = await this.handled(this.host.emit.unresolved(uid, { ref: readRef(data), lastStatus }));
    if (!succeeded && (data.failures ?? 0) < MAX_HANDLER_FAILURES) await this.postponeAfterFailure(run);
    data.closed = true;
  }

  private async apply({ uid, data }: Run, { report, source, confirmed, at }: StatusNote): Promise<Applied> {
    const transition = applyReport(data.delivery ?? {}, report, source, confirmed, at);
    if (transition.kind === 'needsConfirmation') return 'needsConfirmation';
    if (transition.kind === 'duplicate') {
      this.host.logger.debug(ignoredDuplicate(uid, report, source));
      return 'nothing';
    }
    const { state } = transition;
    const event = statusEvent(this.host.options.account, uid, readRef(data), state.last);
    if (!(await this.emit(event, data))) return 'failed';
    data.delivery = state;
    if (event.final) data.closed = false;
    return 'emitted';
  }

  private async emit(event: RtSmsStatusEvent, data: CheckData): Promise<boolean> {
    if (await this.handled(this.host.emit.status(event))) {
      delete data.failures;
      return true;
    }
    if ((data.failures ?? 0) < MAX_HANDLER_FAILURES) return false;
    this.host.logger.error(notEmittedAgain(event.id));
    return true;
  }

  /** Runs the job again later, after an event handler failed. The event will be the same. */
  private async postponeAfterFailure({ job, token, data }: Run): Promise<never> {
    data.failures = (data.failures ?? 0) + 1;
    const at = nextHandlerCall(data.failures, this.store.clock.now());
    data.dueAt = Math.min(data.dueAt, at);
    await job.updateData(data);
    return this.postpone(job, token, at);
  }
}

/** Takes over the facts of the sender, which may arrive after the first callbacks. */
function applySent(data: CheckData, inbox: (InboxEntry | undefined)[]): void {
  for (const entry of inbox) {
    if (!entry || !('sent' in entry)) continue;
    const { at, ref, sendJobId } = entry.sent;
    if (ref !== undefined) data.ref = JSON.stringify(ref);
    data.sentAt = at;
    if (sendJobId !== undefined) Object.assign(data, { sendJobId, awaitingAccept: true });
  }
}
