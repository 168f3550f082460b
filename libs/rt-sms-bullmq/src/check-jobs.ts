import type { EngineSettings } from 'nestjs-rt-sms';
import { finalOf, isFinal, PollSchedule } from 'nestjs-rt-sms/engine';
import type { CheckData, InboxEntry, Sent, StatusNote } from './check-data.js';
import { DeferredWork } from './deferred-work.js';
import { checkIdOf } from './job-id.js';
import type { FencedUpdate, Note, Noted } from './operations.js';
import { JOB } from './jobs.js';
import { addTimers, type OverdueTimer } from './overdue-jobs.js';
import type { Store } from './store.js';
import { isMissing } from './store-errors.js';
import { WriteBatcher } from './write-batcher.js';

/** Time in milliseconds for which a settled message is remembered, so that repeated callbacks emit nothing. */
const KEEP_SETTLED_MS = 24 * 3_600_000;
/** Milliseconds after which a job that was not delayed is looked at again. */
const RECHECK_MS = 100;

/** The check jobs, one for each uid, as every replica may write them: it adds jobs, fills their inboxes and runs them early. */
export class CheckJobs {
  readonly schedule: PollSchedule;
  /** Milliseconds for which a job is kept after its message has settled. */
  readonly keepMs: number;
  readonly deferred: DeferredWork;
  /** Callbacks that arrive together are stored together. */
  private readonly notes: WriteBatcher<Note, Noted>;

  constructor(
    private readonly store: Store,
    tracking: EngineSettings['tracking'],
  ) {
    const maxAgeMs = tracking ? tracking.maxAgeMs : KEEP_SETTLED_MS;
    this.keepMs = Math.min(maxAgeMs, KEEP_SETTLED_MS);
    // Without tracking a job is only a record. It ends silently after its time.
    this.schedule = new PollSchedule({ schedule: tracking ? tracking.schedule : [maxAgeMs], maxAgeMs });
    this.deferred = new DeferredWork(store.warnThrottled);
    this.notes = new WriteBatcher(
      (notes) => store.operations('check').note(notes),
      (note) => this.noteAlone(note),
    );
  }

  find(uid: string) {
    return this.store.check.getJob(checkIdOf(uid));
  }

  /** Adds the job of a uid, unless it exists, and the timer of its overdue event. */
  async add(uid: string, sentAt: number, ref: string | undefined, timer?: OverdueTimer): Promise<void> {
    const { name, data, opts } = this.job(uid, { at: sentAt, ref });
    await this.store.check.add(name, data, opts);
    if (timer) await addTimers(this.store, [timer]);
  }

  /**
   * Adds the job of an accepted message together with an update of its send job. Statuses wait until `accepted` has been
   * announced. False if another worker holds the send job.
   */
  async addAccepted(uid: string, sent: Sent, update: FencedUpdate): Promise<boolean> {
    const checkJob = this.job(uid, sent, true);
    const { replaced, added } = await this.store.operations('send').update({ ...update, checkJob });
    // The uid is tracked already, but its message was not known.
    if (!added) await this.append(uid, { at: this.store.clock.now(), sent });
    return replaced;
  }

  /** Gives a status to the job of the uid and runs it; without `note` it only runs. False if the job does not exist. */
  receive(uid: string, note?: StatusNote): Promise<boolean> {
    return this.run(uid, note, note?.report.status);
  }

  /** Appends an entry to the inbox of the job, and runs the job if it is delayed. */
  note(uid: string, entry?: InboxEntry): Promise<Noted> {
    return this.notes.write({ jobId: checkIdOf(uid), row: entry && JSON.stringify(entry) });
  }

  /** Appends an entry to the inbox of the job. False if the job does not exist. */
  async append(uid: string, entry: InboxEntry): Promise<boolean> {
    for (;;) {
      try {
        await this.store.check.addJobLog(checkIdOf(uid), JSON.stringify(entry));
        return true;
      } catch (error) {
        if (isMissing(error)) return false;
        if (!isSameRow(error)) throw error;
      }
    }
  }

  private async noteAlone(note: Note): Promise<Noted> {
    for (;;) {
      try {
        return (await this.store.operations('check').note([note]))[0]!;
      } catch (error) {
        if (!isSameRow(error)) throw error;
      }
    }
  }

  /** Runs the job now, with a new note in its inbox; `received` is a status that is in the inbox. */
  private async run(uid: string, note?: StatusNote, received?: StatusNote['report']['status']): Promise<boolean> {
    const noted = await this.note(uid, note);
    if (noted === 'notDelayed') await this.runLater(uid, received);
    return noted !== 'missing';
  }

  /** Sees to it that a job that was not delayed applies its inbox. */
  private async runLater(uid: string, received?: StatusNote['report']['status']): Promise<void> {
    const { check } = this.store;
    const id = checkIdOf(uid);
    const state = await check.getJobState(id);
    if (state === 'active' || state === 'delayed') {
      // An active job may already have read its inbox.
      this.deferred.retryLater(`run ${uid}`, () => this.run(uid, undefined, received), RECHECK_MS);
    } else if (state === 'failed' || (state === 'completed' && received !== undefined)) {
      const job = await check.getJob(id);
      const final = job && finalOf(job.data.delivery ?? {})?.status;
      const isNew = received !== undefined && (final === undefined || (isFinal(received) && received !== final));
      if (job && (state === 'failed' || isNew)) await job.retry(state).catch(() => undefined);
    }
  }

  private job(uid: string, { at, ref, sendJobId }: Sent, awaitingAccept = false) {
    const now = this.store.clock.now();
    const { step, dueAt } = this.schedule.begin(at, now);
    const data: CheckData = {
      sentAt: at,
      dueAt: Math.round(dueAt),
      ...(step === 0 ? {} : { step }),
      ...(ref === undefined ? {} : { ref: JSON.stringify(ref) }),
      ...(awaitingAccept ? { awaitingAccept } : {}),
      ...(sendJobId === undefined ? {} : { sendJobId }),
    };
    return { name: 'check', data, opts: { ...JOB, jobId: checkIdOf(uid), timestamp: now, delay: data.dueAt - now } };
  }
}

/** PostgreSQL: two rows at once got the same number, and the other one was stored. */
const isSameRow = (error: unknown): boolean => (error as { code?: unknown }).code === '23505';
