import type { Logger } from '@nestjs/common';
import type { RtSmsStatusEvent } from '../events/events.js';
import { SlidingRate } from '../gateway/rate.js';
import { isFinal, readUid, type DeliveryReport } from '../message/status.js';
import { RtSmsNotFoundError } from '../rt-sms.errors.js';
import { isObject, MAX_TIMER_MS } from '../options/option-rules.js';
import { TRACKING } from '../options/resolve-options.js';
import type { RtSmsTracking } from '../options/rt-sms.options.js';
import { messageOf, redact } from '../redact.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import {
  applyReport,
  finalOf,
  ignoredDuplicate,
  statusEvent,
  type DeliveryState,
  type StatusRecord,
} from './delivery-state.js';
import { MAX_UNKNOWN_UIDS, type DeliveryTracker, type EngineHost, type EngineSettings } from './engine.js';
import { Heap, type HeapItem } from './heap.js';
import { PollSchedule } from './poll-schedule.js';

/** A hint about a message that was asked for just now waits so long. */
const HINT_PAUSE_MS = 1_000;
/** What is over a limit goes in one sweep: to find the oldest of a Map is to step over the holes that the last ones left. */
const SLACK = 1.01;

/** All that is remembered of one uid: not its events, for there are many. */
class Delivery implements DeliveryState {
  ref: string | undefined;
  /** This process sent it or was asked to follow it; nothing is polled for a callback about any other uid. */
  isKnown = false;
  last: StatusRecord | undefined;
  seenStatuses: readonly string[] | undefined;
  corrected: boolean | undefined;
  /** While it is to be asked for. */
  look: Look | undefined;

  constructor(readonly uid: string) {}

  get final(): StatusRecord | undefined {
    return finalOf(this);
  }
}

/** When and why a message is asked for. Its times are those of `performance.now()`: the clock of the day may be set back. */
class Look implements HeapItem {
  place = -1;
  dueAt = 0;
  step = 0;
  sentAt = performance.now();
  askedAt = -Infinity;
  missingSince: number | undefined;
  /** The request on its way; its error comes out of it as a value. */
  asking: Promise<Error | undefined> | undefined;
  /** A callback wants a look: it stands in `urgent`, or waits for the end of a request whose answer may be older. */
  hinted = false;
  /** Followed or not, the gateway has to say something yet: which of two contradicting final statuses holds. */
  owed = false;

  constructor(readonly delivery: Delivery) {}
}

type TrackerHost = Pick<EngineHost, 'options' | 'logger' | 'gate' | 'status' | 'emit' | 'sentByAnother'>;

/**
 * What becomes of messages, kept in memory: one state per uid, steps only forward, each status emitted once. What no
 * callback tells is asked for on a schedule; with `tracking: false` nothing is asked for but what contradicts itself.
 */
export class MemoryTracker implements DeliveryTracker {
  /** Not final yet; the one taken up first goes first. */
  private readonly open = new Map<string, Delivery>();
  /** Final, or known without being followed; the oldest goes first. */
  private readonly closed = new Map<string, Delivery>();
  /** Named by callbacks only; the oldest goes first. */
  private readonly unknown = new Map<string, Delivery>();
  /** What a callback told of goes before what is merely due. */
  private readonly urgent = new Heap<Look>((a, b) => a.dueAt < b.dueAt);
  private readonly due = new Heap<Look>((a, b) => a.dueAt < b.dueAt);
  private readonly options: Exclude<EngineSettings['tracking'], false>;
  private readonly polls: PollSchedule;
  private readonly rate: SlidingRate;
  private readonly parallel: number;
  private readonly logger: Logger;
  /** Requests on their way that are counted against `parallel`. */
  private looking = 0;
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Infinity;
  private started = false;
  private stopped = false;

  constructor(private readonly host: TrackerHost) {
    const { tracking, connections } = host.options;
    this.options = tracking || TRACKING;
    this.polls = new PollSchedule(this.options);
    this.rate = new SlidingRate(this.options.perSecond);
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

  start(): void {
    this.started = true;
    this.pump();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  follow(uid: string, { ref, sentAt }: { ref?: string | undefined; sentAt?: Date | undefined } = {}): void {
    if (this.stopped) return;
    const delivery = this.known(uid);
    // A listener of `accepted`, or a callback, may have been quicker: what comes later shall have the ref all the same.
    delivery.ref = ref ?? delivery.ref;
    if (!delivery.isKnown) {
      this.unknown.delete(uid);
      delivery.isKnown = true;
    }
    if (this.open.has(uid)) return;
    if (delivery.final || !this.host.options.tracking) return this.keep(delivery);
    this.closed.delete(uid);
    this.open.set(uid, delivery);
    const look = this.lookOf(delivery);
    const now = performance.now();
    // A journal may give a date back as text, or null.
    look.sentAt = now - Math.max(0, (sentAt && Date.now() - new Date(sentAt).getTime()) || 0);
    const { step, dueAt } = this.polls.begin(look.sentAt, now);
    look.step = step;
    if (look.place < 0 && !look.asking) this.schedule(look, dueAt);
    this.keepLimit(this.options.limit);
  }

  knows(uid: string): boolean {
    return this.known(uid).isKnown;
  }

  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> | void {
    const { uid } = report;
    const learn = () => {
      if (!this.stopped) this.learn(this.known(uid), report, source, confirmed);
    };
    const elsewhere = this.knows(uid) ? false : this.host.sentByAnother(uid);
    if (elsewhere === false) return learn();
    return elsewhere.then((isOthers) => {
      if (!isOthers) learn();
      else this.host.logger.warn(`Ignored a callback about ${uid}: another account of this application sent it`);
    });
  }

  hint(uid: string, ask: boolean): void {
    if (this.stopped || (!ask && !this.open.has(uid))) return;
    const look = this.lookOf(this.known(uid));
    look.owed ||= ask;
    this.wake(look);
  }

  async seek(uid: string): Promise<RtSmsStatusEvent | Error | undefined> {
    const delivery = this.known(uid);
    if (delivery.final) return this.event(delivery, delivery.final);
    this.follow(uid);
    return this.ask(this.lookOf(this.known(uid)));
  }

  private event({ uid, ref }: Delivery, record: StatusRecord): RtSmsStatusEvent {
    return statusEvent(this.host.options.account, uid, ref, record);
  }

  private known(uid: string): Delivery {
    return this.open.get(uid) ?? this.closed.get(uid) ?? this.unknown.get(uid) ?? new Delivery(uid);
  }

  private lookOf(delivery: Delivery): Look {
    this.keep(delivery);
    return (delivery.look ??= new Look(delivery));
  }

  private learn(delivery: Delivery, report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): void {
    const { uid, final, look } = delivery;
    const ends = isFinal(report.status);
    this.keep(delivery);
    // An answer pays what is owed, unless a callback came after the question; of two final ones only a final one decides.
    if (look && confirmed && !look.hinted && (ends || !final)) look.owed = false;
    const transition = applyReport(delivery, report, source, confirmed);
    if (transition.kind === 'needsConfirmation' && delivery.isKnown) {
      delivery.corrected = false;
      const question = this.lookOf(delivery);
      question.owed = true;
      return this.wake(question);
    }
    if (transition.kind !== 'news') {
      return this.logger.debug(ignoredDuplicate(uid, report, source));
    }
    const { last, seenStatuses, corrected } = transition.state;
    // Field by field: an object that is made anew for each status would cost more than the rest of it.
    delivery.last = last;
    delivery.seenStatuses = seenStatuses;
    delivery.corrected = corrected;
    if (ends) {
      this.open.delete(uid);
      this.keep(delivery);
      this.drop(delivery);
    }
    void this.host.emit.status(this.event(delivery, last));
  }

  /** Remembers one that is not followed as the newest of its kind. */
  private keep(delivery: Delivery): void {
    const { uid, isKnown } = delivery;
    if (this.open.has(uid)) return;
    const kept = isKnown ? this.closed : this.unknown;
    const limit = isKnown ? this.options.remember : Math.min(MAX_UNKNOWN_UIDS, this.options.remember);
    kept.delete(uid);
    kept.set(uid, delivery);
    if (kept.size <= limit * (isKnown ? SLACK : 1)) return;
    for (const oldest of kept.values()) {
      if (kept.size <= limit) break;
      kept.delete(oldest.uid);
      // What is forgotten is not asked for either: callbacks that come faster than may be asked would pile up.
      if (oldest.look) oldest.look.owed = false;
      this.drop(oldest);
    }
  }

  private keepLimit(limit: number): void {
    if (this.open.size <= limit * SLACK) return;
    const why = `more than ${limit} messages are followed (tracking.limit)`;
    this.logger.warn(`${this.open.size - limit} messages stay without a final status: ${why}`);
    for (const delivery of this.open.values()) {
      if (this.open.size <= limit) break;
      this.giveUp(delivery);
    }
  }

  private giveUp(delivery: Delivery): void {
    const { uid, ref, look } = delivery;
    if (look) look.owed = false;
    this.drop(delivery);
    if (!this.open.delete(uid)) return;
    this.keep(delivery);
    void this.host.emit.unresolved(uid, { ref, lastStatus: delivery.last?.status });
  }

  /** Has it looked at soon; if it is being looked at, once more afterwards. */
  private wake(look: Look): void {
    // One that waits already keeps its place.
    if (look.hinted && look.place >= 0) return;
    this.withdraw(look);
    look.hinted = true;
    if (look.asking) return;
    look.dueAt = Math.max(performance.now(), look.askedAt + HINT_PAUSE_MS);
    this.urgent.put(look);
    this.pump();
  }

  private schedule(look: Look, at: number): void {
    look.dueAt = at;
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
    return urgent && (!due || urgent.dueAt <= Math.max(due.dueAt, performance.now())) ? urgent : due;
  }

  private get mayLook(): boolean {
    return this.started && !this.stopped && !this.host.gate.error && this.looking < this.parallel;
  }

  /** Looks at what is due, as many at once and as many in a second as may be, and sets the timer for the next. */
  private pump(): void {
    for (let look = this.next; look && this.mayLook; look = this.next) {
      const waitMs = Math.max(look.dueAt - performance.now(), this.rate.waitMs);
      if (waitMs > 0) return this.pumpIn(waitMs);
      this.rate.take().start();
      if (!look.hinted) look.step++;
      this.looking++;
      void this.ask(look).then(() => {
        this.looking--;
        this.pump();
      });
    }
  }

  private pumpIn(ms: number): void {
    const at = performance.now() + ms;
    // An earlier one sets the next by itself; to set it anew for each message that is followed costs more than all the rest.
    if (this.timerAt <= at) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    const run = () => {
      this.timerAt = Infinity;
      this.pump();
    };
    this.timer = setTimeout(run, Math.min(Math.ceil(ms), MAX_TIMER_MS)).unref();
  }

  /** One status request at a time for each uid. Its error comes back as a value: a look that failed ends nothing. */
  private ask(look: Look): Promise<Error | undefined> {
    if (look.asking) return look.asking;
    const { delivery } = look;
    const source = look.hinted ? 'callback' : 'poll';
    this.withdraw(look);
    look.askedAt = performance.now();
    const asked = (report?: SmsStatusReport, error?: Error) => {
      look.asking = undefined;
      if (error) this.logger.debug(`Status of ${redact(delivery.uid)}: ${error.message}`);
      if (this.stopped) return error;
      if (report) this.learn(delivery, report, source, true);
      this.goOn(look, error);
      return error;
    };
    look.asking = this.host.status(delivery.uid).then(asked, (error: Error) => asked(undefined, error));
    return look.asking;
  }

  /** What follows from a look that did not settle it. */
  private goOn(look: Look, error: Error | undefined): void {
    const { delivery } = look;
    if (!look.owed && this.open.get(delivery.uid) !== delivery) return this.drop(delivery);
    const { maxAgeMs } = this.options;
    const now = performance.now();
    let why: string | undefined;
    if (error instanceof RtSmsNotFoundError) {
      // A uid that only a callback has named may be invented: the gateway is not asked again.
      if (!delivery.isKnown) {
        look.owed = false;
        return this.drop(delivery);
      }
      look.missingSince ??= now;
      if (this.polls.isLost(look.missingSince, now)) why = 'the gateway does not know it (transaction_not_found)';
    } else if (!error) look.missingSince = undefined;
    if (this.polls.isOver(look.sentAt, look.askedAt)) why ??= `none came within ${maxAgeMs} ms (tracking.maxAgeMs)`;
    if (why === undefined) {
      if (look.hinted) this.wake(look);
      else this.schedule(look, this.polls.next(look.sentAt, look.step, now));
    } else {
      this.logger.warn(`${redact(delivery.uid)} is asked about no more: ${why}`);
      this.giveUp(delivery);
    }
  }
}

/** Follows what `tracking.open` returns, until `signal` fires; what is no uid is named and left out. */
export async function followOpen(
  open: RtSmsTracking['open'],
  tracker: Pick<DeliveryTracker, 'follow'>,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const item of (await open?.()) ?? []) {
      if (signal.aborted) return;
      const { uid, ...about } = isObject(item) ? item : { uid: item };
      const known = readUid(uid);
      if (known) await tracker.follow(known, about);
      else logger.warn(`tracking.open returned something that is no uid: ${redact(String(uid))}`);
    }
  } catch (error) {
    const why = redact(messageOf(error));
    logger.error(`tracking.open failed, what it has not returned is not followed: ${why}`);
  }
}
