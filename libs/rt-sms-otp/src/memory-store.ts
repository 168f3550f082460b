import type { NewOtpChallenge, OtpRecord, OtpState, OtpStep, OtpStore } from './store.js';

type Row = Record<'expiresAt' | 'attemptsLeft' | 'sends' | 'resendAt', number> & { sealed: string; isUsed: boolean };

class MemoryOtpStore implements OtpStore {
  private readonly rows = new Map<string, Row>();

  async create(id: string, { sealed, ttlMs, attempts, resendAfterMs }: NewOtpChallenge): Promise<void> {
    const now = performance.now();
    const times = { expiresAt: now + ttlMs, resendAt: now + resendAfterMs };
    this.rows.set(id, { sealed, ...times, attemptsLeft: attempts, sends: 1, isUsed: false });
    setTimeout(() => this.rows.delete(id), 2 * ttlMs).unref();
  }

  async step(id: string, step: OtpStep, numbers: readonly number[] = []): Promise<OtpRecord | undefined> {
    const row = this.rows.get(id);
    if (!row) return undefined;
    const now = performance.now();
    const state = stateOf(row, now);
    const isOpen = state === 'open';
    const can = { find: false, attempt: isOpen, use: !row.isUsed, resend: isOpen && row.resendAt <= now };
    const done = step === 'undo' ? row.sends === numbers[0] : can[step];
    if (done && step === 'attempt') row.attemptsLeft--;
    if (done && step === 'use') row.isUsed = true;
    if (done && step === 'resend') row.resendAt = now + numbers[Math.min(++row.sends, numbers.length) - 1]!;
    if (done && step === 'undo') Object.assign(row, { sends: row.sends - 1, resendAt: now });
    const { sealed, attemptsLeft, sends, resendAt, expiresAt } = row;
    return { state, done, sealed, attemptsLeft, sends, resendInMs: resendAt - now, expiresInMs: expiresAt - now };
  }

  async remove(id: string): Promise<void> {
    this.rows.delete(id);
  }
}

function stateOf({ isUsed, expiresAt, attemptsLeft }: Row, now: number): OtpState {
  if (isUsed) return 'used';
  if (expiresAt <= now) return 'expired';
  return attemptsLeft > 0 ? 'open' : 'locked';
}

/** A store in the memory of one process: for development, tests and a single replica. Challenges are lost when it ends. */
export const memoryOtpStore = (): OtpStore => new MemoryOtpStore();
