import { countParts } from './segments.js';

describe('countParts', () => {
  it.each([
    ['the shortest', 'a', 1],
    ['GSM up to 160', 'a'.repeat(160), 1],
    ['GSM beyond 160', 'a'.repeat(161), 2],
    ['GSM, two full parts', 'a'.repeat(306), 2],
    ['GSM beyond two parts', 'a'.repeat(307), 3],
    ['an extended character counts twice', '€'.repeat(80), 1],
    ['an extended character is not cut', `${'a'.repeat(152)}€${'a'.repeat(152)}`, 3],
    ['Cyrillic up to 70', 'ж'.repeat(70), 1],
    ['Cyrillic beyond 70', 'ж'.repeat(71), 2],
    ['Cyrillic beyond two parts', 'ж'.repeat(135), 3],
    ['one letter outside GSM makes it all UCS-2', `${'a'.repeat(100)}ж`, 2],
    ['a surrogate pair is not cut', `${'ж'.repeat(66)}😀${'ж'.repeat(66)}`, 3],
  ])('%s', (_, text, parts) => {
    expect(countParts(text)).toBe(parts);
  });
});
