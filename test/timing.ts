import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

/**
 * Delay of its settlement compared with a bare timer of `ms`, in milliseconds; below 0 if it was earlier. A pause of the
 * process delays the timer too, so the difference measures the product and not the machine.
 */
export async function lateBy(ms: number, work: Promise<unknown>): Promise<number> {
  const now = () => performance.now();
  const [due, settled] = await Promise.all([sleep(ms).then(now), work.then(now, now)]);
  return settled - due;
}

/** Resolves with true if the promise settles in this turn of the event loop, without measuring time. */
export function atOnce(work: Promise<unknown>): Promise<boolean> {
  const settled = () => true;
  return Promise.race([work.then(settled, settled), setImmediate(false)]);
}

/** Duration of the quickest of three rounds, in milliseconds: a pause of the machine affects one, a slow product all. */
export async function quickest(round: (n: number) => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let n = 0; n < 3; n++) {
    const began = performance.now();
    await round(n);
    least = Math.min(least, performance.now() - began);
  }
  return least;
}
