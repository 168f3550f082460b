const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Faults of one callback. */
export interface CallbackFaults {
  readonly lost: boolean;
  readonly doubled: boolean;
  readonly reordered: boolean;
}

/** The mulberry32 generator: numbers in [0, 1) that depend on the seed alone. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns a new uid on each call: `message-id-` and 12 alphanumerics. All come from one stream, so that none repeats. */
export function uidsOf(seed: number): () => string {
  const random = mulberry32(seed);
  // Written into a buffer: V8 would keep a concatenated string as its pieces, which takes more memory.
  const uid = Buffer.from('message-id-............');
  return () => {
    for (let n = uid.length - 12; n < uid.length; n++) {
      uid[n] = ALPHABET.charCodeAt(Math.floor(random() * ALPHABET.length));
    }
    return uid.toString('latin1');
  };
}

/**
 * Draws the faults of the callback for a message's n-th change of status. They depend on the seed and on the two ordinals
 * only, not on the time or on other messages. Each probability has a separate draw.
 */
export function drawCallbackFaults(
  seed: number,
  messageOrdinal: number,
  changeOrdinal: number,
  odds: { readonly loss: number; readonly duplicate: number; readonly reorder: number },
): CallbackFaults {
  const random = mulberry32(
    seed ^ Math.imul(messageOrdinal + 1, 0x9e3779b1) ^ Math.imul(changeOrdinal + 1, 0x85ebca6b),
  );
  return { lost: random() < odds.loss, doubled: random() < odds.duplicate, reordered: random() < odds.reorder };
}
