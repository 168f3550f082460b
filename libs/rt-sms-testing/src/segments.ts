/** GSM 03.38: the basic alphabet, one septet a character. */
const BASIC = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
/** GSM 03.38: the extension table, an escape and a septet a character. */
const EXTENDED = new Set('\f^{}\\[~]|€');

/**
 * Into how many parts a text is cut (`parts` of §3.1.1, `pdu_count` of §2.2.2): 160 septets or 70 UTF-16 units fit in
 * one, 153 or 67 in each of several. A character is never cut in two.
 */
export function countParts(text: string): number {
  // Even two septets for each would fit in one part.
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
