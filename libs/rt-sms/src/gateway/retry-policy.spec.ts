import { jest } from '@jest/globals';
import { backoffMs, RetryBudget } from './retry-policy.js';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

describe('backoffMs', () => {
  it('is random below a limit that doubles from 100 ms to 5 s', () => {
    for (const [attempt, bound] of [
      [1, 100],
      [2, 200],
      [3, 400],
      [6, 3_200],
      [7, 5_000],
      [50, 5_000],
    ] as const) {
      const delays = Array.from({ length: 1_000 }, () => backoffMs(attempt));
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
      expect(Math.min(...delays)).toBeLessThan(bound * 0.1);
      expect(Math.max(...delays)).toBeLessThan(bound);
      expect(Math.max(...delays)).toBeGreaterThan(bound * 0.9);
    }
  });
});

/** Attempts of 1000 calls in an outage, `everyMs` apart, each retried as often as the budget allows. */
function outage(budget: RetryBudget, everyMs: number) {
  let attempts = 0;
  for (let call = 0; call < 1_000; call++) {
    budget.earn();
    attempts++;
    while (budget.spend()) attempts++;
    jest.advanceTimersByTime(everyMs);
  }
  return { attempts, seconds: (1_000 * everyMs) / 1_000 };
}

describe('RetryBudget', () => {
  it.each([0, 1, 10, 100])('does not amplify an outage of 1000 calls, one every %d ms', (everyMs) => {
    const { attempts, seconds } = outage(new RetryBudget(), everyMs);
    expect(attempts).toBeLessThanOrEqual(1_000 * 1.2 + 20 + seconds);
    expect(attempts).toBeGreaterThan(1_000 * 1.2 + seconds - 1);
  });

  it('always allows retries of a quiet service, and saves at most 20', () => {
    const budget = new RetryBudget();
    for (let hour = 0; hour < 3; hour++) {
      jest.advanceTimersByTime(3_600_000);
      const spent = Array.from({ length: 100 }, () => budget.spend()).filter(Boolean);
      expect(spent).toHaveLength(20);
    }
  });

  it('is empty after the shutdown', () => {
    const budget = new RetryBudget();
    budget.close();
    budget.earn();
    jest.advanceTimersByTime(3_600_000);
    expect(budget.spend()).toBe(false);
  });
});
