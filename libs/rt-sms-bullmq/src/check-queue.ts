import { setTimeout as pause } from 'node:timers/promises';
import { DelayedError } from 'bullmq';
import {
  RtSmsNotFoundError,
  RtSmsTimeoutError,
  type DeliveryReport,
  type DeliveryTracker,
  type EngineHost,
  type RtSmsStatusEvent,
  type SmsStatus,
} from 'nestjs-rt-sms';
import {
  applyReport,
  finalOf,
  ignoredDuplicate,
  isFinal,
  PENDING_SENDS_WAIT_MS,
  PollSchedule,
  redact,
  statusEvent,
  type DeliveryState,
} from 'nestjs-rt-sms/engine';
import { MAX_HANDLER_FAILURES, nextHandlerCall } from './handler-retries.js';
import { Hints } from './hints.js';
import type { SendData } from './job-data.js';
import { checkIdOf, uidOf } from './job-id.js';
import type { Keeping } from './own-steps.js';
import { JOB, keepFor, postpone, stopWorker, type JobWorker, type Store, type StoredJob } from './store.js';
import { isMissing, jobError, reason } from './store-errors.js';
import { UnknownQueue, type KnownMessages, type UnknownData, type Word } from './unknown-queue.js';

/** Repeated callbacks of a message that is settled emit nothing for so long. */
const KEEP_SETTLED_MS = 24 * 3_600_000;
/** A hint about a message that was asked for just now waits so long. */
const HINT_PAUSE_MS = 1_000;
const OVERTAKING_STEP_MS = 100;
/** And so long for the handlers of `accepted`. */
const TELLING_MS = 300_000;
/** A wait for a final status looks into the store so often: the event may be another replica's. */
const LOOK_MS = 500;
/** What could not be registered, and hints that are to be tried again, at most. */
const MAX_REMEMBERED = 10_000;
const RETRY_MS = 5_000;
const GATE_PAUSE_MS = 5_000;
/** A poll that would have to wait longer for its turn makes way for others meanwhile. */
const PATIENCE_MS = 100;

/** Kept words of a message: appended by whoever hears of it, read by the one worker that has the job. */
interface Note {
  at: number;
  /** What a callback or the gateway said. */
  report?: Omit<DeliveryReport, 'uid'>;
  source?: 'callback' | 'poll';
  confirmed?: boolean;
  /** From the one who sent it. */
  sent?: Sent;
}

/** What the sender of a message knows of it. */
export interface Sent {
  at: number;
  ref: string | undefined;
  /** The job of the message, where it came from the queue. */
  from?: string;
}

/** All that is known of one uid. Only the worker that has the job writes it. */
export interface CheckData {
  /** As JSON. */
  ref?: string | undefined;
  sentAt: number;
  /** When the gateway is asked next, unless a callback comes before. */
  dueAt: number;
  step?: number;
  askedAt?: number;
  missingSince?: number | undefined;
  /** How many of its notes were taken in. */
  notes?: number;
  /** What was emitted. */
  delivery?: DeliveryState;
  /** Given up: nothing is asked any more. */
  closed?: boolean;
  failures?: number;
  /** Its words wait: the sender has not told `accepted` yet. */
  unborn?: boolean;
  /** The job of the message, as long as it is `unborn`. */
  from?: string;
}

type CheckJob = StoredJob<CheckData>;
type Taken = 'nothing' | 'emitted' | 'failed' | 'doubt';

/**
 * What becomes of messages: one job per uid is its record, its timer and its lock. It asks the gateway when its time has
 * come, or when a callback on any replica wakes it; handlers run inside of it, and a failure of theirs puts it off.
 */
export class CheckQueue implements DeliveryTracker, KnownMessages {
  /** How long a job is kept after its message has settled. */
  readonly keepMs: number;
  private worker: JobWorker<CheckData> | undefined;
  private stopped = false;
  private readonly polls: PollSchedule;
  private readonly maxAgeMs: number;
  private readonly pace: Pace;
  private readonly parallel: number;
  private asking = 0;
  /** What has to be done once the store is there again. */
  private readonly owed = new Map<string, () => Promise<unknown>>();
  private owedTimer: NodeJS.Timeout | undefined;
  private readonly unknown: UnknownQueue;
  private readonly hints: Hints;

  constructor(
    private readonly store: Store<SendData, CheckData, UnknownData>,
    private readonly host: EngineHost,
  ) {
    const { tracking, connections } = host.options;
    this.maxAgeMs = tracking ? tracking.maxAgeMs : KEEP_SETTLED_MS;
    this.keepMs = Math.min(this.maxAgeMs, KEEP_SETTLED_MS);
    this.unknown = new UnknownQueue(store, host, this, this.keepMs);
    this.hints = new Hints((uid) => this.hinted(uid), HINT_PAUSE_MS, PENDING_SENDS_WAIT_MS);
    // Without tracking the job is but the record; at the end of its time it goes without a word.
    const schedule = tracking ? tracking.schedule : [this.maxAgeMs];
    this.polls = new PollSchedule({ schedule, maxAgeMs: this.maxAgeMs });
    this.pace = new Pace(tracking ? tracking.perSecond : 50);
    // Never more than half of the connections: polling must not hold up a message.
    this.parallel = Math.max(1, connections >> 1);
  }

  /** Connects a worker, which takes nothing before `startWorker`. */
  async open(): Promise<void> {
    this.worker = await this.store.work<CheckData>(
      'check',
      (job, token) => this.process(job, token),
      keepFor(this.keepMs),
    );
    await this.unknown.open();
  }

  startWorker(): void {
    if (this.stopped) return;
    void this.worker?.run().catch(this.store.complain);
    this.unknown.startWorker();
  }

  async stopWorker(): Promise<void> {
    this.stopped = true;
    await Promise.all([this.unknown.stopWorker(), this.worker && stopWorker(this.worker)]);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.owedTimer);
  }

  /** The store knows; and callbacks that come early wait there. */
  follows(): boolean {
    return true;
  }

  async isKnown(uid: string): Promise<boolean> {
    const job = await this.store.ask('callback', () => this.store.check.getJob(checkIdOf(uid)));
    return job !== undefined;
  }

  /** Best effort at once; what the store does not take now is tried again while this process lives. */
  async follow(uid: string, about: { ref?: string | undefined; sentAt?: Date | undefined } = {}): Promise<void> {
    if (!this.host.options.tracking) return;
    const now = Date.now();
    // A journal may give a date back as text, or null.
    const sentAt = Math.min(now, (about.sentAt && new Date(about.sentAt).getTime()) || now);
    const { ref } = about;
    const register = async () => {
      await this.add(uid, sentAt, { ref });
      if (ref === undefined) return;
      // It may have been followed before without a ref.
      const job = await this.store.check.getJob(checkIdOf(uid));
      if (job && job.data.ref === undefined) await this.note(uid, { at: now, sent: { at: sentAt, ref } });
    };
    try {
      await this.store.ask('track', register);
    } catch (error) {
      this.store.complain(error);
      this.owe(uid, register);
    }
  }

  /**
   * The check job of a message that was sent from the queue, made in one go with what is kept of the message; false if that
   * is no longer its worker's. Its words wait until `accepted` has been told.
   */
  async expect(uid: string, sent: Sent, keeping: Keeping): Promise<boolean> {
    const other = this.job(uid, sent.at, { ...sent, unborn: true });
    const { replaced, added } = await this.store.steps.keep({ ...keeping, other });
    // It is followed already, and it is not known whose message it is.
    if (!added) await this.note(uid, { at: Date.now(), sent });
    return replaced;
  }

  async observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> {
    const { uid } = report;
    const word: Word = { at: Date.now(), report: pick(report), source, confirmed };
    try {
      await this.store.ask('callback', async () => {
        if (!(await this.receive(uid, word)) && source === 'callback') await this.unknown.add(uid, word.at, word);
      });
    } catch (error) {
      this.store.complain(error);
      // An answer of the gateway can be had again; a callback cannot.
      if (source === 'callback') throw error;
    }
  }

  async receive(uid: string, word?: Word): Promise<boolean> {
    if (!word) return this.wake(uid);
    if (await this.isKnownMissing(uid)) return false;
    if (!(await this.note(uid, word))) return false;
    await this.wake(uid, word.report.status);
    return true;
  }

  requestPoll(uid: string, evenIfUnknown: boolean): Promise<void> | void {
    return evenIfUnknown ? this.pollEvenIfUnknown(uid) : this.hints.add(uid);
  }

  private async pollEvenIfUnknown(uid: string): Promise<void> {
    const at = Date.now();
    const request = async () => {
      if (!(await this.receive(uid))) await this.unknown.add(uid, at);
    };
    try {
      await this.store.ask('callback', request);
    } catch (error) {
      this.store.complain(error);
      this.owe(wakingOf(uid), request);
    }
  }

  /** A hint: false if the message is not found. */
  private async hinted(uid: string): Promise<boolean> {
    if (this.stopped) return true;
    try {
      return await this.wake(uid);
    } catch (error) {
      this.store.complain(error);
      return true;
    }
  }

  async findFinal(uid: string, isOver: () => boolean): Promise<RtSmsStatusEvent | undefined> {
    for (let first = true; !isOver(); first = false) {
      const job = await this.store.ask('find', () => this.store.check.getJob(checkIdOf(uid))).catch(() => undefined);
      const final = job && finalOf(job.data.delivery ?? {});
      if (final) return statusEvent(this.host.options.account, uid, readRef(job.data), final);
      if (job?.data.closed)
        throw new RtSmsTimeoutError(`${redact(uid)} stays without a final status`, 'not_sent', {
          operation: 'wait',
          account: this.host.options.account,
        });
      if (first) {
        await this.follow(uid);
        const asked = this.host.status(uid).then((report) => this.observe(report, 'poll', true));
        await asked.catch(() => undefined);
      }
      await pause(LOOK_MS, undefined, { ref: false });
    }
    return undefined;
  }

  private async add(...given: Parameters<CheckQueue['job']>): Promise<void> {
    const { name, data, opts } = this.job(...given);
    await this.store.check.add(name, data, opts);
  }

  private job(uid: string, sentAt: number, about: { ref?: string | undefined; from?: string; unborn?: boolean } = {}) {
    const { ref, from, unborn } = about;
    const now = Date.now();
    const { step, dueAt } = this.polls.begin(sentAt, now);
    const data: CheckData = {
      sentAt,
      dueAt: Math.round(dueAt),
      ...(step === 0 ? {} : { step }),
      ...(ref === undefined ? {} : { ref: JSON.stringify(ref) }),
      ...(unborn ? { unborn } : {}),
      ...(from === undefined ? {} : { from }),
    };
    const delay = data.dueAt - now;
    return { name: 'check', data, opts: { ...JOB, jobId: checkIdOf(uid), delay } };
  }

  /** On PostgreSQL a statement that fails costs its connection, so a job that may be missing is looked up first. */
  private async isKnownMissing(uid: string): Promise<boolean> {
    return !this.store.isRedis && (await this.store.check.getJobState(checkIdOf(uid))) === 'unknown';
  }

  /** False if there is no job of this uid. */
  private async note(uid: string, note: Note): Promise<boolean> {
    for (;;) {
      try {
        await this.store.check.addJobLog(checkIdOf(uid), JSON.stringify(note));
        return true;
      } catch (error) {
        if (isMissing(error)) return false;
        // Two notes at once in PostgreSQL: the other one has the number.
        if ((error as { code?: unknown }).code !== '23505') throw error;
      }
    }
  }

  /** Lets the job run now. False if there is none. */
  private async wake(uid: string, said?: SmsStatus): Promise<boolean> {
    if (await this.isKnownMissing(uid)) return false;
    const id = checkIdOf(uid);
    const { check } = this.store;
    let state = 'delayed';
    while (state === 'delayed') {
      try {
        await this.store.hasten(check, id);
        return true;
      } catch (error) {
        const { code } = error as { code?: unknown };
        if (code !== -3 && !isMissing(error)) throw error;
      }
      state = await check.getJobState(id);
    }
    if (state === 'unknown') return false;
    if (state === 'failed' || (state === 'completed' && said !== undefined)) {
      const job = await check.getJob(id);
      const final = job && finalOf(job.data.delivery ?? {})?.status;
      const news = said !== undefined && (final === undefined || (isFinal(said) && said !== final));
      if (job && (state === 'failed' || news)) await job.retry(state).catch(() => undefined);
    } else if (state === 'active') {
      // It may have read its notes already.
      this.owe(wakingOf(uid), () => this.wake(uid, said), OVERTAKING_STEP_MS);
    }
    return true;
  }

  /** To be done in a while, by this process. */
  private owe(key: string, work: () => Promise<unknown>, afterMs = RETRY_MS): void {
    if (this.stopped || (this.owed.size >= MAX_REMEMBERED && !this.owed.has(key))) return;
    this.owed.set(key, work);
    if (afterMs < RETRY_MS) {
      setTimeout(() => void this.pay(key), afterMs).unref();
      return;
    }
    this.owedTimer ??= setTimeout(() => {
      this.owedTimer = undefined;
      for (const owed of this.owed.keys()) void this.pay(owed);
    }, afterMs).unref();
  }

  private async pay(key: string): Promise<void> {
    const work = this.owed.get(key);
    if (!work || this.stopped) return;
    this.owed.delete(key);
    await work().catch((error: unknown) => {
      this.store.complain(error);
      this.owe(key, work);
    });
  }

  private async process(job: CheckJob, token: string): Promise<string> {
    try {
      return await this.check(job, token);
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      throw jobError(error);
    }
  }

  private async check(job: CheckJob, token: string): Promise<string> {
    const uid = uidOf(job.id!);
    const data = { ...job.data };
    const { logs } = await this.store.check.getJobLogs(job.id!, data.notes ?? 0);
    const notes = logs.map((row) => JSON.parse(row) as Note);
    for (const { sent } of notes) {
      if (!sent) continue;
      if (sent.ref !== undefined) data.ref = JSON.stringify(sent.ref);
      data.sentAt = sent.at;
      if (sent.from !== undefined) Object.assign(data, { from: sent.from, unborn: true });
    }
    if (data.unborn && (await this.isUnborn(data))) {
      const ageMs = Date.now() - data.sentAt;
      return postpone(job, token, Date.now() + Math.max(OVERTAKING_STEP_MS, ageMs / 10));
    }
    delete data.unborn;
    delete data.from;
    let doubt = false;
    let said = false;
    for (const note of notes) {
      if (note.report) {
        said = true;
        const taken = await this.take(uid, data, note as Word);
        if (taken === 'failed') return this.putOff(job, token, data);
        doubt ||= taken === 'doubt';
      }
      data.notes = (data.notes ?? 0) + 1;
    }
    const isDue = Date.now() >= data.dueAt - PATIENCE_MS;
    const hinted = !said && !isDue;
    if (doubt || (!isSettled(data) && !data.closed && (isDue || hinted))) {
      const left = await this.look(job, token, uid, data, doubt, hinted);
      if (left) return left;
    }
    await job.updateData(data);
    if (!isSettled(data) && !data.closed) return postpone(job, token, data.dueAt);
    return finalOf(data.delivery ?? {})?.status ?? 'unresolved';
  }

  /** True while `accepted` may still be told: it comes before any status. */
  private async isUnborn({ from, sentAt }: CheckData): Promise<boolean> {
    if (from === undefined || Date.now() - sentAt > TELLING_MS) return false;
    const sent = await this.store.send.getJob(from);
    return sent !== undefined && sent.finishedOn === undefined && !sent.data.failures;
  }

  /** Asks the gateway. What it returns ends the job; nothing if the rest is to be decided by what is known now. */
  private async look(
    job: CheckJob,
    token: string,
    uid: string,
    data: CheckData,
    doubt: boolean,
    hinted: boolean,
  ): Promise<string | undefined> {
    const isDue = !doubt && !hinted;
    if (!this.host.options.tracking && isDue) {
      data.closed = true;
      return undefined;
    }
    const now = Date.now();
    const turnMs = this.turnMs(job.id!, (data.askedAt ?? 0) + (hinted ? HINT_PAUSE_MS : 0));
    if (turnMs > PATIENCE_MS) {
      // Its notes stay unread, so that it knows again what it has to ask for.
      if (doubt) return postpone(job, token, now + turnMs);
      await job.updateData(data);
      return postpone(job, token, now + turnMs);
    }
    if (turnMs > 0) await pause(turnMs);
    data.askedAt = Date.now();
    const overdue = isDue && this.polls.isOver(data.sentAt, data.askedAt);
    let missing = false;
    try {
      const report = await this.poll(uid);
      data.missingSince = undefined;
      const taken = await this.take(uid, data, {
        at: Date.now(),
        report,
        source: hinted || doubt ? 'callback' : 'poll',
        confirmed: true,
      });
      if (taken === 'failed') return this.putOff(job, token, data);
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      missing = error instanceof RtSmsNotFoundError;
      this.host.logger.debug(`Status of ${redact(uid)}: ${reason(error)}`);
      if (doubt && !missing) return postpone(job, token, Date.now() + RETRY_MS);
    }
    if (isSettled(data)) return undefined;
    if (missing) data.missingSince ??= Date.now();
    const lost = this.polls.isLost(data.missingSince, Date.now());
    if (lost || overdue) return this.giveUp(job, token, uid, data, lost);
    if (isDue) data.step = (data.step ?? 0) + 1;
    if (isDue || Date.now() >= data.dueAt)
      data.dueAt = Math.round(this.polls.next(data.sentAt, data.step ?? 0, Date.now()));
    return undefined;
  }

  turnMs(jobId: string, notBefore = 0): number {
    const waitMs = Math.max(
      this.host.breaker.error ? GATE_PAUSE_MS * (1 + Math.random()) : 0,
      notBefore - Date.now(),
      this.asking >= this.parallel ? PATIENCE_MS * (2 + Math.random()) : 0,
    );
    return waitMs > 0 ? waitMs : this.pace.turn(jobId);
  }

  async poll(uid: string): Promise<Word['report']> {
    this.asking++;
    try {
      return pick(await this.host.status(uid));
    } finally {
      this.asking--;
    }
  }

  event(uid: string, word: Word): RtSmsStatusEvent {
    const { report, ...known } = word;
    return statusEvent(this.host.options.account, uid, undefined, { ...report, ...known });
  }

  private async giveUp(job: CheckJob, token: string, uid: string, data: CheckData, lost: boolean) {
    const why = lost
      ? 'the gateway does not know it (transaction_not_found)'
      : `none came within ${this.maxAgeMs} ms (tracking.maxAgeMs)`;
    this.host.logger.warn(`${redact(uid)} stays without a final status: ${why}`);
    const told = await this.host.emit.unresolved(uid, { ref: readRef(data), lastStatus: data.delivery?.last?.status });
    if (!told && (data.failures ?? 0) < MAX_HANDLER_FAILURES) return this.putOff(job, token, data);
    data.closed = true;
    return undefined;
  }

  private async take(uid: string, data: CheckData, { report, source, confirmed, at }: Word): Promise<Taken> {
    const transition = applyReport(data.delivery ?? {}, report, source, confirmed, at);
    if (transition.kind === 'needsConfirmation') return 'doubt';
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
    if (await this.host.emit.status(event)) {
      delete data.failures;
      return true;
    }
    if ((data.failures ?? 0) < MAX_HANDLER_FAILURES) return false;
    this.host.logger.error(
      `The handlers of ${redact(event.id)} failed ${MAX_HANDLER_FAILURES} times; it is not emitted again`,
    );
    return true;
  }

  /** A handler failed: the whole is done again later, with the same event. */
  private async putOff(job: CheckJob, token: string, data: CheckData): Promise<never> {
    data.failures = (data.failures ?? 0) + 1;
    const at = nextHandlerCall(data.failures);
    data.dueAt = Math.min(data.dueAt, at);
    await job.updateData(data);
    return postpone(job, token, at);
  }
}

const isSettled = ({ delivery }: CheckData): boolean => delivery !== undefined && finalOf(delivery) !== undefined;

/** That it has to be woken is owed beside its registration, not instead of it. */
const wakingOf = (uid: string): string => `wake ${uid}`;

export const readRef = ({ ref }: { ref?: string | undefined }): string | undefined =>
  ref === undefined ? undefined : (JSON.parse(ref) as string);

/** A status answer holds the number and the text, too; they stay out of the store. */
const pick = ({
  status,
  gatewayStatus,
  parts,
  errorCode,
}: Omit<DeliveryReport, 'uid'>): Omit<DeliveryReport, 'uid'> => ({
  status,
  gatewayStatus,
  ...(parts === undefined ? {} : { parts }),
  ...(errorCode === undefined ? {} : { errorCode }),
});

/** Evenly spaced turns; one that is told to come later has its turn when it comes. */
class Pace {
  private nextAt = 0;
  private readonly promised = new Map<string, number>();

  constructor(private readonly perSecond: number) {}

  /** In how many milliseconds it is the turn of `id`. */
  turn(id: string): number {
    const now = Date.now();
    const promised = this.promised.get(id);
    if (promised !== undefined) {
      this.promised.delete(id);
      if (promised <= now + PATIENCE_MS) return Math.max(0, promised - now);
    }
    const at = (this.nextAt = Math.max(now, this.nextAt + 1000 / this.perSecond));
    if (at - now > PATIENCE_MS) {
      if (this.promised.size > MAX_REMEMBERED) this.promised.clear();
      this.promised.set(id, at);
    }
    return Math.max(0, at - now);
  }
}
