import { hash, randomBytes } from 'node:crypto';
import { Generations } from './generations.js';
import {
  roundedTo,
  type LimitCharge,
  type LimitCounter,
  type LimitRefusal,
  type LimitResult,
  type LimitStore,
} from './limit-store.js';

/** Number of counters, and of charges, that are kept at least; at most twice as many are kept. */
const MAX_KEPT = 100_000;

/**
 * Units of one sliding window. It keeps no objects, because there is one for each recipient, and nothing that names the
 * recipient.
 */
class Window {
  /** Times of `performance.now()`, each followed by its units, the oldest first. */
  private readonly times: number[] = [];
  private head = 0;
  private sum = 0;
  private readonly perMs: number;
  private readonly stepMs: number;

  constructor(limit: Pick<LimitCounter, 'max' | 'perMs'>) {
    this.perMs = limit.perMs;
    this.stepMs = roundedTo(limit);
  }

  get endsAt(): number {
    return (this.times.at(-2) ?? -Infinity) + this.perMs;
  }

  /** Milliseconds until `units` more fit; 0 if they fit now, Infinity if they never do. */
  waitMs(units: number, max: number, now: number): number {
    const { times, perMs } = this;
    for (; this.head < times.length && times[this.head]! + perMs <= now; this.head += 2)
      this.sum -= times[this.head + 1]!;
    if (this.head > 128 && this.head * 2 > times.length) {
      times.splice(0, this.head);
      this.head = 0;
    }
    let tooMany = this.sum + units - max;
    if (tooMany <= 0) return 0;
    if (units > max) return Infinity;
    for (let n = this.head; ; n += 2) if ((tooMany -= times[n + 1]!) <= 0) return Math.ceil(times[n]! + perMs - now);
  }

  /** Counts units. Returns the time at which they are counted. */
  add(units: number, now: number): number {
    const { times } = this;
    const at = this.stepMs > 0 ? (Math.floor(now / this.stepMs) + 1) * this.stepMs : now;
    this.sum += units;
    const last = times.length - 2;
    if (last >= this.head && times[last]! >= at) {
      times[last + 1]! += units;
      return times[last]!;
    }
    times.push(at, units);
    return at;
  }

  remove(at: number, units: number): void {
    // Those that have left the window are not in the sum any more.
    for (let n = this.times.length - 2; n >= this.head; n -= 2)
      if (this.times[n] === at) {
        this.sum -= units;
        if ((this.times[n + 1]! -= units) === 0) this.times.splice(n, 2);
        return;
      }
  }
}

interface Charge {
  at: number;
  endsAt: number;
  parts: { window: Window; at: number; units: number }[];
}

/** Counters of the send policy in the memory of this process. */
export class MemoryLimits implements LimitStore {
  private readonly key = randomBytes(32).toString('base64url');
  private readonly windows = new Generations<Window>(MAX_KEPT);
  private readonly charges = new Generations<Charge>(MAX_KEPT);
  private longestMs = 0;

  /** @param idempotencyMs time for which an id of the caller means the same message */
  constructor(private readonly idempotencyMs = Infinity) {}

  take(charges: readonly LimitCharge[]): LimitResult {
    const now = performance.now();
    const fresh = new Map<string, LimitCharge>();
    for (const charge of charges) {
      const known = this.charges.get(charge.id);
      const isFree =
        !known || known.endsAt <= now || (charge.queueId !== undefined && known.at + this.idempotencyMs < now);
      if (isFree) fresh.set(charge.id, charge);
    }
    const needs = new Map<string, { counter: LimitCounter; units: number; window: Window }>();
    const hashes = new Map<string, string>();
    const keyed = [...fresh.values()].map(({ id, counters }) => ({
      id,
      parts: counters.map((counter) => {
        const key = this.keyOf(counter, hashes);
        const window = needs.get(key)?.window ?? this.windows.get(key) ?? new Window(counter);
        needs.set(key, { counter, window, units: (needs.get(key)?.units ?? 0) + counter.cost });
        return { window, units: counter.cost };
      }),
    }));
    let longest: { waitMs: number; counter: LimitCounter } | undefined;
    for (const { counter, units, window } of needs.values()) {
      const waitMs = window.waitMs(units, counter.max, now);
      if (waitMs > (longest?.waitMs ?? 0)) longest = { waitMs, counter };
    }
    if (longest) return { refusal: refusalOf(longest.counter, longest.waitMs) };
    for (const [key, { window, counter }] of needs) {
      this.windows.set(key, window);
      if (counter.perMs > this.longestMs) this.longestMs = counter.perMs;
    }
    for (const { id, parts } of keyed) {
      const counted = parts.map((part) => ({ ...part, at: part.window.add(part.units, now) }));
      const endsAt = Math.max(...parts.map(({ window }) => window.endsAt));
      this.charges.set(id, { at: now, endsAt, parts: counted });
    }
    this.forgetOld(now);
    return { taken: keyed.map(({ id }) => id) };
  }

  async giveBack(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      for (const { window, at, units } of this.charges.get(id)?.parts ?? []) window.remove(at, units);
      this.charges.delete(id);
    }
  }

  settle(ids: readonly string[]): void {
    for (const id of ids) this.charges.delete(id);
  }

  private keyOf({ rule, subject, perMs }: LimitCounter, hashes: Map<string, string>): string {
    if (subject === '') return `${rule}:${perMs}`;
    let hashed = hashes.get(subject);
    if (hashed === undefined)
      hashes.set(subject, (hashed = hash('sha256', `${this.key}${subject}`, 'base64url').slice(0, 22)));
    return `${rule}:${perMs}:${hashed}`;
  }

  /** Forgets what was not used for the longest window, and so has ended. */
  private forgetOld(now: number): void {
    // A rounded time ends up to a thousandth later.
    const unusedMs = this.longestMs * 1.01;
    this.windows.forgetUnused(unusedMs, now);
    this.charges.forgetUnused(unusedMs, now);
  }
}

/** The refusal of a limit that is free in `waitMs`. */
export const refusalOf = ({ rule, max, perMs }: Omit<LimitRefusal, 'retryAfterMs'>, waitMs: number): LimitRefusal => ({
  rule,
  max,
  perMs,
  ...(Number.isFinite(waitMs) ? { retryAfterMs: waitMs } : {}),
});
