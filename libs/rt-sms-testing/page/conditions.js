/** The dialog for faults of the next requests, odds of callbacks and the gateway's speed. */
import { h, post, toast } from './dom.js';
import { outcomeWord, t } from './words.js';

/** @typedef {import('./dom.js').Settings} Settings */

/** @param {number} value */
const percent = (value) => Math.round(value * 100) + ' %';
/**
 * @type {readonly {
 *   of: 'callbackOdds' | 'gateway'; name: 'loss' | 'duplicate' | 'reorder' | 'latencyMs' | 'perSecond';
 *   word: Parameters<typeof t>[0]; max: number; step?: number; scale: number; say: (value: number) => string;
 * }[]}
 */
const SLIDERS = [
  { of: 'callbackOdds', name: 'loss', word: 'oddsLoss', max: 100, scale: 100, say: percent },
  { of: 'callbackOdds', name: 'duplicate', word: 'oddsDuplicate', max: 100, scale: 100, say: percent },
  { of: 'callbackOdds', name: 'reorder', word: 'oddsReorder', max: 100, scale: 100, say: percent },
  { of: 'gateway', name: 'latencyMs', word: 'latency', max: 5000, step: 50, scale: 1, say: (ms) => ms + ' ' + t('ms') },
  {
    of: 'gateway',
    name: 'perSecond',
    word: 'rate',
    max: 100,
    scale: 1,
    say: (rate) => (rate === 0 ? t('noLimit') : String(rate)),
  },
];
const STATUSES = [301, 429, 500, 502, 503];
const DELAYS = [1, 3, 10, 60];

/** Faults that carry the real answer, so the message is always accepted. */
const CARRIERS = ['truncate', 'drip', 'http10'];

/** @param {Settings['faults']['send'][number]['fault']} fault */
function nameOf({ fault, status, delayMs = 0, accepted }) {
  const name = fault ?? status;
  if (name === undefined) return t('delayed', delayMs / 1000);
  return accepted && !CARRIERS.includes(String(fault)) ? `${name} + ${t('accepted')}` : String(name);
}

export class Conditions {
  /** @type {HTMLDialogElement} */
  #dialog;
  /** @type {HTMLElement} */
  #count;
  /** @type {Settings | undefined} */
  #settings;
  /** @type {() => void} */
  #update = () => undefined;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {HTMLElement} count shows the number of conditions that are set
   */
  constructor(dialog, count) {
    this.#dialog = dialog;
    this.#count = count;
    // A press outside the dialog closes it, as people expect.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  }

  open() {
    if (!this.#settings) return;
    this.rebuild();
    this.#dialog.showModal();
  }

  /** @param {Settings} settings */
  take(settings) {
    this.#settings = settings;
    const { send, status } = settings.faults;
    const odd = SLIDERS.filter(({ name }) => settings[name] > 0).length;
    const count = send.length + status.length + odd;
    this.#count.hidden = count === 0;
    this.#count.textContent = String(count);
    this.#update();
  }

  rebuild() {
    if (!this.#settings) return;
    /** @type {readonly { element: HTMLElement; update?: () => void }[]} */
    const parts = [
      this.#faults(this.#settings),
      this.#sliders('callbackOdds'),
      this.#sliders('gateway'),
      this.#address(),
      this.#magic(this.#settings),
    ];
    this.#dialog.replaceChildren(
      h(
        'div',
        { class: 'sheet' },
        h(
          'header',
          null,
          h('h2', { id: 'conditions-title' }, t('conditions')),
          h('button', { type: 'button', class: 'quiet', onclick: () => this.#dialog.close() }, t('close')),
        ),
        parts.map(({ element }) => element),
      ),
    );
    this.#update = () => {
      for (const { update } of parts) update?.();
    };
    this.#update();
  }

  /** @param {Settings} settings */
  #faults({ choices }) {
    const option = (/** @type {object} */ value, /** @type {string} */ word) =>
      h('option', { value: JSON.stringify(value) }, word);
    const group = (/** @type {Parameters<typeof t>[0]} */ key, /** @type {HTMLElement[]} */ options) =>
      h('optgroup', { label: t(key) }, options);
    const on = h(
      'select',
      { id: 'fault-on' },
      h('option', { value: 'send' }, t('onSend')),
      h('option', { value: 'status' }, t('onStatus')),
    );
    const what = h(
      'select',
      { id: 'fault-what' },
      group(
        'reasons',
        choices.reasons.map((reason) => option({ fault: reason }, reason)),
      ),
      group(
        'connection',
        choices.transportFaults.map((fault) => option({ fault }, fault)),
      ),
      group(
        'http',
        STATUSES.map((status) => option({ status }, String(status))),
      ),
      group(
        'slow',
        DELAYS.map((seconds) => option({ delayMs: seconds * 1000 }, t('delayed', seconds))),
      ),
    );
    what.value = JSON.stringify({ fault: 'system_error' });
    const times = h('input', { id: 'fault-times', type: 'number', min: 1, max: 1_000_000, value: 1, required: true });
    const accepted = h('input', { id: 'fault-accepted', type: 'checkbox' });
    const waiting = h('ul', { class: 'waiting' });
    const add = async (/** @type {Event} */ event) => {
      event.preventDefault();
      if (!times.validity.valid) return toast(t('wrongTimes'), true);
      const fault = { ...JSON.parse(what.value), ...(accepted.checked && { accepted: true }) };
      return post('/inbox/faults', { on: on.value, fault, times: times.valueAsNumber });
    };
    const clear = h('button', { type: 'button', onclick: () => void post('/inbox/faults/clear') }, t('clear'));
    const element = h(
      'section',
      null,
      h('h3', null, t('nextRequests')),
      h(
        'form',
        { class: 'fields', novalidate: true, onsubmit: add },
        h('label', null, h('span', null, t('on')), on),
        h('label', null, h('span', null, t('what')), what),
        h('label', { class: 'narrow' }, h('span', null, t('times')), times),
        h(
          'div',
          { class: 'end' },
          h('label', { class: 'check' }, accepted, t('accepted')),
          h('button', { type: 'submit', class: 'strong', id: 'fault-add' }, t('add')),
        ),
      ),
      h('div', { class: 'buttons' }, waiting, clear),
    );
    const update = () => {
      const { send = [], status = [] } = this.#settings?.faults ?? {};
      /** @param {string} word */
      const item =
        (word) =>
        (/** @type {Settings['faults']['send'][number]} */ { fault, times: left }) =>
          h(
            'li',
            null,
            h('b', null, nameOf(fault)),
            ' · ',
            word,
            left === 1 ? '' : ' · ' + (left === null ? t('ever') : '× ' + left),
          );
      const items = [...send.map(item(t('onSend'))), ...status.map(item(t('onStatus')))];
      waiting.replaceChildren(...(items.length ? items : [h('li', { class: 'none' }, t('noneWaiting'))]));
      clear.hidden = items.length === 0;
    };
    return { element, update };
  }

  /** @param {'callbackOdds' | 'gateway'} group */
  #sliders(group) {
    const sliders = SLIDERS.filter(({ of }) => of === group).map((slider) => {
      const id = 'set-' + slider.name;
      const input = h('input', { id, type: 'range', min: 0, max: slider.max, step: slider.step ?? 1 });
      const output = h('output', { for: id });
      const value = () => input.valueAsNumber / slider.scale;
      const say = () => {
        output.textContent = slider.say(value());
        input.setAttribute('aria-valuetext', output.textContent);
      };
      input.addEventListener('input', say);
      input.addEventListener('change', () => void post('/inbox/settings', { [slider.name]: value() }));
      const update = () => {
        const isDragged = document.activeElement === input && input.matches(':active');
        if (!isDragged) input.value = String((this.#settings?.[slider.name] ?? 0) * slider.scale);
        say();
      };
      return { update, element: h('div', { class: 'slider' }, h('label', { for: id }, t(slider.word)), input, output) };
    });
    const automatic = h('input', { id: 'set-lifecycle', type: 'checkbox' });
    automatic.addEventListener(
      'change',
      () => void post('/inbox/settings', { lifecycle: automatic.checked ? {} : false }),
    );
    return {
      element: h(
        'section',
        null,
        h('h3', null, t(group)),
        sliders.map(({ element }) => element),
        group === 'gateway' && h('label', { class: 'check' }, automatic, t('automatic')),
      ),
      update: () => {
        automatic.checked = this.#settings?.lifecycle !== false;
        for (const { update } of sliders) update();
      },
    };
  }

  #address() {
    const input = h('input', {
      id: 'set-callback',
      type: 'url',
      placeholder: 'http://127.0.0.1:3000/rt-sms/callback/…',
      autocomplete: 'off',
    });
    const save = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const url = input.value.trim();
      if (url !== '' && !(/^https?:/i.test(url) && URL.canParse(url))) toast(t('wrongUrl'), true);
      else if (await post('/inbox/settings', { callbackUrl: url || null })) toast(t('saved'));
    };
    return {
      element: h(
        'section',
        null,
        h('h3', null, h('label', { for: 'set-callback' }, t('callbackUrl'))),
        h(
          'form',
          { class: 'buttons', novalidate: true, onsubmit: save },
          input,
          h('button', { type: 'submit' }, t('save')),
        ),
      ),
      update: () => {
        if (document.activeElement !== input) input.value = this.#settings?.callbackUrl ?? '';
      },
    };
  }

  /** @param {Settings} settings */
  #magic({ choices }) {
    const rows = choices.magic.map((number) =>
      h('tr', null, h('td', null, h('code', null, number.msisdn)), h('td', null, outcomeWord(number))),
    );
    return {
      element: h(
        'section',
        null,
        h('details', null, h('summary', null, t('magic')), h('table', null, h('tbody', null, rows))),
      ),
    };
  }
}
