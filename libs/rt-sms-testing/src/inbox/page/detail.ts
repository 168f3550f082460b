/** The right-hand side: one message as its reader sees it, with what can be done to it, or one request. */
export const DETAIL = String.raw`import { copy, dateOf, get, h, outcomeOf, post, quoted, setText, shownNumber, shownRaw, timeOf, toast, toneOf } from './dom.js';
import { t } from './words.js';

const TICKS = { delivered: '✓✓', awaiting_report: '✓', accepted: '·', failed: '✕', rejected: '✕', insufficient_balance: '✕' };

export class Detail {
  #box;
  #page;
  /** The row in view, and whether it is a message or a request. */
  #row;
  #kind;
  #parts;
  #asking = false;
  #askAgain = false;

  constructor(box, page) {
    this.#box = box;
    this.#page = page;
  }

  showMessage(row) {
    if (this.#kind === 'message' && this.#row.uid === row.uid) return;
    this.#kind = 'message';
    this.#row = row;
    this.#build();
    void this.#ask();
  }

  showRequest(row) {
    this.#kind = 'request';
    this.#row = row;
    this.#build();
    void this.#ask();
  }

  /** News of a message, maybe of the one in view. */
  changed(row) {
    if (this.#kind !== 'message' || this.#row.uid !== row.uid) return;
    this.#row = row;
    this.#fill();
    void this.#ask();
  }

  /** Anew, as when the language changed. */
  rebuild() {
    if (!this.#row) return;
    this.#build();
    void this.#ask();
  }

  async push(uid, status, details = {}) {
    const answer = await post('/inbox/messages/' + encodeURIComponent(uid) + '/report', { status, ...details });
    if (answer) toast(details.lost ? t('pushedLost', status) : t('pushed', status));
  }

  /** One question at a time: under fire the last answer is the one that counts. */
  async #ask() {
    if (this.#asking) {
      this.#askAgain = true;
      return;
    }
    this.#asking = true;
    const row = this.#row;
    const path = this.#kind === 'message' ? '/inbox/messages/' + encodeURIComponent(row.uid)
      : '/inbox/exchanges/' + encodeURIComponent(row.requestId) + (row.uid === undefined ? '' : '?uid=' + encodeURIComponent(row.uid));
    const found = await get(path).catch(() => undefined);
    this.#asking = false;
    if (this.#row === row) this.#fill(found);
    if (this.#askAgain || this.#row !== row) {
      this.#askAgain = false;
      void this.#ask();
    }
  }

  #build() {
    const back = h('button', { type: 'button', class: 'back quiet', onclick: () => this.#page.back() }, '← ' + t('back'));
    this.#parts = this.#kind === 'message' ? this.#messageParts() : { exchanges: h('div', { class: 'exchanges' }) };
    const { phone, actions, facts, callbacks, exchanges } = this.#parts;
    const titled = (key, ...content) => h('section', { class: 'card' }, h('h2', null, t(key)), content);
    this.#box.replaceChildren(
      back,
      ...(this.#kind === 'message'
        ? [
            h('div', { class: 'pair' }, phone, actions),
            titled('facts', facts),
            titled('callbacks', callbacks),
          ]
        : []),
      titled('exchanges', exchanges),
    );
    this.#fill();
  }

  #messageParts() {
    const err = h('input', { id: 'push-err', type: 'text', maxlength: 20, value: '11', size: 4, autocomplete: 'off' });
    const other = h('input', { id: 'push-other', type: 'text', maxlength: 64, placeholder: t('other'), 'aria-label': t('other'), autocomplete: 'off' });
    const lose = h('input', { id: 'push-lose', type: 'checkbox' });
    const push = (status) => this.push(this.#row.uid, status, { lost: lose.checked, ...(status === 'rejected' && err.value && { err: err.value }) });
    const button = (status) => h('button', { type: 'button', class: 'push ' + toneOf(status), 'data-push': status, onclick: () => void push(status) }, status);
    const resend = async () => {
      if (await post('/inbox/messages/' + encodeURIComponent(this.#row.uid) + '/resend')) toast(t('resent'));
    };
    const warning = h('p', { class: 'warning', hidden: true }, t('noCallbackUrl'));
    return {
      phone: h('div', { class: 'phone', role: 'group', 'aria-label': t('phone') },
        h('div', { class: 'screen' }, h('div', { class: 'who' }), h('div', { class: 'thread', tabindex: 0, role: 'log', 'aria-live': 'off', 'aria-label': t('phone') }))),
      warning,
      actions: h('section', { class: 'card actions' },
        h('h2', null, t('push')),
        h('div', { class: 'buttons' }, ['delivered', 'awaiting_report', 'failed', 'insufficient_balance'].map(button)),
        h('div', { class: 'buttons' }, button('rejected'), h('label', { for: 'push-err' }, t('errCode')), err),
        h('form', { class: 'buttons', onsubmit: (event) => { event.preventDefault(); if (other.value.trim()) void push(other.value.trim()); } },
          other, h('button', { type: 'submit' }, t('pushOther'))),
        h('div', { class: 'buttons apart' },
          h('label', { class: 'check' }, lose, t('loseIt')),
          h('button', { type: 'button', id: 'resend', onclick: () => void resend() }, t('resend'))),
        warning),
      facts: h('dl'),
      callbacks: h('ol', { class: 'calls' }),
      exchanges: h('div', { class: 'exchanges' }),
    };
  }

  /** found: what the server says of it in full; without it what the list knows will do. */
  #fill(found) {
    if (this.#kind === 'request') {
      if (found) this.#fillExchanges([found], true);
      return;
    }
    const message = { ...this.#row, ...found?.message };
    this.#fillPhone(message);
    this.#fillFacts(message);
    this.#parts.warning.hidden = this.#page.settings()?.callbackUrl !== null;
    if (!found) return;
    this.#fillCallbacks(found.callbacks);
    this.#fillExchanges(found.exchanges, false);
  }

  #fillPhone(message) {
    const [who, thread] = this.#parts.phone.firstChild.children;
    who.replaceChildren(h('span', { class: 'face' }, [...message.shortcode][0] ?? '?'), h('b', null, message.shortcode), h('small', null, shownNumber(message.msisdn)));
    const rows = this.#page.thread(this.#row);
    thread.replaceChildren(...rows.map((row) => {
      const current = row.uid === this.#row.uid;
      return h('div', { class: current ? 'bubble current' : 'bubble' },
        h('p', null, current ? message.text : row.text),
        h('small', { class: 'tick ' + toneOf(row.status) }, timeOf(row.at) + ' ' + (TICKS[row.status] ?? '?')));
    }));
    thread.scrollTop = thread.scrollHeight;
  }

  #fillFacts(message) {
    const copyUid = h('button', { type: 'button', class: 'quiet small', onclick: () => void copy(message.uid) }, t('copyUid'));
    const facts = [
      [t('status'), h('span', { class: 'status ' + toneOf(message.status), id: 'detail-status' }, message.err === undefined ? message.status : message.status + ' ' + message.err)],
      ['uid', h('code', null, message.uid), copyUid],
      [t('number'), shownNumber(message.msisdn)],
      [t('sender'), message.shortcode],
      [t('segments'), String(this.#row.segments)],
      [t('created'), dateOf(this.#row.at)],
      [t('updated'), dateOf(this.#row.changedAt)],
      ...(message.credentials ? [[t('credentials'), t(message.credentials)], ['x-request-id', h('code', null, message.requestId)]] : []),
    ];
    // What has the focus or is selected must not be taken away for the sake of the same words.
    const flat = facts.map(([name, ...values]) => name + values.map((value) => value.textContent ?? value).join()).join('\n');
    if (this.#parts.facts.dataset.shown === flat) return;
    this.#parts.facts.dataset.shown = flat;
    this.#parts.facts.replaceChildren(...facts.map(([name, ...values]) => h('div', null, h('dt', null, name), h('dd', null, values))));
  }

  #fillCallbacks(callbacks) {
    const flat = JSON.stringify(callbacks);
    const { callbacks: box } = this.#parts;
    if (box.dataset.shown === flat) return;
    box.dataset.shown = flat;
    if (callbacks.length === 0) {
      box.replaceChildren(h('li', { class: 'none' }, t('noCallbacks')));
      return;
    }
    box.replaceChildren(...callbacks.map((callback) => {
      const { word, tone } = outcomeOf(callback);
      const url = shownRaw(callback.url);
      return h('li', null,
        h('time', null, timeOf(new Date(callback.sentAt))),
        h('span', { class: 'status ' + toneOf(callback.status) }, callback.status),
        h('i', { class: tone }, '→ ' + word),
        callback.copy && h('small', null, t('copyOf')),
        callback.error !== undefined && h('small', null, callback.error),
        h('code', { class: 'url' }, 'GET ' + url),
        h('button', { type: 'button', class: 'quiet small', onclick: () => void copy('curl ' + quoted(callback.url)) }, t('copyCurl')));
    }));
  }

  #fillExchanges(exchanges, opened) {
    const box = this.#parts.exchanges;
    const known = new Set([...box.children].map((element) => element.dataset.request));
    for (const exchange of exchanges) {
      if (!known.has(exchange.requestId)) box.append(this.#exchange(exchange, opened));
    }
  }

  #exchange(exchange, opened) {
    const { method, path, status, fault } = exchange;
    const command = shownRaw(this.#curlOf(exchange));
    const head = (flat) => flat.reduce((text, part, n) => text + part + (n % 2 ? '\n' : ': '), '');
    const request = method + ' ' + path + ' HTTP/1.1\n' + head(exchange.requestHeaders) + '\n' + exchange.requestBody;
    const answer = status === undefined ? t('noAnswer') : 'HTTP/1.1 ' + status + '\n' + head(exchange.responseHeaders) + '\n' + exchange.responseBody;
    const raw = (key, text) => [h('h3', null, t(key)), h('pre', { tabindex: 0, 'aria-label': t(key) }, shownRaw(text))];
    return h('details', { open: opened, 'data-request': exchange.requestId },
      h('summary', null,
        h('b', null, method), ' ', h('span', { class: 'code ' + (status === 200 ? 'good' : 'bad') }, status === undefined ? '—' : String(status)), ' ',
        h('time', null, timeOf(new Date(exchange.at))), ' ',
        fault && h('span', { class: 'status tone-failed' }, t('fault') + ': ' + (fault.fault ?? fault.status ?? fault.delayMs + ' ' + t('ms')))),
      raw('request', request),
      raw('answer', answer),
      h('h3', null, 'curl'),
      h('pre', { tabindex: 0, 'aria-label': t('curl'), class: 'curl' }, command),
      h('button', { type: 'button', onclick: () => void copy(command) }, t('copyCurl')));
  }

  /** With the credentials left to the shell's variables. */
  #curlOf({ method, path, requestHeaders, requestBody }) {
    const headers = [];
    for (let n = 0; n < requestHeaders.length; n += 2) headers.push([requestHeaders[n].toLowerCase(), requestHeaders[n + 1]]);
    const type = headers.find(([name]) => name === 'content-type')?.[1];
    return [
      'curl' + (method === 'GET' || (method === 'POST' && requestBody) ? '' : ' -X ' + method),
      headers.some(([name]) => name === 'authorization') && '-u "$RT_SMS_LOGIN:$RT_SMS_PASSWORD"',
      type && '-H ' + quoted('content-type: ' + type),
      requestBody && '--data-raw ' + quoted(requestBody),
      quoted(new URL(path, this.#page.settings()?.url ?? location.href).href),
    ].filter(Boolean).join(' \\\n  ');
  }
}
`;
