const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** What befalls one callback. */
export interface Fate {
  readonly lost: boolean;
  readonly doubled: boolean;
  readonly reordered: boolean;
}

/** mulberry32: numbers in [0, 1) that depend on the seed alone. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The uids of a run, one a call: `message-id-` and 12 alphanumerics. One stream for all, so that none repeats. */
export function uidsOf(seed: number): () => string {
  const random = mulberry32(seed);
  // Written into bytes: a string put together of pieces would be kept as its pieces.
  const uid = Buffer.from('message-id-............');
  return () => {
    for (let n = uid.length - 12; n < uid.length; n++) {
      uid[n] = ALPHABET.charCodeAt(Math.floor(random() * ALPHABET.length));
    }
    return uid.toString('latin1');
  };
}

/**
 * The fate of the callback for a message's n-th change of status. A function of the seed and of the two ordinals only,
 * never of the time or of what other messages do; each probability has a draw of its own.
 */
export function fateOf(
  seed: number,
  messageOrdinal: number,
  changeOrdinal: number,
  odds: { readonly loss: number; readonly duplicate: number; readonly reorder: number },
): Fate {
  const random = mulberry32(
    seed ^ Math.imul(messageOrdinal + 1, 0x9e3779b1) ^ Math.imul(changeOrdinal + 1, 0x85ebca6b),
  );
  return { lost: random() < odds.loss, doubled: random() < odds.duplicate, reordered: random() < odds.reorder };
}
