/** The gateway may not know a message yet that it has just accepted; a uid that it does not know for longer is given up. */
const NOT_FOUND_GRACE_MS = 600_000;

/**
 * When a message is polled, and when polling ends. All times are milliseconds of one clock, whichever the caller has.
 * `step` counts the scheduled polls of a message: that many delays of the schedule have passed.
 */
export class PollSchedule {
  private readonly delays: readonly number[];
  /** A final status is waited for so long after the send. */
  readonly maxAgeMs: number;

  constructor({ schedule, maxAgeMs }: { schedule: readonly number[]; maxAgeMs: number }) {
    this.delays = schedule;
    this.maxAgeMs = maxAgeMs;
  }

  /**
   * Where a message that was sent at `sentAt` stands when it is taken up at `now`. Its first poll comes one delay after the
   * send, or at once if that has passed: the time in between may have brought anything. Later polls go on from its age.
   */
  begin(sentAt: number, now: number): { step: number; dueAt: number } {
    let step = 0;
    for (let at = sentAt + this.delay(0) + this.delay(1); at <= now && step < this.delays.length - 1;) {
      step++;
      at += this.delay(step + 1);
    }
    return { step, dueAt: this.within(sentAt, sentAt + lengthened(this.delay(0)), now) };
  }

  /** The time of the next poll after the scheduled poll number `step`, made at `now`. */
  next(sentAt: number, step: number, now: number): number {
    return this.within(sentAt, now + lengthened(this.delay(step)), now);
  }

  /** True if a poll made at `polledAt` was the last one. */
  isOver(sentAt: number, polledAt: number): boolean {
    return polledAt >= sentAt + this.maxAgeMs;
  }

  /** True if the gateway does not know the uid for so long that it never will. In proportion where `maxAgeMs` is short. */
  isLost(missingSince: number | undefined, now: number): boolean {
    return missingSince !== undefined && now - missingSince >= Math.min(NOT_FOUND_GRACE_MS, this.maxAgeMs / 10);
  }

  /** The last delay repeats. */
  private delay(step: number): number {
    return this.delays[Math.min(step, this.delays.length - 1)]!;
  }

  /** The last poll is made at the end of the message's time, not after it. */
  private within(sentAt: number, at: number, now: number): number {
    return Math.max(now, Math.min(at, sentAt + this.maxAgeMs));
  }
}

/** Longer by up to a fifth, never shorter: what was sent together is not polled together. */
const lengthened = (ms: number): number => ms * (1 + 0.2 * Math.random());
