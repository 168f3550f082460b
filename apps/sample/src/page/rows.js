/** The tables of a file's rows. */
import { fill, h, shownCount, shownNumber, toneOf } from './dom.js';
import { happened, t, whatToDo } from './words.js';

/** @typedef {import('./dom.js').BulkRow} BulkRow */
/** @typedef {import('./dom.js').Child} Child */

/**
 * Shows the first rows as they were read, so that you can check them.
 * @param {HTMLElement} box
 * @param {import('./dom.js').Bulk['first']} rows
 */
export function showFirstRows(box, rows) {
  const heads = [t('row'), t('number'), t('text'), t('sender')];
  const cells = rows.map(({ row, msisdn, text, shortcode }) => [
    shownCount(row),
    shownNumber(msisdn),
    text,
    shortcode ?? '',
  ]);
  fill(box, table('preview', heads, cells));
}

/**
 * @param {HTMLElement} box
 * @param {readonly BulkRow[]} rows
 */
export function showRowsOf(box, rows) {
  const heads = [t('row'), t('number'), t('statusOf'), t('what')];
  const cells = rows.map(({ row, msisdn, status, errorCode, error, problem, uid }) => [
    shownCount(row),
    status === 'wrong' ? msisdn : shownNumber(msisdn),
    h('span', { class: toneOf(status) }, t('status', status) + (errorCode ? ` ${errorCode}` : '')),
    detailOf({ error, problem, uid }),
  ]);
  fill(box, table('results', heads, cells));
}

/** @param {{ error: BulkRow['error']; problem: BulkRow['problem']; uid: string | undefined }} row */
function detailOf({ error, problem, uid }) {
  if (problem) return wrongRow(problem);
  if (!error) return h('small', null, uid);
  return [
    h('code', null, [error.code, error.reason, error.rule].filter(Boolean).join(' · ')),
    ' ',
    whatToDo(error),
    ' ',
    h('small', null, happened(error)),
  ];
}

/** @param {NonNullable<BulkRow['problem']>} problem */
function wrongRow({ field, message }) {
  const advice = t('rowProblem', field);
  const detail = t('rowDetail', field, message);
  return [advice, advice && ' ', h('small', null, detail || message)];
}

/**
 * The roles are set explicitly: a small screen shows the rows as cards, and then browsers no longer treat them as a table.
 * @param {string} kind
 * @param {readonly string[]} heads
 * @param {readonly (readonly (Child | readonly Child[])[])[]} rows
 */
function table(kind, heads, rows) {
  const head = heads.map((text) => h('th', { scope: 'col', role: 'columnheader' }, text));
  return h(
    'table',
    { class: kind, role: 'table' },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, head)),
    h(
      'tbody',
      { role: 'rowgroup' },
      rows.map((cells) =>
        h(
          'tr',
          { role: 'row' },
          cells.map((cell) => h('td', { role: 'cell' }, cell)),
        ),
      ),
    ),
  );
}
