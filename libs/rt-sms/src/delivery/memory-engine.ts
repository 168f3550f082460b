import { createHmac, randomBytes } from 'node:crypto';
import type { RateTicket } from '../gateway/calls.js';
import { defined } from '../defined.js';
import { backoffMs } from '../gateway/retry.js';
import { RtSmsAuthError, RtSmsOverloadedError, RtSmsValidationError, type RtSmsError } from '../rt-sms.errors.js';
import { MAX_TIMER_MS } from '../options/option-rules.js';
import {
  idTaken,
  SMS_PRIORITIES,
  type EngineHost,
  type EngineItem,
  type QueuedSmsState,
  type SmsEngine,
} from './engine.js';
import { Heap, type HeapItem } from './heap.js';

/** Messages that are being sent at once. */
const CONCURRENCY = 10;
/** How often a message that provably was not sent is tried again before it is refused; a day, at the last pause. */
const MAX_ATTEMPTS = 1_440;
const LAST_PAUSE_MS = 60_000;
/** Ids that are remembered after their message settled; what is over it goes in one sweep, as each costs the same. */
const REMEMBER = 100_000;
const SLACK = 1.01;

/** One id: its message while it waits, what became of it afterwards. */
class Entry implements HeapItem {
  place = -1;
  state: QueuedSmsState['state'] = 'queued';
  sending = false;
  attempts = 0;
  /** Gone with the settlement: neither text nor number is kept. */
  item: EngineItem | undefined;
  uid: string | undefined;
  errorCode: string | undefined;
  settledAt = Infinity;
  /** Until it may be sent, or must not be any more. */
  timer: NodeJS.Timeout | undefined;
  readonly id: string;
  readonly ref: string | undefined;
  readonly expiresAt: number;
  /** By `performance.now()`: the clock of the day may be set back. */
  notBefore: number;

  constructor(
    item: EngineItem,
    /** The urgent come first, then those that came first. */
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

/** Queues in the memory of this process, and is gone with it. For development and small services. */
export class MemoryEngine implements SmsEngine {
  private readonly queued = new Map<string, Entry>();
  /** The one that settled first goes first. */
  private readonly settled = new Map<string, Entry>();
  private readonly ready = new Heap<Entry>((a, b) => a.order < b.order);
  /** A fresh key: the digest that tells two messages apart says nothing of them outside of this process. */
  private readonly key = randomBytes(32);
  private taken = 0;
  private pumping = false;
  private leaveSlot: (() => void) | undefined;
  private started = false;
  private stopped = false;
  private readonly running = new Set<Promise<void>>();

  constructor(private readonly host: EngineHost) {
    host.gate.onOpen(() => void this.pump());
  }

  async enqueue(items: EngineItem[]): Promise<void> {
    const { account, engineLimit } = this.host.options;
    const fresh = new Map<string, Entry>();
    const problems: string[] = [];
    for (const item of items) {
      const digest = createHmac('sha256', this.key)
        .update(JSON.stringify([item.msisdn, item.shortcode, item.text]))
        .digest('base64');
      const known = this.known(item.id) ?? fresh.get(item.id);
      const order = SMS_PRIORITIES.indexOf(item.priority) * 2 ** 50 + this.taken++;
      if (!known) fresh.set(item.id, new Entry(item, order, digest));
      else if (known.digest !== digest) problems.push(idTaken(item.id));
    }
    if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
    if (this.stopped) throw new RtSmsOverloadedError('Nothing was queued: the application is ending', { account });
    if (this.queued.size + fresh.size > engineLimit) {
      const room = Math.max(0, engineLimit - this.queued.size);
      throw new RtSmsOverloadedError(
        `Nothing was queued: there is room for ${room} of ${fresh.size} messages (engineLimit ${engineLimit})`,
        { account },
      );
    }
    for (const entry of fresh.values()) {
      this.queued.set(entry.id, entry);
      this.arrange(entry);
    }
    void this.pump();
  }

  waiting(): number {
    return this.queued.size;
  }

  async find(id: string): Promise<QueuedSmsState | undefined> {
    const entry = this.known(id);
    if (!entry) return undefined;
    const { state, uid, ref, errorCode } = entry;
    return defined({ id, state, uid, ref, errorCode });
  }

  async cancel(id: string): Promise<boolean> {
    const entry = this.known(id);
    if (!entry) return false;
    if (entry.state === 'queued' && !entry.sending) this.settle(entry, 'cancelled');
    return entry.state === 'cancelled';
  }

  start(): void {
    this.started = true;
    void this.pump();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.leaveSlot?.();
    // Not for long: the gateway ends its calls.
    await Promise.allSettled(this.running);
    const { account } = this.host.options;
    const why = 'It was not sent: the application ended, and its queue is in memory';
    const unsent = this.queued.size;
    for (const entry of this.queued.values()) {
      this.settle(entry, 'refused', new RtSmsOverloadedError(why, { account }));
    }
    if (unsent > 0)
      this.host.logger.warn(
        `Refused ${unsent} queued message${unsent === 1 ? '' : 's'} at shutdown: the queue is in memory, and what was left in it was not sent. ` +
          'A durable engine (nestjs-rt-sms-bullmq) keeps queued messages',
      );
  }

  /** Puts an entry where it belongs by now, and again when that changes. */
  private arrange(entry: Entry): void {
    const waitMs = entry.notBefore - performance.now();
    const leftMs = entry.expiresAt - Date.now();
    if (leftMs <= 0) return this.settle(entry, 'expired');
    if (waitMs <= 0) this.ready.put(entry);
    const changesInMs = waitMs > 0 ? Math.min(waitMs, leftMs) : leftMs;
    if (changesInMs === Infinity) return;
    const changed = () => {
      this.arrange(entry);
      void this.pump();
    };
    entry.timer = setTimeout(changed, Math.min(Math.ceil(changesInMs), MAX_TIMER_MS)).unref();
  }

  private get mayBegin(): boolean {
    return (
      this.started && !this.stopped && !this.host.gate.error && this.running.size < CONCURRENCY && this.ready.size > 0
    );
  }

  /** Begins what may begin, one slot of the rate at a time, so that the most urgent message takes it. */
  private async pump(): Promise<void> {
    if (this.pumping) return;
    this.pumping = true;
    while (this.mayBegin) {
      const slot = new Promise<RateTicket | undefined>((go) => (this.leaveSlot = this.host.slot(go)));
      const ticket = await slot;
      if (this.mayBegin) this.begin(this.ready.first!, ticket);
      else ticket?.giveBack();
    }
    this.pumping = false;
  }

  private begin(entry: Entry, ticket: RateTicket | undefined): void {
    this.ready.remove(entry);
    clearTimeout(entry.timer);
    entry.sending = true;
    const work = this.host
      .job(() => this.host.during(() => this.attempt(entry, entry.item!, ticket)))
      .finally(() => {
        this.running.delete(work);
        void this.pump();
      });
    this.running.add(work);
  }

  private async attempt(entry: Entry, item: EngineItem, ticket: RateTicket | undefined): Promise<void> {
    entry.attempts++;
    try {
      ({ uid: entry.uid } = await this.host.send(item, { ticket, startBefore: item.expiresAt }));
    } catch (error) {
      return this.failed(entry, error as RtSmsError);
    }
    this.settle(entry, 'accepted');
    this.host.follow(entry.uid, entry.ref);
  }

  private failed(entry: Entry, error: RtSmsError): void {
    entry.sending = false;
    if (error.outcome === 'unknown') return this.settle(entry, 'unknown', error);
    // The gate holds it until the gateway takes this process again; anything else gets a pause that grows.
    if (error instanceof RtSmsAuthError) entry.notBefore = 0;
    else if (error.retryable && entry.attempts < MAX_ATTEMPTS)
      entry.notBefore = performance.now() + 100 + backoffMs(entry.attempts, 500, LAST_PAUSE_MS);
    else if (!error.retryable || entry.expiresAt > Date.now()) return this.settle(entry, 'refused', error);
    this.arrange(entry);
  }

  /** The one way out: each id passes here exactly once. */
  private settle(entry: Entry, state: Exclude<QueuedSmsState['state'], 'queued'>, error?: RtSmsError): void {
    const { id, ref } = entry;
    this.ready.remove(entry);
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

  private known(id: string): Entry | undefined {
    const entry = this.queued.get(id) ?? this.settled.get(id);
    if (!entry || entry.settledAt > performance.now() - this.host.options.idempotencyMs) return entry;
    this.settled.delete(id);
    return undefined;
  }

  /** Lets go of the ids that settled first, beyond as many as are remembered. */
  private forget(): void {
    if (this.settled.size <= REMEMBER * SLACK) return;
    for (const id of this.settled.keys()) {
      if (this.settled.size <= REMEMBER) break;
      this.settled.delete(id);
    }
  }
}
