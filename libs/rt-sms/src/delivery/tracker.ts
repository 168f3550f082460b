import type { Logger } from '@nestjs/common';
import { RtSmsStatusEvent } from '../events/events.js';
import type { CallOptions } from '../gateway/calls.js';
import { SlidingRate } from '../gateway/rate.js';
import { isFinal, readUid, type DeliveryReport, type SmsStatus } from '../message/status.js';
import { RtSmsAbortedError, RtSmsNotFoundError, RtSmsTimeoutError, type RtSmsErrorContext } from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../rt-sms.options.js';
import { redact } from '../redact.js';
import type { DeliveryTracker, EngineHost } from './engine.js';
import { Heap, type HeapItem } from './heap.js';

/** The gateway may not know a message yet that it has just taken; a uid that it does not know for longer is given up. */
const NOT_FOUND_GRACE_MS = 600_000;
/** A hint about a message that was asked for just now waits so long. */
const HINT_PAUSE_MS = 1_000;
/** Words that are not final, kept of one message: the table has one of them, the rest are unknown. */
const MAX_WORDS = 16;
/** What is over a limit goes in one sweep: to find the oldest of a Map is to step over the holes that the last ones left. */
const SLACK = 1.01;

/** A status of a message, and how it came to be known. */
interface Known {
  status: SmsStatus;
  gatewayStatus: string;
  parts: number | undefined;
  errorCode: string | undefined;
  source: 'callback' | 'poll';
  confirmed: boolean;
  corrects: SmsStatus | undefined;
  at: number;
}

/** All that is remembered of one uid: not its events, for there are many. */
class Delivery {
  ref: string | undefined;
  last: Known | undefined;
  /** The words that were emitted, but for a final one. */
  words: string[] | undefined;
  corrected = false;
  /** While it is to be asked for. */
  look: Look | undefined;

  constructor(readonly uid: string) {}

  get final(): Known | undefined {
    return this.last && isFinal(this.last.status) ? this.last : undefined;
  }
}

/** When and why a message is asked for. */
class Look implements HeapItem {
  place = -1;
  dueAt = 0;
  step = 0;
  sentAt = Date.now();
  askedAt = 0;
  missingSince: number | undefined;
  /** The request on its way; its error comes out of it as a value. */
  asking: Promise<unknown> | undefined;
  /** A callback wants a look: it stands in `urgent`, or waits for the end of a request whose answer may be older. */
  hinted = false;
  /** Followed or not, the gateway has to say something yet: which of two contradicting final statuses holds. */
  owed = false;

  constructor(readonly delivery: Delivery) {}
}

interface Waiter {
  resolve(event: RtSmsStatusEvent): void;
  reject(error: Error): void;
}

type TrackerHost = Pick<EngineHost, 'options' | 'logger' | 'gate' | 'status' | 'emit'>;

/**
 * What becomes of messages, kept in memory: one state per uid, steps only forward, each status emitted once. What no
 * callback tells is asked for on a schedule; with `tracking: false` nothing is asked for but what contradicts itself.
 */
export class MemoryTracker implements DeliveryTracker {
  /** Not final yet; the one taken up first goes first. */
  private readonly open = new Map<string, Delivery>();
  /** Final, or heard of without being followed; the one heard of first goes first. */
  private readonly closed = new Map<string, Delivery>();
  /** What a callback told of goes before what is merely due. */
  private readonly urgent = new Heap<Look>((a, b) => a.dueAt < b.dueAt);
  private readonly due = new Heap<Look>((a, b) => a.dueAt < b.dueAt);
  private readonly waiters = new Map<string, Set<Waiter>>();
  private readonly rate: SlidingRate;
  private readonly parallel: number;
  private readonly polling: Exclude<ResolvedOptions['tracking'], false> | undefined;
  private readonly remember: number;
  private readonly steps: readonly number[];
  private readonly maxAgeMs: number;
  private readonly logger: Logger;
  private looking = 0;
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Infinity;
  /** Gives up the place in the rate, while one is waited for. */
  private leaveRate: (() => void) | undefined;
  private started = false;
  private stopped = false;
  /** For metrics and health. */
  readonly counts = { repeated: 0, lost: 0, unresolved: 0, polls: 0 };

  constructor(private readonly host: TrackerHost) {
    const { tracking, connections } = host.options;
    this.polling = tracking || undefined;
    this.remember = this.polling?.remember ?? 100_000;
    this.steps = this.polling?.schedule ?? [60_000];
    this.maxAgeMs = this.polling?.maxAgeMs ?? 72 * 3_600_000;
    this.rate = new SlidingRate(this.polling?.perSecond ?? 50);
    // Never more than half of the connections: polling must not hold up a message.
    this.parallel = Math.max(1, connections >> 1);
    this.logger = host.logger;
    host.gate.onOpen(() => this.pump());
  }

  follows(uid: string): boolean {
    return this.open.has(uid);
  }

  get size(): number {
    return this.open.size;
  }

  async start(): Promise<void> {
    this.started = true;
    this.pump();
    if (!this.polling?.open) return;
    try {
      for await (const item of await this.polling.open()) {
        if (this.stopped) return;
        const { uid, ...about } = typeof item === 'object' && item !== null ? item : { uid: item };
        const known = readUid(uid);
        if (known) this.follow(known, about);
        else this.logger.warn(`tracking.open returned something that is no uid: ${redact(String(uid))}`);
      }
    } catch (error) {
      this.logger.error(
        `tracking.open failed, what it has not returned is not followed: ${redact(String((error as Error)?.message ?? error))}`,
      );
    }
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.leaveRate?.();
    for (const [uid, waiters] of this.waiters) {
      const error = new RtSmsAbortedError(
        `The wait for the final status of ${uid} was ended by the application's end`,
        'not_sent',
        this.context(),
      );
      for (const { reject } of waiters) reject(error);
    }
  }

  follow(uid: string, { ref, sentAt }: { ref?: string | undefined; sentAt?: Date | undefined } = {}): void {
    if (!this.polling || this.stopped || this.open.has(uid)) return;
    const delivery = this.closed.get(uid) ?? new Delivery(uid);
    if (delivery.final) return;
    const look = lookOf(delivery);
    const now = Date.now();
    const { steps } = this;
    delivery.ref = ref ?? delivery.ref;
    // A journal may give a date back as text, or null.
    look.sentAt = Math.min(now, (sentAt && new Date(sentAt).getTime()) || now);
    // What is taken up again goes on where its age has brought it, not at the first step.
    look.step = 0;
    let at = look.sentAt + steps[0]!;
    while (look.step < steps.length - 1 && (at += steps[look.step + 1]!) <= now) look.step++;
    this.closed.delete(uid);
    this.open.set(uid, delivery);
    // But the first look comes as if it had just been sent, or now: nobody knows what the time in between has brought.
    if (look.place < 0 && !look.asking) this.schedule(look, look.sentAt + jittered(steps[0]!));
    this.keepLimit(this.polling.limit);
  }

  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): void {
    if (this.stopped) return;
    const { uid } = report;
    this.learn(this.open.get(uid) ?? this.closed.get(uid) ?? new Delivery(uid), report, source, confirmed);
  }

  hint(uid: string, ask: boolean): void {
    if (this.stopped || (!ask && !this.open.has(uid))) return;
    const look = lookOf(this.known(uid));
    look.owed ||= ask;
    this.wake(look);
  }

  waitForFinal(uid: string, { timeoutMs, signal }: CallOptions): Promise<RtSmsStatusEvent> {
    const known = this.closed.get(uid);
    if (known?.final) return Promise.resolve(this.event(known, known.final));
    const began = performance.now();
    const limitMs = Math.min(timeoutMs ?? this.maxAgeMs, 2 ** 31 - 1);
    let lastError: unknown;
    return new Promise((resolve, reject) => {
      const waiters = this.waiters.get(uid) ?? new Set();
      this.waiters.set(uid, waiters);
      const leave = (act: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        waiters.delete(waiter);
        if (waiters.size === 0 && this.waiters.get(uid) === waiters) this.waiters.delete(uid);
        act();
      };
      const context = () => this.context(lastError, performance.now() - began);
      const waiter: Waiter = {
        resolve: (event) => leave(() => resolve(event)),
        reject: (error) => leave(() => reject(error)),
      };
      const abort = () =>
        waiter.reject(new RtSmsAbortedError(`The caller's signal ended the wait for ${uid}`, 'not_sent', context()));
      const timer = setTimeout(
        () =>
          waiter.reject(
            new RtSmsTimeoutError(
              `No final status of ${uid} within ${limitMs} ms; it is still followed`,
              'not_sent',
              context(),
            ),
          ),
        limitMs,
      );
      waiters.add(waiter);
      if (signal?.aborted || this.stopped) return abort();
      signal?.addEventListener('abort', abort);
      this.follow(uid);
      void this.ask(lookOf(this.known(uid))).then((error) => (lastError = error));
    });
  }

  private context(cause?: unknown, durationMs = 0): RtSmsErrorContext {
    const safe = cause instanceof Error ? { cause } : {};
    return { operation: 'wait', account: this.host.options.account, durationMs, ...safe };
  }

  private event({ uid, ref }: Delivery, known: Known): RtSmsStatusEvent {
    const { status, gatewayStatus, parts, errorCode, source, confirmed, corrects } = known;
    return new RtSmsStatusEvent({
      account: this.host.options.account,
      uid,
      ref,
      status,
      gatewayStatus,
      final: isFinal(status),
      parts,
      errorCode,
      source,
      confirmed,
      corrects,
      receivedAt: new Date(known.at),
    });
  }

  /** Of a followed one what there is; any other one is remembered, as the newest. */
  private known(uid: string): Delivery {
    const followed = this.open.get(uid);
    if (followed) return followed;
    const delivery = this.closed.get(uid) ?? new Delivery(uid);
    this.keep(delivery);
    return delivery;
  }

  /** The status model: forward only, each word once, one final status, and at most one correction of it. */
  private learn(delivery: Delivery, report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): void {
    const { uid, final, look } = delivery;
    const { status, gatewayStatus, parts, errorCode } = report;
    const known = { status, gatewayStatus, parts, errorCode, source, confirmed, corrects: undefined, at: Date.now() };
    const word = status === 'unknown' ? `unknown:${gatewayStatus}` : status;
    const ends = isFinal(status);
    // An answer pays what is owed, unless a callback came after the question; of two final ones only a final one decides.
    if (look && confirmed && !look.hinted && (ends || !final)) look.owed = false;
    if (final && ends && status !== final.status && !delivery.corrected) {
      delivery.corrected = confirmed;
      if (confirmed) return this.settle(delivery, { ...known, corrects: final.status });
      this.keep(delivery);
      const question = lookOf(delivery);
      question.owed = true;
      return this.wake(question);
    }
    const { words } = delivery;
    if (final || words?.includes(word) || (!ends && words?.length === MAX_WORDS)) {
      this.counts.repeated++;
      this.logger.debug(`Nothing new: ${uid} is ${redact(word)} by ${source}`);
      if (!this.open.has(uid)) this.keep(delivery);
      return;
    }
    if (ends) return this.settle(delivery, known);
    (delivery.words ??= []).push(word);
    delivery.last = known;
    if (!this.open.has(uid)) this.keep(delivery);
    void this.host.emit.status(this.event(delivery, known));
  }

  private settle(delivery: Delivery, known: Known): void {
    delivery.last = known;
    delivery.words = undefined;
    this.open.delete(delivery.uid);
    this.keep(delivery);
    this.drop(delivery);
    if (known.source === 'poll') this.counts.lost++;
    const event = this.event(delivery, known);
    void this.host.emit.status(event);
    for (const waiter of this.waiters.get(delivery.uid) ?? []) waiter.resolve(event);
  }

  /** Remembers it as the newest of those that are not followed. */
  private keep(delivery: Delivery): void {
    this.closed.delete(delivery.uid);
    this.closed.set(delivery.uid, delivery);
    if (this.closed.size <= this.remember * SLACK) return;
    for (const uid of this.closed.keys()) {
      if (this.closed.size <= this.remember) break;
      this.closed.delete(uid);
    }
  }

  private keepLimit(limit: number): void {
    if (this.open.size <= limit * SLACK) return;
    const why = `more than ${limit} messages are followed (tracking.limit)`;
    this.logger.warn(`${this.open.size - limit} messages stay without a final status: ${why}`);
    for (const delivery of this.open.values()) {
      if (this.open.size <= limit) break;
      this.giveUp(delivery, why);
    }
  }

  private giveUp(delivery: Delivery, why: string): void {
    const { uid, ref, look } = delivery;
    if (look) look.owed = false;
    this.drop(delivery);
    if (!this.open.delete(uid)) return;
    this.keep(delivery);
    this.counts.unresolved++;
    void this.host.emit.unresolved(uid, { ref, lastStatus: delivery.last?.status });
    const error = new RtSmsTimeoutError(`${uid} stays without a final status: ${why}`, 'not_sent', this.context());
    for (const waiter of this.waiters.get(uid) ?? []) waiter.reject(error);
  }

  /** Has it looked at soon; if it is being looked at, once more afterwards. */
  private wake(look: Look): void {
    // One that waits already keeps its place.
    if (look.hinted && look.place >= 0) return;
    this.withdraw(look);
    look.hinted = true;
    if (look.asking) return;
    look.dueAt = Math.max(Date.now(), look.askedAt + HINT_PAUSE_MS);
    this.urgent.put(look);
    this.pump();
  }

  private schedule(look: Look, at: number): void {
    // The last look is at the end of its time, not after it.
    look.dueAt = Math.max(Date.now(), Math.min(at, look.sentAt + this.maxAgeMs));
    this.due.put(look);
    this.pump();
  }

  /** Takes it out of the queues. */
  private withdraw(look: Look): void {
    this.urgent.remove(look);
    this.due.remove(look);
    look.hinted = false;
  }

  /** It need not be looked at any more, unless something is owed. */
  private drop(delivery: Delivery): void {
    const { look } = delivery;
    if (!look) return;
    this.withdraw(look);
    if (!look.asking && !look.owed) delivery.look = undefined;
  }

  /** The one to look at next, now or later. */
  private get next(): Look | undefined {
    const urgent = this.urgent.first;
    const due = this.due.first;
    return urgent && (!due || urgent.dueAt <= Math.max(due.dueAt, Date.now())) ? urgent : due;
  }

  private get mayLook(): boolean {
    return this.started && !this.stopped && !this.host.gate.error && this.looking < this.parallel;
  }

  /** Looks at what is due, as many at once as may be and one start of the rate at a time, and sets the timer for the next. */
  private pump(): void {
    while (this.mayLook && !this.leaveRate) {
      const { next } = this;
      if (!next) return;
      if (next.dueAt > Date.now()) return this.pumpAt(next.dueAt);
      let waited = false;
      let taken = false;
      const leave = this.rate.wait((ticket) => {
        ticket.start();
        taken = true;
        this.leaveRate = undefined;
        this.look();
        if (waited) this.pump();
      });
      waited = true;
      if (!taken) this.leaveRate = leave;
    }
  }

  private pumpAt(at: number): void {
    // An earlier one sets the next by itself; to set it anew for each message that is followed costs more than all the rest.
    if (this.timerAt <= at) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    const run = () => {
      this.timerAt = Infinity;
      this.pump();
    };
    this.timer = setTimeout(run, Math.min(Math.ceil(at - Date.now()), 2 ** 31 - 1)).unref();
  }

  /** Looks at what is the most urgent by now; if that was settled meanwhile, the start is lost, which only makes us slower. */
  private look(): void {
    const { next } = this;
    if (!this.mayLook || !next || next.dueAt > Date.now()) return;
    if (!next.hinted) next.step++;
    this.looking++;
    void this.ask(next).then(() => {
      this.looking--;
      this.pump();
    });
  }

  /** One status request at a time for each uid. Its error comes back as a value: a look that failed ends nothing. */
  private ask(look: Look): Promise<unknown> {
    if (look.asking) return look.asking;
    const { delivery } = look;
    const source = look.hinted ? 'callback' : 'poll';
    this.withdraw(look);
    look.askedAt = Date.now();
    this.counts.polls++;
    const asking = this.host.status(delivery.uid).then(
      (report) => {
        look.asking = undefined;
        if (!this.stopped) this.learn(delivery, report, source, true);
        this.asked(look, undefined);
      },
      (error: Error) => {
        look.asking = undefined;
        this.logger.debug(`Status of ${delivery.uid}: ${error.message}`);
        this.asked(look, error);
        return error;
      },
    );
    return (look.asking = asking);
  }

  /** What follows from a look that did not settle it. */
  private asked(look: Look, error: Error | undefined): void {
    const { delivery } = look;
    if (this.stopped) return;
    if (!look.owed && this.open.get(delivery.uid) !== delivery) return this.drop(delivery);
    const now = Date.now();
    if (error instanceof RtSmsNotFoundError) look.missingSince ??= now;
    else if (!error) look.missingSince = undefined;
    // In proportion, where the whole time is short.
    const graceMs = Math.min(NOT_FOUND_GRACE_MS, this.maxAgeMs / 10);
    let why: string | undefined;
    if (error instanceof RtSmsNotFoundError && now - (look.missingSince ?? now) >= graceMs)
      why = 'the gateway does not know it (transaction_not_found)';
    else if (look.askedAt >= look.sentAt + this.maxAgeMs)
      why = `none came within ${this.maxAgeMs} ms (tracking.maxAgeMs)`;
    if (why !== undefined) {
      this.logger.warn(`${delivery.uid} is asked about no more: ${why}`);
      this.giveUp(delivery, why);
    } else if (look.hinted) {
      this.wake(look);
    } else {
      this.schedule(look, now + jittered(this.steps[Math.min(look.step, this.steps.length - 1)]!));
    }
  }
}

const lookOf = (delivery: Delivery): Look => (delivery.look ??= new Look(delivery));

/** Longer by up to a fifth, never shorter: what was sent together is not asked for together. */
const jittered = (ms: number): number => ms * (1 + 0.2 * Math.random());
