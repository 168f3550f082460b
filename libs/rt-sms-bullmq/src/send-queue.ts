import { setTimeout as pause } from 'node:timers/promises';
import { DelayedError } from 'bullmq';
import {
  isRtSmsError,
  RtSmsAuthError,
  RtSmsOverloadedError,
  RtSmsUnexpectedResponseError,
  RtSmsValidationError,
  type EngineHost,
  type EngineItem,
  type QueuedSmsState,
  type RatePermit,
  type RtSmsError,
} from 'nestjs-rt-sms';
import { backoffMs, fromStored, idTaken, redact, toStored } from 'nestjs-rt-sms/engine';
import { readRef, type CheckData, type CheckQueue } from './check-queue.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall } from './handler-retries.js';
import type { SendData } from './job-data.js';
import { Digests, idOf, jobIdOf } from './job-id.js';
import type { ResolvedBullMqOptions } from './options.js';
import { JOB, keepFor, postpone, within, type JobWorker, type Store, type StoredJob } from './store.js';
import { jobError } from './store-errors.js';
import type { UnknownData } from './unknown-queue.js';

/** Lower goes first; BullMQ takes jobs without a priority before all others. */
const PRIORITY = { otp: 0, normal: 1, bulk: 2 } as const;
/** How often a message that provably was not sent is tried again before it is refused; a day, at the last pause. */
const MAX_ATTEMPTS = 1_440;
const LAST_PAUSE_MS = 60_000;
const BATCH = 2_000;
/** What is on its way when the application ends may take so long. */
const GRACE_MS = 10_000;
/** Whoever was sending a message that another worker left behind may still come to say how it went. */
const ORPHAN_MS = 2_000;
/** A replica that may not send leaves the queue to others for so long after each message. */
const HANDS_OFF_MS = 25;
/** And what came back although others had their chance, for so long. */
const HAND_OVER_MS = 5_000;
const MAX_HANDED_OVER = 10_000;
type SendJob = StoredJob<SendData>;

/** A message that is to be queued. */
interface Entry {
  item: EngineItem;
  digest: string;
}

/** A job in the hands of this worker. */
interface Held {
  job: SendJob;
  token: string;
  /** Of the last write. */
  edition?: number;
}

/**
 * Messages that wait, and their sending. A message is never sent twice: what may have been sent is marked before the POST,
 * and whoever finds a mark does not send. Nothing rests on clocks.
 */
export class SendQueue {
  private readonly digests: Digests;
  private worker: JobWorker<SendData> | undefined;
  private stopped = false;
  private readonly end = new AbortController();
  private turn: Promise<unknown> = Promise.resolve();
  private lastTurn = -Infinity;
  /** While the gateway refuses this process: the messages that it left to others. */
  private readonly handedOver = new Set<string>();

  constructor(
    private readonly store: Store<SendData, CheckData, UnknownData>,
    private readonly host: EngineHost,
    private readonly options: ResolvedBullMqOptions,
    private readonly checks: CheckQueue,
  ) {
    this.digests = new Digests(host.options.login, host.options.password);
    host.breaker.onRestored(() => {
      this.handedOver.clear();
      if (this.worker) this.worker.concurrency = options.concurrency;
    });
  }

  /** Connects a worker, which takes nothing before `start`. */
  async open(): Promise<void> {
    const { rate, idempotencyMs } = this.host.options;
    this.worker = await this.store.work<SendData>('send', (job, token) => this.process(job, token), {
      ...keepFor(idempotencyMs),
      ...(rate ? { limiter: limiter(rate.perSecond), drainDelay: 1 } : {}),
    });
  }

  start(): void {
    if (!this.stopped) void this.worker?.run().catch(this.store.complain);
  }

  /** Stops taking, lets what is on its way finish, then lets go. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (!this.worker) return;
    const closing = this.worker.close();
    await within(GRACE_MS, closing).catch(() => undefined);
    this.end.abort();
    await within(GRACE_MS / 4, closing).catch(() => this.worker!.close(true));
  }

  async enqueue(items: EngineItem[]): Promise<void> {
    const { account } = this.host.options;
    if (this.stopped) throw new RtSmsOverloadedError('Nothing was queued: the application is ending', { account });
    const began = Date.now();
    const entries = new Map<string, Entry>();
    const problems: string[] = [];
    const digests = await this.digests.of(items);
    for (const [index, item] of items.entries()) {
      const digest = digests[index]!;
      const known = entries.get(item.id);
      if (!known) entries.set(item.id, { item, digest });
      else if (known.digest !== digest) problems.push(idTaken(item.id));
    }
    if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
    const named = [...entries.values()].filter(({ item }) => !item.hasGeneratedId);
    await this.store.ask(
      'enqueue',
      async () => {
        if (entries.size > 1) await this.compare(named, began);
        await this.addAll([...entries.values()]);
        await this.confirm(named, began);
      },
      entries.size,
    );
  }

  /** A large batch goes in parts: as one it would keep the store, and all of its memory, for seconds. */
  private async addAll(entries: Entry[]): Promise<void> {
    const [only] = entries;
    if (only && entries.length === 1) {
      const { name, data, opts } = this.job(only.item, only.digest);
      await this.store.send.add(name, data, opts);
      return;
    }
    const add = (begin: number) =>
      this.store.send.addBulk(entries.slice(begin, begin + BATCH).map(({ item, digest }) => this.job(item, digest)));
    let before: Promise<unknown> = Promise.resolve();
    for (let begin = 0; begin < entries.length; begin += BATCH) {
      const next = add(begin).catch((error: unknown) => {
        if (begin === 0) throw error;
        throw new Error(`${begin} of ${entries.length} are queued, and perhaps more`, { cause: error });
      });
      next.catch(() => undefined);
      // One is made up while the store takes the one before it; but the first alone: where it cannot be added, nothing was.
      await (begin === 0 ? next : before);
      before = next;
    }
    await before;
  }

  async find(id: string): Promise<QueuedSmsState | undefined> {
    const job = await this.store.ask('find', () => this.store.send.getJob(jobIdOf(id)));
    if (!job || this.isOver(job, Date.now())) return undefined;
    const { state = 'queued', uid, error } = job.data;
    const ref = readRef(job.data);
    return {
      id,
      state,
      ...(uid === undefined ? {} : { uid }),
      ...(ref === undefined ? {} : { ref }),
      ...(error === undefined ? {} : { errorCode: fromStored(error, this.host.options.account).code }),
    };
  }

  async cancel(id: string): Promise<boolean> {
    return this.store.ask('cancel', async () => {
      const jobId = jobIdOf(id);
      const job = await this.store.send.getJob(jobId);
      if (!job) return false;
      const { state, intent, digest, ref, edition } = job.data;
      if (state !== undefined || intent !== undefined) return state === 'cancelled';
      const data: SendData = { digest, ref, edition, state: 'cancelled' };
      if (!(await this.store.steps.replaceUnsent(jobId, data))) {
        // Another call was quicker; or this one, whose answer was lost.
        const now = await this.store.send.getJob(jobId);
        if (now?.data.state !== 'cancelled') return false;
      }
      // That it is cancelled is told by a worker, now; or when its time would have come.
      await this.store.hasten(this.store.send, jobId).catch(() => undefined);
      return true;
    });
  }

  private job(item: EngineItem, digest: string) {
    const { id, msisdn, shortcode, text, ref, expiresAt, priority, notBefore } = item;
    const data: SendData = {
      message: JSON.stringify([msisdn, shortcode, text]),
      digest,
      ...(ref === undefined ? {} : { ref: JSON.stringify(ref) }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    };
    const delay = Math.ceil(Math.min(notBefore, expiresAt ?? Infinity) - Date.now());
    return {
      name: 'send',
      data,
      opts: { ...JOB, jobId: jobIdOf(id), priority: PRIORITY[priority], ...(delay > 0 ? { delay } : {}) },
    };
  }

  /** Only after it was added is it certain whose message has an id. */
  private async confirm(entries: Entry[], began: number): Promise<void> {
    try {
      const free = await this.compare(entries, began);
      if (free.length === 0) return;
      // An earlier message had the id when this one was added, unless this one itself may be over and gone by now.
      if (Date.now() - began >= this.host.options.idempotencyMs) throw new Error('It took too long');
      await this.addAll(free);
      if ((await this.compare(free, began)).length > 0) throw new Error('What is over cannot be cleared up');
    } catch (error) {
      if (isRtSmsError(error)) throw error;
      // What was added is going to be sent: no error of the store may read as "not queued" any more.
      throw new Error('it may be queued, but was not looked at', { cause: error });
    }
  }

  /**
   * Clears up what has the ids of these although its time was over at `now`; returns those whose ids nobody has.
   * @throws RtSmsValidationError if one of the ids stands for another message already
   */
  private async compare(entries: Entry[], now: number): Promise<Entry[]> {
    const { account, idempotencyMs } = this.host.options;
    const problems: string[] = [];
    const free: Entry[] = [];
    let isCrowded = false;
    await Promise.all(
      entries.map(async (entry) => {
        const known = await this.store.send.getJob(jobIdOf(entry.item.id));
        const isOver = known && this.isOver(known, now);
        if (isOver) isCrowded = true;
        if (isOver || !known) free.push(entry);
        else if (Digests.differ(known.data.digest, entry.digest)) problems.push(idTaken(entry.item.id));
      }),
    );
    if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
    // By age, not by id: by now the id may be a new message's.
    if (isCrowded) await this.store.forget('send', now - idempotencyMs);
    return free;
  }

  /** Not before its outcome was told. */
  private isOver({ finishedOn }: SendJob, now: number): boolean {
    return finishedOn !== undefined && finishedOn + this.host.options.idempotencyMs < now;
  }

  /** Nothing of a job may get into the store by way of an error. */
  private async process(job: SendJob, token: string): Promise<string> {
    try {
      return await this.take({ job, token });
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      const { message } = job.data;
      throw jobError(error, message === undefined ? [] : [message]);
    }
  }

  private async take(held: Held): Promise<string> {
    const { data } = held.job;
    if (data.state !== undefined) return this.retell(held);
    if (data.intent !== undefined) return this.orphan(held);
    const permit = this.host.options.rate && !this.host.breaker.error ? await this.acquirePermit() : undefined;
    const ended = await this.mayNotStart(held, permit);
    if (ended) return ended;
    const attempts = (data.attempts ?? 0) + 1;
    // One step: the mark, and the proof that the job is still ours. Whoever takes it over from now on sees the mark.
    let marked: boolean;
    try {
      marked = await this.replace(held, { ...data, attempts, intent: Date.now() });
    } catch (error) {
      // The store went away. It may have the mark, but nothing is sent.
      permit?.release();
      await this.keep(held, data);
      throw error;
    }
    if (!marked) {
      permit?.release();
      throw overtaken();
    }
    const [msisdn, shortcode, text] = JSON.parse(data.message!) as [string, string, string];
    try {
      const { uid } = await this.host.send(
        { msisdn, shortcode, text },
        { permit, signal: this.end.signal, startBefore: data.expiresAt },
      );
      return await this.settle(held, { state: 'accepted', uid, sentAt: Date.now() });
    } catch (error) {
      if (!isRtSmsError(error) || error.operation !== 'send') throw error;
      return this.failed(held, data, attempts, error);
    }
  }

  /** What becomes of a message that may not be sent now. */
  private async mayNotStart(held: Held, permit: RatePermit | undefined): Promise<string | undefined> {
    const { expiresAt } = held.job.data;
    const ends = this.end.signal.aborted;
    const isOver = expiresAt !== undefined && expiresAt <= Date.now();
    if (!ends && !isOver && !this.host.breaker.error) return undefined;
    permit?.release();
    if (ends) return this.later(held, Date.now());
    return isOver ? this.settle(held, { state: 'expired' }) : this.handOver(held);
  }

  /**
   * A start under the rate. The store paces what the replicas take from the queue; what this process sends beside it has
   * its share here. One at a time: those that had to wait must not go all at once.
   */
  private acquirePermit(): Promise<RatePermit | undefined> {
    const { signal } = this.end;
    const next = this.turn.then(async () => {
      const restMs = this.lastTurn + 900 / this.host.options.rate!.perSecond - performance.now();
      if (restMs > 1) await pause(restMs);
      const permit = await new Promise<RatePermit | undefined>((resolve) => {
        if (signal.aborted) return resolve(undefined);
        let leave: (() => void) | undefined;
        const stop = () => {
          leave?.();
          resolve(undefined);
        };
        signal.addEventListener('abort', stop, { once: true });
        leave = this.host.acquirePermit((given) => {
          signal.removeEventListener('abort', stop);
          resolve(given);
        });
      });
      this.lastTurn = performance.now();
      return permit;
    });
    this.turn = next;
    return next;
  }

  private async failed(held: Held, data: SendData, attempts: number, error: RtSmsError): Promise<string> {
    if (error.outcome === 'unknown') return this.settle(held, { state: 'unknown' }, error);
    const refused = error instanceof RtSmsAuthError;
    const ending = this.end.signal.aborted;
    // What the gateway said counts, also where the time of the message is over by now.
    if (!refused && !error.retryable) return this.settle(held, { state: 'refused' }, error);
    if (data.expiresAt !== undefined && data.expiresAt <= Date.now()) return this.settle(held, { state: 'expired' });
    if (!refused && !ending && attempts >= MAX_ATTEMPTS) return this.settle(held, { state: 'refused' }, error);
    // It provably was not sent: the mark goes, and another attempt may come.
    const kept = { ...data, attempts: refused || ending ? attempts - 1 : attempts };
    if (!(await this.keep(held, kept))) throw overtaken();
    if (refused) return this.handOver(held);
    return this.later(held, ending ? Date.now() : Date.now() + 100 + backoffMs(attempts, 500, LAST_PAUSE_MS));
  }

  /**
   * The gateway refuses this process: the message is for others. It still looks at one after the other, slowly, so that
   * what expires meanwhile is told; where there is a rate, at no more than a fifth of it.
   */
  private async handOver({ job, token }: Held): Promise<never> {
    const { breaker, options } = this.host;
    if (this.worker) this.worker.concurrency = breaker.error ? 1 : this.options.concurrency;
    // At once for whoever may send it; if it comes back there may be nobody, and the next one's turn has come.
    const isBack = this.handedOver.delete(job.id!);
    if (this.handedOver.size > MAX_HANDED_OVER) this.handedOver.clear();
    if (!isBack) this.handedOver.add(job.id!);
    const at = Date.now() + (isBack ? HAND_OVER_MS : 0);
    await job.moveToDelayed(Math.min(at, job.data.expiresAt ?? Infinity), token);
    await pause(Math.max(HANDS_OFF_MS, options.rate ? 5_000 / options.rate.perSecond : 0));
    throw new DelayedError();
  }

  private later({ job, token }: Held, at: number): Promise<never> {
    return postpone(job, token, Math.min(at, job.data.expiresAt ?? Infinity));
  }

  /** It was left behind in mid-POST. Nobody knows the outcome, unless the one who was sending it still comes. */
  private async orphan(held: Held): Promise<string> {
    await pause(ORPHAN_MS);
    const now = await this.store.insist(() => this.store.send.getJob(held.job.id!));
    if (!now) throw new Error('The job is gone');
    held.job.data = now.data;
    if (now.data.state !== undefined) return this.retell(held);
    const error = new RtSmsUnexpectedResponseError('the process that was sending it ended before the answer was kept', {
      account: this.host.options.account,
      attempts: now.data.attempts ?? 1,
    });
    return this.settle(held, { state: 'unknown' }, error);
  }

  /** The one way out: the outcome is kept, text and number go, and only then it is told. */
  private async settle(
    held: Held,
    outcome: Pick<SendData, 'state' | 'uid' | 'sentAt'>,
    error?: RtSmsError,
  ): Promise<string> {
    const { digest, ref } = held.job.data;
    const data: SendData = { digest, ref, ...outcome, error: error && toStored(error) };
    if (await this.keep(held, data)) return this.tell(held, error);
    return this.overtaken(held, data);
  }

  /** The outcome was kept before; its telling failed, or whoever was to tell it is gone. */
  private async retell(held: Held): Promise<string> {
    const { data } = held.job;
    if (isNews(data) && !(await this.keep(held, data))) throw overtaken();
    return this.tell(held, fromStored(data.error, this.host.options.account));
  }

  /** Tells the application; as often as it takes, within reason. */
  private async tell(held: Held, error: RtSmsError | undefined): Promise<string> {
    const { job } = held;
    const { data } = job;
    const { emit } = this.host;
    const id = idOf(job.id!);
    const ref = readRef(data);
    let told: boolean;
    if (data.state === 'accepted') told = await emit.accepted(id, data.uid!, ref);
    else if (data.state === 'refused') told = await emit.refused(id, error!, ref);
    else if (data.state === 'unknown') told = await emit.outcomeUnknown(id, error!, ref);
    else if (data.state === 'expired') told = await emit.expired(id, ref);
    else told = await emit.cancelled(id, ref);
    const failures = (data.failures ?? 0) + 1;
    if (told || failures > MAX_HANDLER_FAILURES) return data.state!;
    await this.keep(held, { ...data, failures });
    return this.later(held, nextHandlerCall(failures));
  }

  /** Another worker has the job, for this one was silent too long. What it knows must not be lost. */
  private async overtaken(held: Held, data: SendData): Promise<string> {
    if (data.state === 'accepted') {
      const now = await this.store.insist(() => this.store.send.getJob(held.job.id!));
      if (now && now.data.state === undefined) await this.store.insist(() => now.updateData(data));
      else if (now?.data.state !== 'accepted')
        this.host.logger.warn(
          `${redact(data.uid!)} was accepted after all, its outcome had been reported as ${now?.data.state ?? 'gone'}; it is followed`,
        );
    }
    throw overtaken();
  }

  /** Writes what is known, whatever it takes; the check job of an accepted message with it. False if the job is no longer ours. */
  private async keep(held: Held, data: SendData): Promise<boolean> {
    for (;;) {
      try {
        return await this.replace(held, data);
      } catch (error) {
        if (this.end.signal.aborted) {
          if (data.uid)
            this.host.logger.error(
              `${redact(data.uid)} was accepted, but the store is gone and could not keep it: track() it`,
            );
          throw error;
        }
        this.store.complain(error);
        await pause(100);
      }
    }
  }

  private async replace(held: Held, content: SendData): Promise<boolean> {
    const { job, token } = held;
    held.edition = (held.edition ?? job.data.edition ?? 0) + 1;
    const data = { ...content, edition: held.edition };
    const keeping = { jobId: job.id!, token, data };
    const ours = isNews(data)
      ? await this.checks.expect(data.uid!, { at: data.sentAt!, ref: readRef(data), from: job.id! }, keeping)
      : (await this.store.steps.keep(keeping)).replaced;
    if (ours) job.data = data;
    return ours;
  }
}

const overtaken = () => new Error('Another worker has taken the job over');

/** Accepted, and nobody was told yet: it may have no check job. */
const isNews = ({ state, failures }: SendData): boolean => state === 'accepted' && !failures;

/**
 * BullMQ counts in windows that begin with their first job, and two of them may stand together in one second. Ten short
 * ones keep any sliding second to the rate and a tenth, at worst. Each is one in a hundred longer, for the jitter of the
 * way to the gateway.
 */
export function limiter(perSecond: number): { max: number; duration: number } {
  const max = Math.max(1, Math.floor(perSecond / 10));
  return { max, duration: Math.ceil((max * 1010) / perSecond) };
}
