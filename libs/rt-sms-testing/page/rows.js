/** The rows of both lists: their cells and their searchable texts. */
import { h, isProbe, outcomeOf, setText, shownNumber, timeOf, toneOf } from './dom.js';
import { languageNow, statusWord, t } from './words.js';

/** @typedef {import('./dom.js').MessageRow} MessageRow */
/** @typedef {import('./dom.js').RequestRow} RequestRow */

/**
 * Searchable texts of the rows, in the language of the page.
 * @type {{ language: string; texts: WeakMap<object, string> }}
 */
let haystacks = { language: '', texts: new WeakMap() };

/** @param {MessageRow | RequestRow} row */
export function haystackOf(row) {
  if (haystacks.language !== languageNow()) haystacks = { language: languageNow(), texts: new WeakMap() };
  let text = haystacks.texts.get(row);
  if (text === undefined) {
    const words =
      'msisdn' in row
        ? [row.uid, row.msisdn, row.shortcode, row.text, row.status, statusWord(row.status), row.err]
        : [row.uid, row.requestId, row.path, row.reason, row.code];
    text = words.join('\n').toLowerCase();
    haystacks.texts.set(row, text);
  }
  return text;
}

/** @param {...string} names */
export const cells =
  (...names) =>
  () =>
    h(
      'div',
      { class: names[0] },
      names.slice(1).map((name) => h('span', { class: name })),
    );

/**
 * @param {HTMLElement} element
 * @param {MessageRow} row
 */
export function fillMessage(element, row) {
  const [at, msisdn, shortcode, text, segments, status, callbacks] = element.children;
  setText(at, timeOf(row.at));
  setText(msisdn, shownNumber(row.msisdn));
  setText(shortcode, row.shortcode);
  setText(text, row.text);
  setText(segments, String(row.segments));
  setText(status, statusWord(row.status) + (row.err === undefined ? '' : ` ${row.err}`));
  status?.setAttribute('class', `status ${toneOf(row.status)}`);
  // The provider's name of the status, for people who search for it in their code.
  status?.setAttribute('title', row.status);
  const shown = row.callbacks.slice(-3).map(outcomeOf);
  callbacks?.replaceChildren(...shown.map(({ word, tone }) => h('i', { class: tone }, word)));
}

/**
 * @param {HTMLElement} element
 * @param {RequestRow} row
 */
export function fillRequest(element, row) {
  const [at, method, path, code, reason] = element.children;
  const fault = row.fault && (row.fault.fault ?? row.fault.status ?? t('slow').toLowerCase());
  const probe = isProbe(row);
  setText(at, timeOf(row.at));
  setText(method, row.method);
  setText(path, row.path);
  setText(code, row.code === undefined ? '—' : String(row.code));
  code?.setAttribute('class', `code ${probe ? 'wait' : row.code === 200 && !row.reason ? 'good' : 'bad'}`);
  const what = [
    probe && t('probe'),
    row.reason ?? (row.fault ? undefined : row.uid),
    fault && `${t('fault')}: ${fault}`,
  ];
  setText(reason, what.filter(Boolean).join(' · '));
}
