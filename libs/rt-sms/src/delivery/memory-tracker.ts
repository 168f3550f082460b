import type { RtSmsStatusEvent } from '../events/events.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import { isFinal, type DeliveryReport } from '../message/status.js';
import { TRACKING } from '../options/resolve-options.js';
import { redact } from '../redact.js';
import { RtSmsNotFoundError } from '../rt-sms.errors.js';
import { applyReport, gaveUp, ignoredDuplicate, statusEvent, type StatusRecord } from './delivery-state.js';
import { MAX_UNKNOWN_UIDS, type DeliveryTracker } from './delivery-tracker.js';
import type { EngineHost, EngineSettings } from './engine.js';
import { Delivery, DeliveryPoll } from './memory-delivery.js';
import { OVERDUE_POLL_MS, OverdueTimers, type OverdueTimer } from './overdue-timers.js';
import { parallelPolls, PollSchedule } from './poll-schedule.js';
import { PollScheduler } from './poll-scheduler.js';

/** Maps are trimmed in batches: finding the oldest entry of a Map means stepping over the holes of those deleted before. */
const EVICTION_SLACK = 1.01;

type TrackerHost = Pick<EngineHost, 'options' | 'logger' | 'breaker' | 'status' | 'emit' | 'sentByAnother'>;

/**
 * Tracks messages in the memory of this process. It polls on a schedule for statuses that no callback delivers; with
 * `tracking: false` it polls only to resolve contradicting final statuses.
 */
export class MemoryTracker implements DeliveryTracker {
  /** Tracked messages without a final status, the oldest first. */
  private readonly open = new Map<string, Delivery>();
  /** Known messages that are final or not tracked, the oldest first. */
  private readonly closed = new Map<string, Delivery>();
  /** Uids that only callbacks have named, the oldest first. */
  private readonly unknown = new Map<string, Delivery>();
  private readonly options: Exclude<EngineSettings['tracking'], false>;
  private readonly schedule: PollSchedule;
  private readonly scheduler: PollScheduler<DeliveryPoll>;
  private readonly overdue = new OverdueTimers((timer) => this.onOverdue(timer));
  private stopped = false;

  constructor(private readonly host: TrackerHost) {
    const { tracking, connections } = host.options;
    this.options = tracking || TRACKING;
    this.schedule = new PollSchedule(this.options);
    const limits = {
      perSecond: this.options.perSecond,
      parallel: parallelPolls(connections),
      isAllowed: () => !host.breaker.error,
    };
    this.scheduler = new PollScheduler(limits, (task) => this.poll(task));
    host.breaker.onRestored(() => this.scheduler.run());
  }

  get size(): number {
    return this.open.size;
  }

  follows(uid: string): boolean {
    return this.open.has(uid);
  }

  isKnown(uid: string): boolean {
    return this.deliveryOf(uid).isKnown;
  }

  start(): void {
    this.scheduler.start();
    this.overdue.start();
  }

  stop(): void {
    this.stopped = true;
    this.scheduler.stop();
    this.overdue.stop();
  }

  follow(uid: string, { ref, sentAt, overdue }: Parameters<DeliveryTracker['follow']>[1] = {}): void {
    if (this.stopped) return;
    const delivery = this.deliveryOf(uid);
    // A listener of `accepted`, or a callback, may have been faster. Later events get the ref all the same.
    delivery.ref = ref ?? delivery.ref;
    if (!delivery.isKnown) {
      this.unknown.delete(uid);
      delivery.isKnown = true;
    }
    const isTracked = !delivery.final && this.host.options.tracking;
    if (overdue && isTracked) this.overdue.add(uid, overdue);
    if (this.open.has(uid)) return;
    if (!isTracked) return this.remember(delivery);
    this.closed.delete(uid);
    this.open.set(uid, delivery);
    const task = this.pollTaskFor(delivery);
    const now = performance.now();
    // A journal may return a date as text, or null.
    task.sentAt = now - Math.max(0, (sentAt && Date.now() - new Date(sentAt).getTime()) || 0);
    const { step, dueAt } = this.schedule.begin(task.sentAt, now);
    task.step = step;
    if (task.index < 0 && !task.polling) this.scheduler.schedule(task, dueAt);
    this.enforceLimit();
  }

  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): Promise<void> | void {
    const { uid } = report;
    const apply = () => {
      if (!this.stopped) this.apply(this.deliveryOf(uid), report, source, confirmed);
    };
    const elsewhere = this.isKnown(uid) ? false : this.host.sentByAnother(uid);
    if (elsewhere === false) return apply();
    return elsewhere.then((isOthers) => {
      if (!isOthers) apply();
      else this.host.logger.warn(redact(`Ignored a callback for ${uid}: another account of this application sent it`));
    });
  }

  requestPoll(uid: string, evenIfUnknown: boolean): void {
    if (this.stopped || (!evenIfUnknown && !this.open.has(uid))) return;
    const task = this.pollTaskFor(this.deliveryOf(uid));
    task.needsConfirmation ||= evenIfUnknown;
    this.scheduler.scheduleUrgent(task);
  }

  async findFinal(uid: string): Promise<RtSmsStatusEvent | Error | undefined> {
    const delivery = this.deliveryOf(uid);
    if (delivery.final) return this.event(delivery, delivery.final);
    this.follow(uid);
    return this.poll(this.pollTaskFor(this.deliveryOf(uid)));
  }

  private event({ uid, ref }: Delivery, record: StatusRecord): RtSmsStatusEvent {
    return statusEvent(this.host.options.account, uid, ref, record);
  }

  private deliveryOf(uid: string): Delivery {
    return this.open.get(uid) ?? this.closed.get(uid) ?? this.unknown.get(uid) ?? new Delivery(uid);
  }

  private pollTaskFor(delivery: Delivery): DeliveryPoll {
    this.remember(delivery);
    return (delivery.pollTask ??= new DeliveryPoll(delivery));
  }

  private apply(delivery: Delivery, report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): void {
    const { uid, final, pollTask } = delivery;
    const ends = isFinal(report.status);
    this.remember(delivery);
    // An answer confirms, unless a callback arrived after the request. A second final status needs a final answer.
    if (pollTask && confirmed && !pollTask.isUrgent && (ends || !final)) pollTask.needsConfirmation = false;
    const transition = applyReport(delivery, report, source, confirmed);
    if (transition.kind === 'needsConfirmation' && delivery.isKnown) {
      delivery.corrected = false;
      const task = this.pollTaskFor(delivery);
      task.needsConfirmation = true;
      return this.scheduler.scheduleUrgent(task);
    }
    if (transition.kind !== 'changed') return this.host.logger.debug(ignoredDuplicate(uid, report, source));
    const { last, seenStatuses, corrected } = transition.state;
    // Assigned field by field, which guards the memory bar of tracking: a new object for each status would cost more.
    delivery.last = last;
    delivery.seenStatuses = seenStatuses;
    delivery.corrected = corrected;
    if (ends) {
      this.open.delete(uid);
      this.overdue.remove(uid);
      this.remember(delivery);
      this.unschedule(delivery);
    }
    void this.host.emit.status(this.event(delivery, last));
  }

  /** Makes an untracked message the newest one of its map, and evicts the oldest ones. */
  private remember(delivery: Delivery): void {
    const { uid, isKnown } = delivery;
    if (this.open.has(uid)) return;
    const map = isKnown ? this.closed : this.unknown;
    const limit = isKnown ? this.options.remember : Math.min(MAX_UNKNOWN_UIDS, this.options.remember);
    map.delete(uid);
    map.set(uid, delivery);
    if (map.size <= limit * (isKnown ? EVICTION_SLACK : 1)) return;
    for (const oldest of map.values()) {
      if (map.size <= limit) break;
      map.delete(oldest.uid);
      this.overdue.remove(oldest.uid);
      // An evicted message is not polled either, else polls would pile up when callbacks arrive faster than the rate.
      if (oldest.pollTask) oldest.pollTask.needsConfirmation = false;
      this.unschedule(oldest);
    }
  }

  /** The time of a message has come: it is polled before the event, unless it waits for its turn too long. */
  private onOverdue(timer: OverdueTimer): void {
    const delivery = this.open.get(timer.key);
    if (!delivery || timer.isPolled || this.host.breaker.error) return this.announceOverdue(timer);
    timer.isPolled = true;
    this.overdue.set(timer, OVERDUE_POLL_MS);
    this.scheduler.scheduleNow(this.pollTaskFor(delivery));
  }

  private announceOverdue({ key: uid, id, afterMs }: OverdueTimer): void {
    this.overdue.remove(uid);
    const { ref, last } = this.deliveryOf(uid);
    void this.host.emit.overdue({ uid, id, ref, lastStatus: last?.status, overdueAfterMs: afterMs });
  }

  private enforceLimit(): void {
    const { limit } = this.options;
    if (this.open.size <= limit * EVICTION_SLACK) return;
    const over = this.open.size - limit;
    this.host.logger.warn(
      `Giving up on the ${over} oldest messages: more than ${limit} are tracked. Fix: raise tracking.limit`,
    );
    for (const delivery of this.open.values()) {
      if (this.open.size <= limit) break;
      this.overdue.remove(delivery.uid);
      this.giveUp(delivery);
    }
  }

  private giveUp(delivery: Delivery): void {
    const { uid, ref, pollTask } = delivery;
    if (pollTask) pollTask.needsConfirmation = false;
    this.unschedule(delivery);
    if (!this.open.delete(uid)) return;
    this.remember(delivery);
    void this.host.emit.unresolved(uid, { ref, lastStatus: delivery.last?.status });
  }

  /** Removes the poll, unless a confirmation is still needed. */
  private unschedule(delivery: Delivery): void {
    const { pollTask } = delivery;
    if (!pollTask) return;
    this.scheduler.remove(pollTask);
    if (!pollTask.polling && !pollTask.needsConfirmation) delivery.pollTask = undefined;
  }

  /** Makes one status request at a time for each uid. It resolves to its error, because a failed poll changes nothing. */
  private poll(task: DeliveryPoll): Promise<Error | undefined> {
    if (task.polling) return task.polling;
    const { delivery } = task;
    const source = task.isUrgent ? 'callback' : 'poll';
    this.scheduler.remove(task);
    task.polledAt = performance.now();
    const settle = (report?: SmsStatusReport, error?: Error) => {
      task.polling = undefined;
      if (error) this.host.logger.debug(`Status of ${redact(delivery.uid)}: ${error.message}`);
      if (this.stopped) return error;
      if (report) this.apply(delivery, report, source, true);
      this.reschedule(task, error);
      const overdue = this.overdue.get(delivery.uid);
      if (overdue?.isPolled) this.announceOverdue(overdue);
      return error;
    };
    task.polling = this.host.status(delivery.uid).then(settle, (error: Error) => settle(undefined, error));
    return task.polling;
  }

  /** Decides what follows a poll that did not end the tracking. */
  private reschedule(task: DeliveryPoll, error: Error | undefined): void {
    const { delivery } = task;
    if (!task.needsConfirmation && this.open.get(delivery.uid) !== delivery) return this.unschedule(delivery);
    const now = performance.now();
    const isMissing = error instanceof RtSmsNotFoundError;
    if (isMissing && !delivery.isKnown) {
      // A uid that only callbacks have named may be invented: it is polled once.
      task.needsConfirmation = false;
      return this.unschedule(delivery);
    }
    if (isMissing) task.missingSince ??= now;
    else if (!error) task.missingSince = undefined;
    const isLost = isMissing && this.schedule.isLost(task.missingSince, now);
    if (isLost || this.schedule.isOver(task.sentAt, task.polledAt)) {
      this.host.logger.warn(gaveUp(delivery.uid, isLost ? 'not-found' : this.options.maxAgeMs));
      this.giveUp(delivery);
    } else if (task.isUrgent) this.scheduler.scheduleUrgent(task);
    else this.scheduler.schedule(task, this.schedule.next(task.sentAt, task.step, now));
  }
}
