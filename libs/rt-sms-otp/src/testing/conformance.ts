import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { setTimeout as pass } from 'node:timers/promises';
import type { NewOtpChallenge, OtpStore, OtpStep } from '../store.js';

/** One test of a store. */
export interface OtpStoreTest {
  /** Promise that the test checks. */
  name: string;
  /** Runs the test; rejects with an `AssertionError`. The store must be prepared; it need not be empty. */
  run: (store: OtpStore) => Promise<void>;
}

const NEW: NewOtpChallenge = { sealed: 'sealed+/=', ttlMs: 60_000, attempts: 3, resendAfterMs: 0 };
/** Milliseconds of a life that a test waits for. */
const SHORT_MS = 400;
const CALLERS = 50;

async function begin(store: OtpStore, more: Partial<NewOtpChallenge> = {}): Promise<string> {
  const id = randomBytes(16).toString('base64url');
  await store.create(id, { ...NEW, ...more });
  return id;
}
const stateOf = async (store: OtpStore, id: string) => (await store.step(id, 'find'))?.state;
const near = (actual: number, expected: number) =>
  ok(actual <= expected + 1 && actual > expected - 5_000, `${actual} ms instead of about ${expected}`);
/** Number of concurrent steps that were done. */
async function doneOf(store: OtpStore, id: string, step: OtpStep, numbers?: number[]): Promise<number> {
  const records = await Promise.all(Array.from({ length: CALLERS }, () => store.step(id, step, numbers)));
  return records.filter((record) => record?.done).length;
}

/**
 * Tests of the port `OtpStore`, for a store of your own and any test runner:
 * `for (const { name, run } of otpStoreConformance) it(name, () => run(store))`.
 */
export const otpStoreConformance: readonly OtpStoreTest[] = [
  {
    name: 'returns a new challenge as it was created, and finding it changes nothing',
    run: async (store) => {
      const id = await begin(store, { resendAfterMs: 30_000 });
      for (let times = 0; times < 2; times++) {
        const { expiresInMs, resendInMs, ...rest } = (await store.step(id, 'find'))!;
        deepStrictEqual(rest, { state: 'open', done: false, sealed: NEW.sealed, attemptsLeft: 3, sends: 1 });
        near(expiresInMs, 60_000);
        near(resendInMs, 30_000);
      }
    },
  },
  {
    name: 'does not have a challenge that was never created or was removed',
    run: async (store) => {
      const id = await begin(store);
      await store.remove(id);
      for (const step of ['find', 'attempt', 'use', 'resend', 'undo'] as const)
        for (const missing of [id, 'x'.repeat(22)]) strictEqual(await store.step(missing, step, [1]), undefined);
    },
  },
  {
    name: 'takes exactly the allowed attempts from concurrent callers, and is then locked',
    run: async (store) => {
      const id = await begin(store);
      strictEqual(await doneOf(store, id, 'attempt'), 3);
      const late = await store.step(id, 'attempt');
      deepStrictEqual([late?.state, late?.done, late?.attemptsLeft], ['locked', false, 0]);
      strictEqual((await store.step(id, 'resend', [0]))?.done, false);
    },
  },
  {
    name: 'is used by exactly one of concurrent callers, also after the last attempt, and takes no attempt afterwards',
    run: async (store) => {
      const id = await begin(store, { attempts: 1 });
      strictEqual((await store.step(id, 'attempt'))?.state, 'open');
      strictEqual(await doneOf(store, id, 'use'), 1);
      const [last, other] = [await begin(store, { attempts: 1 }), await begin(store)];
      await store.step(last, 'attempt');
      strictEqual((await store.step(last, 'use'))?.state, 'locked');
      strictEqual((await store.step(other, 'use'))?.state, 'open');
      for (const step of ['attempt', 'use', 'resend'] as const) {
        const { state, done, attemptsLeft } = (await store.step(other, step, [0]))!;
        deepStrictEqual([step, state, done, attemptsLeft], [step, 'used', false, 3]);
      }
    },
  },
  {
    name: 'counts one of concurrent sends, and starts the pause of its number; the last pause repeats',
    run: async (store) => {
      const id = await begin(store);
      strictEqual(await doneOf(store, id, 'resend', [1, 20_000]), 1);
      const early = (await store.step(id, 'resend', [1, 20_000]))!;
      deepStrictEqual([early.state, early.done, early.sends], ['open', false, 2]);
      near(early.resendInMs, 20_000);
      const other = await begin(store);
      await store.step(other, 'resend', [0]);
      const third = (await store.step(other, 'resend', [0, 0, 40_000]))!;
      deepStrictEqual([third.done, third.sends], [true, 3]);
      near(third.resendInMs, 40_000);
      const repeating = await begin(store);
      near((await store.step(repeating, 'resend', [30_000]))!.resendInMs, 30_000);
    },
  },
  {
    name: 'takes the last send back once, and with it its pause',
    run: async (store) => {
      const id = await begin(store);
      await store.step(id, 'resend', [0, 30_000]);
      strictEqual((await store.step(id, 'undo', [1]))?.done, false);
      strictEqual(await doneOf(store, id, 'undo', [2]), 1);
      const again = (await store.step(id, 'resend', [0, 30_000]))!;
      deepStrictEqual([again.done, again.sends], [true, 2]);
    },
  },
  {
    name: 'keeps challenges apart',
    run: async (store) => {
      const [one, other] = [await begin(store), await begin(store, { sealed: 'other' })];
      await store.step(one, 'use');
      await store.step(one, 'resend', [30_000]);
      const { state, sealed, attemptsLeft, sends } = (await store.step(other, 'find'))!;
      deepStrictEqual([state, sealed, attemptsLeft, sends], ['open', 'other', 3, 1]);
    },
  },
  {
    name: 'expires: no attempt and no send is counted any more, and a used challenge stays used',
    run: async (store) => {
      // Long enough to be seen after its end: it disappears only after twice its life.
      const [id, used] = [await begin(store, { ttlMs: SHORT_MS }), await begin(store, { ttlMs: SHORT_MS })];
      await store.step(used, 'use');
      await pass(SHORT_MS * 1.2);
      const record = await store.step(id, 'attempt');
      deepStrictEqual([record?.state, record?.done], ['expired', false]);
      strictEqual((await store.step(id, 'resend', [0]))?.done, false);
      strictEqual(await stateOf(store, used), 'used');
    },
  },
];
