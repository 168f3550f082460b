import type { EngineSettings } from 'nestjs-rt-sms';
import { finalOf, isFinal, PollSchedule } from 'nestjs-rt-sms/engine';
import type { CheckData, InboxEntry, Sent, StatusNote } from './check-data.js';
import { DeferredWork } from './deferred-work.js';
import { checkIdOf } from './job-id.js';
import type { FencedUpdate } from './operations.js';
import { JOB } from './jobs.js';
import type { Store } from './store.js';
import { isMissing } from './store-errors.js';

/** Time in milliseconds for which a settled message is remembered, so that repeated callbacks emit nothing. */
const KEEP_SETTLED_MS = 24 * 3_600_000;
/** An active job may already have read its inbox. It is run again after this time in milliseconds. */
const ACTIVE_RECHECK_MS = 100;

/** The check jobs, one for each uid, as every replica may write them: it adds jobs, fills their inboxes and runs them early. */
export class CheckJobs {
  readonly schedule: PollSchedule;
  /** Milliseconds for which a job is kept after its message has settled. */
  readonly keepMs: number;
  readonly deferred: DeferredWork;

  constructor(
    private readonly store: Store,
    tracking: EngineSettings['tracking'],
  ) {
    const maxAgeMs = tracking ? tracking.maxAgeMs : KEEP_SETTLED_MS;
    this.keepMs = Math.min(maxAgeMs, KEEP_SETTLED_MS);
    // Without tracking a job is only a record. It ends silently after its time.
    this.schedule = new PollSchedule({ schedule: tracking ? tracking.schedule : [maxAgeMs], maxAgeMs });
    this.deferred = new DeferredWork(store.warnThrottled);
  }

  find(uid: string) {
    return this.store.check.getJob(checkIdOf(uid));
  }

  /** Adds the job of a uid, unless it exists. */
  async add(uid: string, sentAt: number, ref: string | undefined): Promise<void> {
    const { name, data, opts } = this.job(uid, { at: sentAt, ref });
    await this.store.check.add(name, data, opts);
  }

  /**
   * Adds the job of an accepted message together with an update of its send job. Statuses wait until `accepted` has been
   * announced. False if another worker holds the send job.
   */
  async addAccepted(uid: string, sent: Sent, update: FencedUpdate): Promise<boolean> {
    const checkJob = this.job(uid, sent, true);
    const { replaced, added } = await this.store.operations.update({ ...update, checkJob });
    // The uid is tracked already, but its message was not known.
    if (!added) await this.append(uid, { at: Date.now(), sent });
    return replaced;
  }

  /** Gives a status to the job of the uid and runs it; without `note` it only runs. False if the job does not exist. */
  async receive(uid: string, note?: StatusNote): Promise<boolean> {
    if (!note) return this.runNow(uid);
    if (await this.isKnownMissing(uid)) return false;
    if (!(await this.append(uid, note))) return false;
    await this.runNow(uid, note.report.status);
    return true;
  }

  /** Appends an entry to the inbox of the job. False if the job does not exist. */
  async append(uid: string, entry: InboxEntry): Promise<boolean> {
    for (;;) {
      try {
        await this.store.check.addJobLog(checkIdOf(uid), JSON.stringify(entry));
        return true;
      } catch (error) {
        if (isMissing(error)) return false;
        // PostgreSQL: two entries at once got the same number, and the other one was stored.
        if ((error as { code?: unknown }).code !== '23505') throw error;
      }
    }
  }

  /** Runs the job now; `received` is the status that was appended. False if the job does not exist. */
  async runNow(uid: string, received?: StatusNote['report']['status']): Promise<boolean> {
    if (await this.isKnownMissing(uid)) return false;
    const id = checkIdOf(uid);
    const { check } = this.store;
    let state = 'delayed';
    while (state === 'delayed') {
      try {
        await this.store.runNow(check, id);
        return true;
      } catch (error) {
        const { code } = error as { code?: unknown };
        if (code !== -3 && !isMissing(error)) throw error;
      }
      state = await check.getJobState(id);
    }
    if (state === 'unknown') return false;
    if (state === 'failed' || (state === 'completed' && received !== undefined)) {
      const job = await check.getJob(id);
      const final = job && finalOf(job.data.delivery ?? {})?.status;
      const isNew = received !== undefined && (final === undefined || (isFinal(received) && received !== final));
      if (job && (state === 'failed' || isNew)) await job.retry(state).catch(() => undefined);
    } else if (state === 'active') {
      this.deferred.retryLater(`run ${uid}`, () => this.runNow(uid, received), ACTIVE_RECHECK_MS);
    }
    return true;
  }

  /** On PostgreSQL a failed statement costs its connection, so a job that may be missing is looked up first. */
  private async isKnownMissing(uid: string): Promise<boolean> {
    return !this.store.isRedis && (await this.store.check.getJobState(checkIdOf(uid))) === 'unknown';
  }

  private job(uid: string, { at, ref, sendJobId }: Sent, awaitingAccept = false) {
    const now = Date.now();
    const { step, dueAt } = this.schedule.begin(at, now);
    const data: CheckData = {
      sentAt: at,
      dueAt: Math.round(dueAt),
      ...(step === 0 ? {} : { step }),
      ...(ref === undefined ? {} : { ref: JSON.stringify(ref) }),
      ...(awaitingAccept ? { awaitingAccept } : {}),
      ...(sendJobId === undefined ? {} : { sendJobId }),
    };
    return { name: 'check', data, opts: { ...JOB, jobId: checkIdOf(uid), delay: data.dueAt - now } };
  }
}
