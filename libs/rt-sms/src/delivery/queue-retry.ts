import { backoffMs } from '../gateway/retry-policy.js';
import { RtSmsAuthError, type RtSmsError } from '../rt-sms.errors.js';

/** Attempts for a queued message that certainly was not sent, until it is refused; about a day at the longest back-off. */
const MAX_ATTEMPTS = 1_440;
const BASE_MS = 500;
const MAX_BACKOFF_MS = 60_000;

/**
 * Next step for a queued message whose send failed. `hold`: the gateway rejects this process, so the message waits for the
 * circuit breaker or for another replica. `retry`: it certainly was not sent, and gets another attempt after `queueBackoffMs`.
 */
export function afterFailedSend(
  error: RtSmsError,
  attempts: number,
  isExpired: boolean,
): 'unknown' | 'refused' | 'expired' | 'hold' | 'retry' {
  if (error.outcome === 'unknown') return 'unknown';
  const isAuth = error instanceof RtSmsAuthError;
  // A rejection counts even if the message has expired by now.
  if (!isAuth && !error.retryable) return 'refused';
  if (isExpired) return 'expired';
  if (isAuth) return 'hold';
  return attempts >= MAX_ATTEMPTS ? 'refused' : 'retry';
}

/** Milliseconds before the next attempt for a queued message, after `attempts` attempts. */
export const queueBackoffMs = (attempts: number): number => 100 + backoffMs(attempts, BASE_MS, MAX_BACKOFF_MS);
