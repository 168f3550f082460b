import { createHmac, randomBytes } from 'node:crypto';
import type { RatePermit } from '../gateway/call-options.js';
import { defined } from '../defined.js';
import { RtSmsOverloadedError, RtSmsValidationError, type RtSmsError } from '../rt-sms.errors.js';
import { MAX_TIMER_MS } from '../options/option-rules.js';
import {
  idTaken,
  SMS_PRIORITIES,
  type EngineHost,
  type EngineItem,
  type QueuedSmsState,
  type SmsEngine,
} from './engine.js';
import { IndexedHeap, type HeapItem } from './indexed-heap.js';
import { OVERDUE_RECHECK_MS, OverdueTimers, type OverdueTimer } from './overdue-timers.js';
import { afterFailedSend, queueBackoffMs } from './queue-retry.js';

/** Sends in flight at once. */
const CONCURRENCY = 10;
/** Ids remembered after their messages have settled. They are evicted in batches, because one sweep costs the same. */
const REMEMBER = 100_000;
const EVICTION_SLACK = 1.01;

/** One id: its message while it is queued, its outcome afterwards. */
class Entry implements HeapItem {
  index = -1;
  state: QueuedSmsState['state'] = 'queued';
  sending = false;
  attempts = 0;
  /** Cleared at settlement, because it holds text and number. */
  item: EngineItem | undefined;
  uid: string | undefined;
  errorCode: string | undefined;
  settledAt = Infinity;
  /** Fires when the message may be sent or has expired. */
  timer: NodeJS.Timeout | undefined;
  readonly id: string;
  readonly ref: string | undefined;
  readonly expiresAt: number;
  /** Time of `performance.now()`, because the system clock may be set back. */
  notBefore: number;

  constructor(
    item: EngineItem,
    /** Sort key: priority first, then order of arrival. */
    readonly order: number,
    readonly digest: string,
  ) {
    this.item = item;
    this.id = item.id;
    this.ref = item.ref;
    this.expiresAt = item.expiresAt ?? Infinity;
    this.notBefore = performance.now() + item.notBefore - Date.now();
  }
}

/** Engine in the memory of this process. Its queue is lost with the process. For development and small services. */
export class MemoryEngine implements SmsEngine {
  private readonly queued = new Map<string, Entry>();
  /** Settled entries, the oldest first. */
  private readonly settled = new Map<string, Entry>();
  private readonly ready = new IndexedHeap<Entry>((a, b) => a.order < b.order);
  /** Random key, so that the digest of a message is useless outside this process. */
  private readonly key = randomBytes(32);
  private taken = 0;
  private pumping = false;
  private cancelPermitWait: (() => void) | undefined;
  private started = false;
  private stopped = false;
  private readonly running = new Set<Promise<void>>();
  /** Of queued messages. */
  private readonly overdue = new OverdueTimers((timer) => this.onOverdue(timer));

  constructor(private readonly host: EngineHost) {
    host.breaker.onRestored(() => void this.pump());
  }

  async enqueue(items: EngineItem[]): Promise<void> {
    const { account, engineLimit } = this.host.options;
    const fresh = new Map<string, Entry>();
    const problems: string[] = [];
    for (const item of items) {
      const digest = createHmac('sha256', this.key)
        .update(JSON.stringify([item.msisdn, item.shortcode, item.text]))
        .digest('base64');
      const known = this.entryOf(item.id) ?? fresh.get(item.id);
      const order = SMS_PRIORITIES.indexOf(item.priority) * 2 ** 50 + this.taken++;
      if (!known) fresh.set(item.id, new Entry(item, order, digest));
      else if (known.digest !== digest) problems.push(idTaken(item.id));
    }
    if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
    if (this.stopped)
      throw new RtSmsOverloadedError('Nothing was queued: the application is shutting down', { account });
    if (this.queued.size + fresh.size > engineLimit) {
      const room = Math.max(0, engineLimit - this.queued.size);
      throw new RtSmsOverloadedError(
        `Nothing was queued: there is room for ${room} of ${fresh.size} messages (engineLimit ${engineLimit})`,
        { account },
      );
    }
    for (const entry of fresh.values()) {
      this.queued.set(entry.id, entry);
      const { overdueAfterMs: afterMs } = entry.item!;
      const inMs = entry.notBefore + (afterMs ?? 0) - performance.now();
      if (afterMs) this.overdue.add(entry.id, { afterMs, inMs, id: entry.id });
      this.place(entry);
    }
    void this.pump();
  }

  waiting(): number {
    return this.queued.size;
  }

  async find(id: string): Promise<QueuedSmsState | undefined> {
    const entry = this.entryOf(id);
    if (!entry) return undefined;
    const { state, uid, ref, errorCode } = entry;
    return defined({ id, state, uid, ref, errorCode });
  }

  async cancel(id: string): Promise<boolean> {
    const entry = this.entryOf(id);
    if (!entry) return false;
    if (entry.state === 'queued' && !entry.sending) this.settle(entry, 'cancelled');
    return entry.state === 'cancelled';
  }

  start(): void {
    this.started = true;
    this.overdue.start();
    void this.pump();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.overdue.stop();
    this.cancelPermitWait?.();
    // This is short, because the gateway client stops its calls during shutdown.
    await Promise.allSettled(this.running);
    const { account } = this.host.options;
    const why = 'Nothing was sent: the application is shutting down, and its queue is in memory';
    const unsent = this.queued.size;
    for (const entry of this.queued.values()) {
      this.settle(entry, 'refused', new RtSmsOverloadedError(why, { account }));
    }
    if (unsent > 0)
      this.host.logger.warn(
        `Refused ${unsent} queued message${unsent === 1 ? '' : 's'} during shutdown, because the queue is in memory. ` +
          'Fix: use a durable engine (nestjs-rt-sms-bullmq), which keeps queued messages',
      );
  }

  /** Queues, delays or expires an entry, and does so again when its time has come. */
  private place(entry: Entry): void {
    const waitMs = entry.notBefore - performance.now();
    const leftMs = entry.expiresAt - Date.now();
    if (leftMs <= 0) return this.settle(entry, 'expired');
    if (waitMs <= 0) this.ready.put(entry);
    const changesInMs = waitMs > 0 ? Math.min(waitMs, leftMs) : leftMs;
    if (changesInMs === Infinity) return;
    const changed = () => {
      this.place(entry);
      void this.pump();
    };
    entry.timer = setTimeout(changed, Math.min(Math.ceil(changesInMs), MAX_TIMER_MS)).unref();
  }

  private get canBegin(): boolean {
    return (
      this.started &&
      !this.stopped &&
      !this.host.breaker.error &&
      this.running.size < CONCURRENCY &&
      this.ready.size > 0
    );
  }

  /** Starts sends, one permit at a time, so that the most urgent message gets the next permit. */
  private async pump(): Promise<void> {
    if (this.pumping) return;
    this.pumping = true;
    while (this.canBegin) {
      const acquired = new Promise<RatePermit | undefined>(
        (go) => (this.cancelPermitWait = this.host.acquirePermit(go)),
      );
      const permit = await acquired;
      if (this.canBegin) this.begin(this.ready.first!, permit);
      else permit?.release();
    }
    this.pumping = false;
  }

  private begin(entry: Entry, permit: RatePermit | undefined): void {
    this.ready.remove(entry);
    clearTimeout(entry.timer);
    entry.sending = true;
    const work = this.host
      .traceJob(() => this.host.trackSend(() => this.attempt(entry, entry.item!, permit)))
      .finally(() => {
        this.running.delete(work);
        void this.pump();
      });
    this.running.add(work);
  }

  private async attempt(entry: Entry, item: EngineItem, permit: RatePermit | undefined): Promise<void> {
    entry.attempts++;
    try {
      ({ uid: entry.uid } = await this.host.send(item, { permit, startBefore: item.expiresAt }));
    } catch (error) {
      return this.failed(entry, error as RtSmsError);
    }
    const timer = this.overdue.get(entry.id);
    this.settle(entry, 'accepted');
    this.host.follow(entry.uid, entry.ref, timer && timer.left);
  }

  private onOverdue(timer: OverdueTimer): void {
    const { sending, id, ref } = this.queued.get(timer.key)!;
    if (sending) return this.overdue.set(timer, OVERDUE_RECHECK_MS);
    this.overdue.remove(id);
    void this.host.emit.overdue({ id, ref, overdueAfterMs: timer.afterMs });
  }

  private failed(entry: Entry, error: RtSmsError): void {
    entry.sending = false;
    const next = afterFailedSend(error, entry.attempts, entry.expiresAt <= Date.now());
    if (next === 'unknown' || next === 'refused') return this.settle(entry, next, error);
    if (next === 'expired') return this.settle(entry, next);
    // The circuit breaker holds the queue, so a held message needs no back-off.
    entry.notBefore = next === 'hold' ? 0 : performance.now() + queueBackoffMs(entry.attempts);
    this.place(entry);
  }

  /** Settles an id. Called exactly once for each. */
  private settle(entry: Entry, state: Exclude<QueuedSmsState['state'], 'queued'>, error?: RtSmsError): void {
    const { id, ref } = entry;
    this.ready.remove(entry);
    this.overdue.remove(id);
    clearTimeout(entry.timer);
    this.queued.delete(id);
    this.settled.set(id, entry);
    entry.item = undefined;
    entry.state = state;
    entry.errorCode = error?.code;
    entry.settledAt = performance.now();
    this.forget();
    const { emit } = this.host;
    if (state === 'accepted') void emit.accepted(id, entry.uid!, ref);
    else if (state === 'refused') void emit.refused(id, error!, ref);
    else if (state === 'unknown') void emit.outcomeUnknown(id, error!, ref);
    else if (state === 'expired') void emit.expired(id, ref);
    else void emit.cancelled(id, ref);
  }

  private entryOf(id: string): Entry | undefined {
    const entry = this.queued.get(id) ?? this.settled.get(id);
    if (!entry || entry.settledAt > performance.now() - this.host.options.idempotencyMs) return entry;
    this.settled.delete(id);
    return undefined;
  }

  /** Evicts the ids that settled first. */
  private forget(): void {
    if (this.settled.size <= REMEMBER * EVICTION_SLACK) return;
    for (const id of this.settled.keys()) {
      if (this.settled.size <= REMEMBER) break;
      this.settled.delete(id);
    }
  }
}
