import { copy, dateOf, h, outcomeOf, post, quoted, shownNumber, shownRaw, timeOf, toast, toneOf } from './dom.js';
import { statusWord, t } from './words.js';

/** @typedef {import('./dom.js').MessageRow} MessageRow */
/** @typedef {import('./dom.js').Message} Message */
/** @typedef {import('./dom.js').Callback} Callback */

const PUSHED = ['delivered', 'awaiting_report', 'failed', 'insufficient_balance'];
/** @type {Readonly<Record<string, string>>} */
const TICKS = {
  delivered: '✓✓',
  awaiting_report: '✓',
  accepted: '·',
  failed: '✕',
  rejected: '✕',
  insufficient_balance: '✕',
};

/** A message on a phone, the statuses to push, its facts and its callbacks. */
export class MessageView {
  #around;
  #who = h('div', { class: 'who' });
  #thread = h('div', { class: 'thread', tabindex: 0, role: 'log', 'aria-live': 'off', 'aria-label': t('phone') });
  #warning = h('p', { class: 'warning', hidden: true }, t('noCallbackUrl'));
  #facts = h('dl');
  #callbacks = h('ol', { class: 'calls' });
  /** @type {HTMLElement[]} */
  elements;
  #uid = '';

  /**
   * @param {import('./detail.js').Around} around
   * @param {(status: string, details: { lost: boolean; err?: string }) => void} push
   */
  constructor(around, push) {
    this.#around = around;
    const phone = h(
      'div',
      { class: 'phone', role: 'group', 'aria-label': t('phone') },
      h('div', { class: 'screen' }, this.#who, this.#thread),
    );
    this.elements = [
      h('div', { class: 'pair' }, phone, this.#actions(push)),
      h('section', { class: 'card' }, h('h2', null, t('facts')), this.#facts),
      h('section', { class: 'card' }, h('h2', null, t('callbacks')), this.#callbacks),
    ];
  }

  /**
   * @param {MessageRow} row
   * @param {{ message: Message; callbacks: Callback[] }} [found] the server's full data of it
   */
  fill(row, found) {
    this.#uid = row.uid;
    this.#fillPhone(row, found?.message.text ?? row.text);
    this.#fillFacts(row, found?.message);
    this.#warning.hidden = this.#around.settings()?.callbackUrl !== null;
    if (found) this.#fillCallbacks(found.callbacks);
  }

  /** @param {(status: string, details: { lost: boolean; err?: string }) => void} push */
  #actions(push) {
    const err = h('input', { id: 'push-err', type: 'text', maxlength: 20, value: '11', size: 4, autocomplete: 'off' });
    const other = h('input', {
      id: 'push-other',
      type: 'text',
      maxlength: 64,
      placeholder: t('other'),
      'aria-label': t('other'),
      autocomplete: 'off',
    });
    const lose = h('input', { id: 'push-lose', type: 'checkbox' });
    /** @param {string} status */
    const pushIt = (status) =>
      push(status, { lost: lose.checked, ...(status === 'rejected' && err.value && { err: err.value }) });
    /** @param {string} status */
    const button = (status) =>
      h(
        'button',
        {
          type: 'button',
          class: `push ${toneOf(status)}`,
          title: status,
          'data-push': status,
          onclick: () => pushIt(status),
        },
        statusWord(status),
      );
    const pushOther = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (other.value.trim()) pushIt(other.value.trim());
    };
    const resend = async () => {
      if (await post(`/inbox/messages/${encodeURIComponent(this.#uid)}/resend`)) toast(t('resent'));
    };
    return h(
      'section',
      { class: 'card actions' },
      h('h2', null, t('push')),
      h('div', { class: 'buttons' }, PUSHED.map(button)),
      h('div', { class: 'buttons' }, button('rejected'), h('label', { class: 'err' }, t('errCode'), err)),
      h('form', { class: 'buttons', onsubmit: pushOther }, other, h('button', { type: 'submit' }, t('pushOther'))),
      h(
        'div',
        { class: 'buttons apart' },
        h('label', { class: 'check' }, lose, t('loseIt')),
        h('button', { type: 'button', id: 'resend', onclick: () => void resend() }, t('resend')),
      ),
      this.#warning,
    );
  }

  /**
   * @param {MessageRow} shown
   * @param {string} text
   */
  #fillPhone(shown, text) {
    this.#who.replaceChildren(
      h('span', { class: 'face' }, [...shown.shortcode][0] ?? '?'),
      h('b', null, shown.shortcode),
      h('small', null, shownNumber(shown.msisdn)),
    );
    this.#thread.replaceChildren(
      ...this.#around.thread(shown).map((row) => {
        const current = row.uid === shown.uid;
        return h(
          'div',
          { class: current ? 'bubble current' : 'bubble' },
          h('p', null, current ? text : row.text),
          h('small', { class: `tick ${toneOf(row.status)}` }, `${timeOf(row.at)} ${TICKS[row.status] ?? '?'}`),
        );
      }),
    );
    this.#thread.scrollTop = this.#thread.scrollHeight;
  }

  /**
   * @param {MessageRow} row
   * @param {Message} [message]
   */
  #fillFacts(row, message) {
    const { uid, status, err } = row;
    const copyUid = h('button', { type: 'button', class: 'quiet small', onclick: () => void copy(uid) }, t('copyUid'));
    const word = statusWord(status) + (err === undefined ? '' : ` ${err}`);
    /** @type {[name: string, ...values: (string | HTMLElement)[]][]} */
    const facts = [
      [t('status'), h('span', { class: `status ${toneOf(status)}`, id: 'detail-status', title: status }, word)],
      ['uid', h('code', null, uid), copyUid],
      [t('number'), shownNumber(row.msisdn)],
      [t('sender'), row.shortcode],
      [t('segments'), String(row.segments)],
      [t('created'), dateOf(row.at)],
      [t('updated'), dateOf(row.changedAt)],
    ];
    if (message)
      facts.push([t('credentials'), t(message.credentials)], ['x-request-id', h('code', null, message.requestId)]);
    const textOf = (/** @type {string | HTMLElement} */ value) =>
      typeof value === 'string' ? value : value.textContent;
    const flat = facts.map((values) => values.map(textOf).join()).join('\n');
    // Unchanged facts are not rebuilt, because that would take away the focus and the selection.
    if (this.#facts.dataset['shown'] === flat) return;
    this.#facts.dataset['shown'] = flat;
    this.#facts.replaceChildren(
      ...facts.map(([name, ...values]) => h('div', null, h('dt', null, name), h('dd', null, values))),
    );
  }

  /** @param {readonly Callback[]} callbacks */
  #fillCallbacks(callbacks) {
    const flat = JSON.stringify(callbacks);
    if (this.#callbacks.dataset['shown'] === flat) return;
    this.#callbacks.dataset['shown'] = flat;
    this.#callbacks.replaceChildren(
      ...(callbacks.length > 0 ? callbacks.map(callbackElement) : [h('li', { class: 'none' }, t('noCallbacks'))]),
    );
  }
}

/** @param {Callback} callback */
function callbackElement(callback) {
  const { status, url, copy: isCopy, error, sentAt } = callback;
  const { word, tone } = outcomeOf(callback);
  return h(
    'li',
    null,
    h('time', null, timeOf(new Date(sentAt))),
    h('span', { class: `status ${toneOf(status)}`, title: status }, statusWord(status)),
    h('i', { class: tone }, `→ ${word}`),
    isCopy && h('small', null, t('copyOf')),
    error !== undefined && h('small', null, error),
    h('code', { class: 'url' }, `GET ${shownRaw(url)}`),
    h(
      'button',
      { type: 'button', class: 'quiet small', onclick: () => void copy(`curl ${quoted(url)}`) },
      t('copyCurl'),
    ),
  );
}
