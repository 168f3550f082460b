import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

/**
 * How much later than a bare timer of `ms` it settled, in milliseconds; below 0 if it was earlier. What holds up the process
 * holds up the timer, too: the difference tells of the product where a clock would tell of the machine.
 */
export async function lateBy(ms: number, work: Promise<unknown>): Promise<number> {
  const now = () => performance.now();
  const [due, settled] = await Promise.all([sleep(ms).then(now), work.then(now, now)]);
  return settled - due;
}

/** Whether it settles in this turn of the event loop: at once, by no clock at all. */
export function atOnce(work: Promise<unknown>): Promise<boolean> {
  const settled = () => true;
  return Promise.race([work.then(settled, settled), setImmediate(false)]);
}

/** How long the quickest of three rounds took, in milliseconds: a pause of the machine spoils one, a slow product all. */
export async function quickest(round: (n: number) => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let n = 0; n < 3; n++) {
    const began = performance.now();
    await round(n);
    least = Math.min(least, performance.now() - began);
  }
  return least;
}
