/** Basic alphabet of GSM 03.38, one septet per character. */
const BASIC = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
/** Extension table of GSM 03.38, an escape and a septet per character. */
const EXTENDED = new Set('\f^{}\\[~]|€');

/**
 * Number of parts that a text is split into (`parts` of §3.1.1, `pdu_count` of §2.2.2): a single part holds 160 septets
 * or 70 UTF-16 units, each of several parts holds 153 or 67. A character is never split.
 */
export function countParts(text: string): number {
  // Even with two septets per character it fits in one part.
  if (text.length <= 70) return 1;
  const characters = Array.from(text);
  const gsm = characters.every((character) => BASIC.has(character) || EXTENDED.has(character));
  const sizes = characters.map((character) => (gsm ? (EXTENDED.has(character) ? 2 : 1) : character.length));
  const [single, each] = gsm ? [160, 153] : [70, 67];
  if (sizes.reduce((sum, size) => sum + size, 0) <= single) return 1;
  let parts = 1;
  let used = 0;
  for (const size of sizes) {
    if (used + size > each) {
      parts += 1;
      used = 0;
    }
    used += size;
  }
  return parts;
}
