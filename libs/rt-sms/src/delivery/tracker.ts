import type { Logger } from '@nestjs/common';
import { RtSmsStatusEvent } from '../events/events.js';
import type { CallOptions } from '../gateway/gateway.js';
import { SlidingRate } from '../gateway/rate.js';
import type { SmsStatusReport } from '../gateway/wire.js';
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
/** Distinct words kept of one message: a table of five, and some unknown ones. */
const MAX_WORDS = 16;

/** All that is known of one uid. */
class Delivery implements HeapItem {
  place = -1;
  dueAt = 0;
  step = 0;
  asking = false;
  /** The next answer is owed to a callback. */
  hinted = false;
  /** A hint came while a request was on its way, whose answer may be older than it. */
  again = false;
  askedAt = -Infinity;
  missingSince: number | undefined;
  /** The words that were emitted. */
  words: string[] | undefined;
  lastStatus: SmsStatus | undefined;
  final: RtSmsStatusEvent | undefined;
  corrected = false;
  /** Two final statuses contradict each other, and the gateway has not said yet which one holds. */
  doubted = false;

  constructor(
    readonly uid: string,
    readonly ref: string | undefined,
    readonly sentAt: number,
  ) {}
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
  /** Not final yet, oldest first. */
  private readonly open = new Map<string, Delivery>();
  /** Final, or heard of without being followed; the oldest goes first. */
  private readonly closed = new Map<string, Delivery>();
  private readonly due = new Heap<Delivery>((a, b) => a.dueAt < b.dueAt);
  private readonly waiters = new Map<string, Set<Waiter>>();
  private readonly rate: SlidingRate;
  private readonly parallel: number;
  private readonly polling: Exclude<ResolvedOptions['tracking'], false> | undefined;
  private readonly remember: number;
  private readonly schedules: readonly number[];
  private readonly maxAgeMs: number;
  private readonly logger: Logger;
  private asked = 0;
  private timer: NodeJS.Timeout | undefined;
  private started = false;
  private stopped = false;
  /** For metrics and health. */
  readonly counts = { repeated: 0, lost: 0, unresolved: 0, polls: 0 };

  constructor(private readonly host: TrackerHost) {
    const { tracking, connections } = host.options;
    this.polling = tracking || undefined;
    this.remember = this.polling?.remember ?? 100_000;
    this.schedules = this.polling?.schedule ?? [60_000];
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
      for await (const uid of await this.polling.open()) {
        if (this.stopped) return;
        const { uid: id, sentAt, ref } = typeof uid === 'string' ? { uid, sentAt: undefined, ref: undefined } : uid;
        const known = readUid(id);
        if (known) this.follow(known, { sentAt, ref });
        else this.logger.warn(`tracking.open returned something that is no uid: ${redact(String(id))}`);
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
    const context = this.context('the application ended');
    for (const [uid, waiters] of this.waiters) {
      for (const { reject } of waiters)
        reject(
          new RtSmsAbortedError(
            `The wait for the final status of ${uid} was ended by the application's end`,
            'not_sent',
            context,
          ),
        );
    }
    this.waiters.clear();
  }

  follow(uid: string, { ref, sentAt }: { ref?: string | undefined; sentAt?: Date | undefined } = {}): void {
    if (!this.polling || this.stopped || this.open.has(uid)) return;
    const known = this.closed.get(uid);
    if (known?.final) return;
    const now = Date.now();
    const delivery = new Delivery(uid, ref ?? known?.ref, Math.min(now, sentAt?.getTime() || now));
    delivery.words = known?.words;
    delivery.lastStatus = known?.lastStatus;
    this.closed.delete(uid);
    this.open.set(uid, delivery);
    // One that is taken up again goes on where its age has brought it, not at the first step.
    for (let age = now - delivery.sentAt; delivery.step < this.schedules.length - 1; delivery.step++) {
      age -= this.schedules[delivery.step]!;
      if (age <= 0) break;
    }
    this.schedule(delivery);
    if (this.open.size > this.polling.limit) {
      const [oldest] = this.open.values();
      this.giveUp(oldest!, `more than ${this.polling.limit} messages are followed (tracking.limit)`);
    }
  }

  observe(report: DeliveryReport, source: 'callback' | 'poll', confirmed: boolean): void {
    if (this.stopped) return;
    const { uid, status } = report;
    const delivery = this.open.get(uid) ?? this.closed.get(uid) ?? new Delivery(uid, undefined, Date.now());
    if (!this.open.has(uid)) this.keep(delivery);
    const word = status === 'unknown' ? `unknown:${report.gatewayStatus}` : status;
    const { final } = delivery;
    const contradicts = final !== undefined && isFinal(status) && final.status !== status;
    if (contradicts && !delivery.corrected) {
      if (confirmed) {
        delivery.corrected = true;
        this.settle(delivery, this.event(delivery, report, source, true, final.status));
      } else {
        delivery.doubted = true;
        delivery.step = 0;
        delivery.dueAt = Date.now();
        this.due.put(delivery);
        this.pump();
      }
      return;
    }
    if (final !== undefined || delivery.words?.includes(word) || (delivery.words?.length ?? 0) >= MAX_WORDS) {
      this.counts.repeated++;
      this.logger.debug(`Nothing new: ${uid} is ${redact(word)} by ${source}`);
      return;
    }
    (delivery.words ??= []).push(word);
    delivery.lastStatus = status;
    const event = this.event(delivery, report, source, confirmed);
    if (event.final) this.settle(delivery, event);
    else void this.host.emit.status(event);
  }

  hint(uid: string, ask: boolean): void {
    if (this.stopped) return;
    const delivery = this.open.get(uid);
    if (!delivery) {
      if (!ask) return;
      const known = this.closed.get(uid) ?? new Delivery(uid, undefined, Date.now());
      this.keep(known);
      void this.ask(known, 'callback');
      return;
    }
    delivery.hinted = true;
    if (delivery.asking) {
      delivery.again = true;
      return;
    }
    delivery.dueAt = Math.min(delivery.dueAt, Math.max(Date.now(), delivery.askedAt + HINT_PAUSE_MS));
    this.due.put(delivery);
    this.pump();
  }

  waitForFinal(uid: string, { timeoutMs, signal }: CallOptions): Promise<RtSmsStatusEvent> {
    const known = this.closed.get(uid)?.final;
    if (known) return Promise.resolve(known);
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
      const delivery = this.open.get(uid) ?? this.closed.get(uid) ?? new Delivery(uid, undefined, Date.now());
      if (!this.open.has(uid)) this.keep(delivery);
      void this.ask(delivery, 'poll').then((error) => (lastError = error));
    });
  }

  private context(cause?: unknown, durationMs = 0): RtSmsErrorContext {
    const safe = cause instanceof Error ? { cause } : {};
    return { operation: 'wait', account: this.host.options.account, durationMs, ...safe };
  }

  private event(
    delivery: Delivery,
    report: DeliveryReport,
    source: 'callback' | 'poll',
    confirmed: boolean,
    corrects?: SmsStatus,
  ): RtSmsStatusEvent {
    const { uid, status, gatewayStatus, parts, errorCode } = report;
    return new RtSmsStatusEvent({
      account: this.host.options.account,
      uid,
      ...(delivery.ref === undefined ? {} : { ref: delivery.ref }),
      status,
      gatewayStatus,
      final: isFinal(status),
      ...(parts === undefined ? {} : { parts }),
      ...(errorCode === undefined ? {} : { errorCode }),
      source,
      confirmed,
      ...(corrects === undefined ? {} : { corrects }),
      receivedAt: new Date(),
    });
  }

  private settle(delivery: Delivery, event: RtSmsStatusEvent): void {
    delivery.final = event;
    delivery.lastStatus = event.status;
    this.due.remove(delivery);
    this.open.delete(delivery.uid);
    this.keep(delivery);
    if (event.source === 'poll') this.counts.lost++;
    void this.host.emit.status(event);
    for (const waiter of this.waiters.get(delivery.uid) ?? []) waiter.resolve(event);
  }

  /** Remembers it as the newest of those that are not followed. */
  private keep(delivery: Delivery): void {
    this.closed.delete(delivery.uid);
    this.closed.set(delivery.uid, delivery);
    while (this.closed.size > this.remember) {
      const [oldest] = this.closed.keys();
      this.closed.delete(oldest!);
    }
  }

  private giveUp(delivery: Delivery, why: string): void {
    const { uid, ref, lastStatus } = delivery;
    this.due.remove(delivery);
    delivery.doubted = false;
    if (delivery.final) return;
    this.open.delete(uid);
    this.keep(delivery);
    this.counts.unresolved++;
    this.logger.warn(`${uid} stays without a final status: ${why}`);
    void this.host.emit.unresolved(uid, { ref, lastStatus });
    const error = new RtSmsTimeoutError(`${uid} stays without a final status: ${why}`, 'not_sent', this.context());
    for (const waiter of this.waiters.get(uid) ?? []) waiter.reject(error);
  }

  private schedule(delivery: Delivery): void {
    const delayMs = this.schedules[Math.min(delivery.step, this.schedules.length - 1)]! * (1 + 0.2 * Math.random());
    // The last look is at the end of its time, not after it.
    delivery.dueAt = Math.min(Date.now() + delayMs, Math.max(Date.now(), delivery.sentAt + this.maxAgeMs));
    this.due.put(delivery);
    this.pump();
  }

  private wanted(delivery: Delivery): boolean {
    return delivery.doubted || this.open.get(delivery.uid) === delivery;
  }

  /** Asks for what is due, as many at once as may be, and sets the timer for the next. */
  private pump(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (!this.started || this.stopped || this.host.gate.error) return;
    while (this.asked < this.parallel) {
      const next = this.due.first;
      if (!next) return;
      const waitMs = next.dueAt - Date.now();
      if (waitMs > 0) {
        this.timer = setTimeout(() => this.pump(), Math.min(Math.ceil(waitMs), 2 ** 31 - 1));
        this.timer.unref();
        return;
      }
      this.due.remove(next);
      this.asked++;
      void this.poll(next).finally(() => {
        this.asked--;
        this.pump();
      });
    }
  }

  private async poll(delivery: Delivery): Promise<void> {
    const { maxAgeMs } = this;
    const overdue = Date.now() >= delivery.sentAt + maxAgeMs;
    await new Promise<void>((resolve) => this.rate.wait(resolve));
    if (this.stopped || !this.wanted(delivery)) return;
    const source = delivery.hinted ? 'callback' : 'poll';
    delivery.hinted = false;
    const error = await this.ask(delivery, source);
    // Settled meanwhile, by the answer or by a callback.
    if (!error) delivery.doubted = false;
    if (this.stopped || !this.wanted(delivery)) return;
    const now = Date.now();
    if (error instanceof RtSmsNotFoundError) {
      delivery.missingSince ??= now;
      // In proportion, where the whole time is short.
      if (now - delivery.missingSince >= Math.min(NOT_FOUND_GRACE_MS, maxAgeMs / 10)) {
        return this.giveUp(delivery, 'the gateway does not know it (transaction_not_found)');
      }
    } else if (!error) {
      delivery.missingSince = undefined;
    }
    if (overdue) return this.giveUp(delivery, `none came within ${maxAgeMs} ms (tracking.maxAgeMs)`);
    if (source === 'poll') delivery.step++;
    this.schedule(delivery);
    if (delivery.again) {
      delivery.again = false;
      this.hint(delivery.uid, false);
    }
  }

  /** One status request at a time for each uid. Its error comes back as a value: a failed look ends nothing. */
  private async ask(delivery: Delivery, source: 'callback' | 'poll'): Promise<unknown> {
    if (delivery.asking) return undefined;
    delivery.asking = true;
    delivery.askedAt = Date.now();
    this.counts.polls++;
    let report: SmsStatusReport;
    try {
      report = await this.host.status(delivery.uid);
    } catch (error) {
      this.logger.debug(`Status of ${delivery.uid}: ${(error as Error).message}`);
      return error;
    } finally {
      delivery.asking = false;
    }
    this.observe(report, source, true);
    return undefined;
  }
}
