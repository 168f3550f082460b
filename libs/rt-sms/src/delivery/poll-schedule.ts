/** Milliseconds for which the gateway may answer `transaction_not_found` for a message that it has accepted. */
const NOT_FOUND_GRACE_MS = 600_000;

/** Minimum time in milliseconds between two polls of a message that hints ask for. */
export const HINT_PAUSE_MS = 1_000;

/** Polls in flight at once: at most half of the connections, because polls must not delay messages. */
export const parallelPolls = (connections: number): number => Math.max(1, connections >> 1);

/**
 * Times at which a message is polled, and the end of polling. All times are milliseconds of one clock of the caller's choice.
 * `step` is the number of scheduled polls so far, which is also the number of delays of the schedule that have passed.
 */
export class PollSchedule {
  private readonly delays: readonly number[];
  /** Milliseconds after the send at which polling ends. */
  readonly maxAgeMs: number;

  constructor({ schedule, maxAgeMs }: { schedule: readonly number[]; maxAgeMs: number }) {
    this.delays = schedule;
    this.maxAgeMs = maxAgeMs;
  }

  /**
   * Returns the step and the next poll of a message that was sent at `sentAt` and is tracked from `now` on. The first poll is
   * one delay after the send, or at once if that time has passed. Later polls follow from the age of the message.
   */
  begin(sentAt: number, now: number): { step: number; dueAt: number } {
    let step = 0;
    for (let at = sentAt + this.delay(0) + this.delay(1); at <= now && step < this.delays.length - 1;) {
      step++;
      at += this.delay(step + 1);
    }
    return { step, dueAt: this.within(sentAt, sentAt + lengthened(this.delay(0)), now) };
  }

  /** Returns the time of the next poll after poll number `step` was made at `now`. */
  next(sentAt: number, step: number, now: number): number {
    return this.within(sentAt, now + lengthened(this.delay(step)), now);
  }

  /** True if a poll made at `polledAt` was the last one. */
  isOver(sentAt: number, polledAt: number): boolean {
    return polledAt >= sentAt + this.maxAgeMs;
  }

  /** True if the gateway has not found the uid for ten minutes, or for a tenth of `maxAgeMs` if that is shorter. */
  isLost(missingSince: number | undefined, now: number): boolean {
    return missingSince !== undefined && now - missingSince >= Math.min(NOT_FOUND_GRACE_MS, this.maxAgeMs / 10);
  }

  /** Delay number `step`. The last delay of the schedule repeats. */
  private delay(step: number): number {
    return this.delays[Math.min(step, this.delays.length - 1)]!;
  }

  /** Moves a poll that would be later than `maxAgeMs` to that time. */
  private within(sentAt: number, at: number, now: number): number {
    return Math.max(now, Math.min(at, sentAt + this.maxAgeMs));
  }
}

/** Adds up to 20 %, so that messages sent together are not polled together. */
const lengthened = (ms: number): number => ms * (1 + 0.2 * Math.random());
