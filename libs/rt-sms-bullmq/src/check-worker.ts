import { RtSmsNotFoundError, RtSmsValidationError, type EngineHost, type RtSmsStatusEvent } from 'nestjs-rt-sms';
import {
  applyReport,
  finalOf,
  gaveUp,
  HINT_PAUSE_MS,
  ignoredDuplicate,
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
  type StatusNote,
} from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall, notEmittedAgain } from './handler-retries.js';
import { uidOf } from './job-id.js';
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
type PollCause = 'schedule' | 'hint' | 'confirmation';

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
  constructor(
    store: Store,
    private readonly host: EngineHost,
    private readonly jobs: CheckJobs,
    private readonly gate: PollGate,
  ) {
    super(store, 'check', keepFor(jobs.keepMs));
  }

  protected async run(job: StoredJob<CheckData>, token: string): Promise<string> {
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
      }
      data.inboxRead = (data.inboxRead ?? 0) + 1;
    }
    // A worker that is ahead of the store has taken the job by its own clock.
    const isDue = Math.max(Date.now(), this.store.clock.now()) >= data.dueAt - PATIENCE_MS;
    const isOpen = !isSettled(data) && !data.closed;
    if (needsConfirmation) await this.poll(run, 'confirmation');
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
      const source = isScheduled ? 'poll' : 'callback';
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
