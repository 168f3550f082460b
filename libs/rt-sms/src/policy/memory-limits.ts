import { createHmac, randomBytes } from 'node:crypto';
import {
  roundedTo,
  type LimitCharge,
  type LimitCounter,
  type LimitRefusal,
  type LimitResult,
  type LimitStore,
} from './limit-store.js';

/** Counters and charges kept at most. Beyond it those that were used least recently are dropped. */
const MAX_KEPT = 100_000;

interface Units {
  /** Time of `performance.now()` from which they are counted for the length of the window. */
  at: number;
  units: number;
}

/** Units of one sliding window, the oldest first. */
class Window {
  private readonly times: Units[] = [];
  private head = 0;
  private sum = 0;
  private readonly stepMs: number;

  constructor(private readonly limit: Pick<LimitCounter, 'max' | 'perMs'>) {
    this.stepMs = roundedTo(limit);
  }

  get endsAt(): number {
    return (this.times.at(-1)?.at ?? -Infinity) + this.limit.perMs;
  }

  /** Milliseconds until `units` more fit; 0 if they fit now, Infinity if they never do. */
  waitMs(units: number, max: number, now: number): number {
    const { perMs } = this.limit;
    while (this.head < this.times.length && this.times[this.head]!.at + perMs <= now)
      this.sum -= this.times[this.head++]!.units;
    if (this.head > 64 && this.head * 2 > this.times.length) {
      this.times.splice(0, this.head);
      this.head = 0;
    }
    let tooMany = this.sum + units - max;
    if (tooMany <= 0) return 0;
    if (units > max) return Infinity;
    for (let n = this.head; ; n++)
      if ((tooMany -= this.times[n]!.units) <= 0) return Math.ceil(this.times[n]!.at + perMs - now);
  }

  add(units: number, now: number): Units {
    const at = this.stepMs > 0 ? (Math.floor(now / this.stepMs) + 1) * this.stepMs : now;
    this.sum += units;
    const last = this.times.at(-1);
    if (last && last.at >= at) {
      last.units += units;
      return last;
    }
    const added = { at, units };
    this.times.push(added);
    return added;
  }

  remove(from: Units, units: number): void {
    // Those that have left the window are not in the sum any more.
    if (this.times.indexOf(from, this.head) < 0) return;
    from.units -= units;
    this.sum -= units;
  }
}

interface Charge {
  endsAt: number;
  parts: { window: Window; from: Units; units: number }[];
}

/** Counters of the send policy in the memory of this process. */
export class MemoryLimits implements LimitStore {
  private readonly key = randomBytes(32);
  /** Windows and charges, those that were used least recently first. */
  private readonly windows = new Map<string, Window>();
  private readonly charges = new Map<string, Charge>();

  async take(charges: readonly LimitCharge[]): Promise<LimitResult> {
    const now = performance.now();
    const fresh = new Map<string, LimitCharge>();
    for (const charge of charges) {
      const known = this.charges.get(charge.id);
      if (!known || known.endsAt <= now) fresh.set(charge.id, charge);
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
    for (const [key, { window }] of needs) {
      this.windows.delete(key);
      this.windows.set(key, window);
    }
    for (const { id, parts } of keyed) {
      const counted = parts.map((part) => ({ ...part, from: part.window.add(part.units, now) }));
      const endsAt = Math.max(...parts.map(({ window }) => window.endsAt));
      this.charges.delete(id);
      this.charges.set(id, { endsAt, parts: counted });
    }
    dropOld(this.windows, now);
    dropOld(this.charges, now);
    return { taken: keyed.map(({ id }) => id) };
  }

  async giveBack(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      for (const { window, from, units } of this.charges.get(id)?.parts ?? []) window.remove(from, units);
      this.charges.delete(id);
    }
  }

  settle(ids: readonly string[]): void {
    for (const id of ids) this.charges.delete(id);
  }

  private keyOf({ rule, subject, perMs }: LimitCounter, hashes: Map<string, string>): string {
    if (subject === '') return `${rule}:${perMs}`;
    let hash = hashes.get(subject);
    if (hash === undefined)
      hashes.set(subject, (hash = createHmac('sha256', this.key).update(subject).digest('base64url').slice(0, 22)));
    return `${rule}:${perMs}:${hash}`;
  }
}

/** Drops up to four that have ended for each one that was added, and those beyond the maximum. */
function dropOld(kept: Map<string, { readonly endsAt: number }>, now: number): void {
  let looked = 0;
  for (const [key, { endsAt }] of kept) {
    if (kept.size <= MAX_KEPT && (endsAt > now || ++looked > 4)) return;
    kept.delete(key);
  }
}

/** The refusal of a limit that is free in `waitMs`. */
export const refusalOf = ({ rule, max, perMs }: Omit<LimitRefusal, 'retryAfterMs'>, waitMs: number): LimitRefusal => ({
  rule,
  max,
  perMs,
  ...(Number.isFinite(waitMs) ? { retryAfterMs: waitMs } : {}),
});
