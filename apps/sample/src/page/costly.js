/** Names the characters that make a text UCS-2. */
import { t } from './words.js';

const NAMED = 5;
/** Parts of an emoji that are not shown by themselves. */
const JOINERS = new Set(['\u200D', '\uFE0F', '\u20E3']);
const CYRILLIC = /^(?=\p{L})\p{Script=Cyrillic}$/u;
/** Characters that would not be seen, or would change the direction of the line. */
const UNSEEN = /^[\p{C}\p{Z}\p{M}]$/u;
/**
 * Kinds of characters that are shown with a name.
 * @type {readonly (readonly [RegExp, string])[]}
 */
const KINDS = [
  [/^[\u2018\u2019\u02BC]$/, 'apostrophe'],
  [/^[\u201C-\u201F«»‹›]$/, 'quote'],
  [/^[\u2010-\u2015]$/, 'dash'],
  [/^\u2026$/, 'ellipsis'],
  [/^[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Emoji_Modifier}]$/u, 'emoji'],
];

/**
 * The names, at most five: "’ (curly apostrophe), 😀 (emoji)". All Cyrillic letters have one name together.
 * @param {readonly string[]} characters
 */
export function namesOf(characters) {
  const cyrillic = characters.filter((character) => CYRILLIC.test(character)).length;
  const hasEmoji = characters.some((character) => kindOf(character) === 'emoji');
  const names = characters
    .filter((character) => !(hasEmoji && JOINERS.has(character)))
    .map((character) => {
      if (CYRILLIC.test(character)) return cyrillic > 1 ? t('characters', 'cyrillic') : named(character, 'letter');
      if (/^[\u00A0\u202F\u2007]$/.test(character)) return t('characters', 'space');
      if (character === '\t') return t('characters', 'tab');
      if (UNSEEN.test(character)) return codeOf(character);
      const kind = kindOf(character);
      return kind ? named(character, kind) : character;
    });
  const different = [...new Set(names)];
  return [...different.slice(0, NAMED), ...(different.length > NAMED ? [t('characters', 'others')] : [])].join(', ');
}

/** @param {string} character */
const kindOf = (character) => KINDS.find(([pattern]) => pattern.test(character))?.[1];
/**
 * @param {string} character
 * @param {string} kind
 */
const named = (character, kind) => `${character} (${t('characters', kind)})`;
/** @param {string} character */
const codeOf = (character) => `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
