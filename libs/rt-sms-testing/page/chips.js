import { h, setText, shownCount, toneOf } from './dom.js';
import { statusWord, t } from './words.js';

const ORDER = ['', 'accepted', 'awaiting_report', 'delivered', 'failed', 'rejected', 'insufficient_balance'];

/** @param {string} status */
function rankOf(status) {
  const rank = ORDER.indexOf(status);
  return rank < 0 ? ORDER.length : rank;
}

/**
 * Shows the number of messages of each status.
 * @param {HTMLElement} box
 * @param {readonly import('./dom.js').MessageRow[]} rows
 * @param {string} chosen
 * @param {(status: string) => void} choose called when a chip is pressed; '' stands for all
 */
export function showChips(box, rows, chosen, choose) {
  const counts = new Map([['', rows.length]]);
  for (const { status } of rows) counts.set(status, (counts.get(status) ?? 0) + 1);
  if (chosen && !counts.has(chosen)) counts.set(chosen, 0);
  const known = new Map(Array.from(box.querySelectorAll('button'), (chip) => [chip.dataset.status, chip]));
  const sorted = [...counts].toSorted(([a], [b]) => rankOf(a) - rankOf(b) || (a < b ? -1 : 1));
  for (const [status, chip] of known) if (!counts.has(status ?? '')) chip.remove();
  for (const [index, [status, count]] of sorted.entries()) {
    let chip = known.get(status);
    if (!chip) {
      chip = h(
        'button',
        { type: 'button', 'data-status': status, class: status ? toneOf(status) : 'tone-all' },
        h('span'),
        ' ',
        h('b'),
      );
      chip.addEventListener('click', () => choose(status));
    }
    // Moved only if necessary, because a moved element loses the focus.
    if (box.children[index] !== chip) box.insertBefore(chip, box.children[index] ?? null);
    setText(chip.children[0], status ? statusWord(status) : t('all'));
    setText(chip.children[1], shownCount(count));
    chip.setAttribute('aria-pressed', String(chosen === status));
  }
}
