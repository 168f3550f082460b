import * as fc from 'fast-check';
import { PollSchedule } from './poll-schedule.js';

const schedule = new PollSchedule({ schedule: [60_000, 120_000, 600_000], maxAgeMs: 3_600_000 });
const NOW = 10_000_000;

describe('PollSchedule', () => {
  it.each([
    ['just sent', 0, 0, 60_000],
    ['sent 50 s ago', 50_000, 0, 10_000],
    // The jitter adds up to 12 s to the first delay.
    ['sent 75 s ago: polled at once', 75_000, 0, 0],
    ['sent 3 minutes ago: the second poll is due', 180_000, 1, 0],
    ['sent half an hour ago', 1_800_000, 2, 0],
    ['older than maxAgeMs: polled once more', 4_000_000, 2, 0],
  ])('a message that was %s', (_, ageMs, step, inMs) => {
    const { step: reached, dueAt } = schedule.begin(NOW - ageMs, NOW);
    expect(reached).toBe(step);
    expect(dueAt - NOW).toBeGreaterThanOrEqual(inMs);
    expect(dueAt - NOW).toBeLessThanOrEqual(inMs === 0 ? 0 : inMs + 12_000);
  });

  it('the delays grow along the schedule, and the last one repeats', () => {
    const delays = [1, 2, 3, 9].map((step) => schedule.next(NOW, step, NOW) - NOW);
    for (const [n, least] of [120_000, 600_000, 600_000, 600_000].entries()) {
      expect(delays[n]).toBeGreaterThanOrEqual(least);
      expect(delays[n]).toBeLessThanOrEqual(least * 1.2);
    }
  });

  it('jitter lengthens a delay by at most a fifth, and differs', () => {
    const delays = Array.from({ length: 200 }, () => schedule.next(NOW, 0, NOW) - NOW);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(60_000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(72_000);
    expect(new Set(delays).size).toBeGreaterThan(100);
  });

  it('every poll is between now and the end of maxAgeMs', () => {
    const times = fc.record({ age: fc.nat(8_000_000), step: fc.nat(10) });
    fc.assert(
      fc.property(times, ({ age, step }) => {
        const sentAt = NOW - age;
        for (const at of [schedule.begin(sentAt, NOW).dueAt, schedule.next(sentAt, step, NOW)]) {
          expect(at).toBeGreaterThanOrEqual(NOW);
          expect(at).toBeLessThanOrEqual(Math.max(NOW, sentAt + 3_600_000));
        }
      }),
    );
  });

  it('is over with the poll at the end of maxAgeMs', () => {
    expect(schedule.isOver(NOW, NOW + 3_599_999)).toBe(false);
    expect(schedule.isOver(NOW, NOW + 3_600_000)).toBe(true);
  });

  it('a uid that the gateway does not know is lost after ten minutes, or a tenth of a shorter maxAgeMs', () => {
    expect(schedule.isLost(undefined, NOW)).toBe(false);
    expect(schedule.isLost(NOW, NOW + 359_999)).toBe(false);
    expect(schedule.isLost(NOW, NOW + 360_000)).toBe(true);
    const long = new PollSchedule({ schedule: [1_000], maxAgeMs: 72 * 3_600_000 });
    expect(long.isLost(NOW, NOW + 599_999)).toBe(false);
    expect(long.isLost(NOW, NOW + 600_000)).toBe(true);
  });
});
