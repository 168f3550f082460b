/** State of a challenge; `unknown` if the store does not have it. `used` precedes `expired`, which precedes `locked`. */
export type OtpState = 'open' | 'used' | 'expired' | 'locked' | 'unknown';

/** A challenge as a store takes it: `sealed` holds number and purpose, encrypted; `resendAfterMs` is the first pause. */
export interface NewOtpChallenge extends Record<'ttlMs' | 'attempts' | 'resendAfterMs', number> {
  /** Number, purpose and digits, encrypted with the secret. */
  sealed: string;
}

/**
 * Step of a challenge, done only if its condition holds. `find`: never done. `attempt` (open): takes one attempt. `use` (not
 * used): ends the challenge. `resend` (open, pause over): counts a send, `numbers` are the pauses after the first, second, …
 * send, and the last repeats. `undo` (`numbers[0]` is the last send): takes that send back and ends its pause.
 */
export type OtpStep = 'find' | 'attempt' | 'use' | 'resend' | 'undo';

/** A challenge after a step; `resendInMs` and `expiresInMs` are negative when that time has passed. */
export interface OtpRecord extends Record<'attemptsLeft' | 'sends' | 'resendInMs' | 'expiresInMs', number> {
  /** State before the step. */
  state: OtpState;
  /** True if the step was done. */
  done: boolean;
  /** Number, purpose and digits, encrypted with the secret. */
  sealed: string;
}

/**
 * Port: keeps challenges for all replicas. Each method is one atomic step on the clock of the store. A challenge disappears by
 * itself after twice its `ttlMs`, so that a late answer gets `expired`. `otpStoreConformance` tests a store.
 */
export interface OtpStore {
  /** Called before the application listens. An error stops the start. */
  prepare?(): Promise<unknown>;
  /** Stores a new challenge, whose code counts as sent once. */
  create(id: string, challenge: NewOtpChallenge): Promise<unknown>;
  /** Makes one step of a challenge; `undefined` if the store does not have it. */
  step(id: string, step: OtpStep, numbers?: readonly number[]): Promise<OtpRecord | undefined>;
  /** Deletes a challenge. */
  remove(id: string): Promise<unknown>;
  /** Called at the end of the application: closes the connections that the store has opened. */
  close?(): Promise<unknown>;
}
