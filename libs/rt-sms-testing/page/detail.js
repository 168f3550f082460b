/** The right-hand side: one message as its recipient sees it, with the possible actions, or one request. */
import { get, h, post, toast } from './dom.js';
import { exchangeElement } from './exchange.js';
import { MessageView } from './message.js';
import { statusWord, t } from './words.js';

/** @typedef {import('./dom.js').MessageRow} MessageRow */
/** @typedef {import('./dom.js').RequestRow} RequestRow */

/**
 * @typedef {object} Around parts of the page that the details use
 * @property {() => import('./dom.js').Settings | undefined} settings
 * @property {(row: MessageRow) => MessageRow[]} thread the messages from the same sender to the same recipient
 * @property {() => void} back
 */

export class Detail {
  /** @type {HTMLElement} */
  #box;
  /** @type {Around} */
  #around;
  /** @type {{ message: MessageRow } | { request: RequestRow } | undefined} */
  #shown;
  /** @type {((found?: any) => void) | undefined} */
  #fill;
  #asking = false;
  #askAgain = false;

  /**
   * @param {HTMLElement} box
   * @param {Around} around
   */
  constructor(box, around) {
    this.#box = box;
    this.#around = around;
  }

  /** @param {MessageRow} message */
  showMessage(message) {
    if (this.#uid === message.uid) return;
    this.#shown = { message };
    this.rebuild();
  }

  /** @param {RequestRow} request */
  showRequest(request) {
    this.#shown = { request };
    this.rebuild();
  }

  /**
   * Handles a change of a message, possibly the one in view.
   * @param {MessageRow} message
   */
  changed(message) {
    if (this.#uid !== message.uid) return;
    this.#shown = { message };
    this.#fill?.();
    void this.#load();
  }

  /** Builds all elements again, for example after the language changed. */
  rebuild() {
    if (!this.#shown) return;
    const back = h(
      'button',
      { type: 'button', class: 'back quiet', onclick: () => this.#around.back() },
      `← ${t('back')}`,
    );
    const exchanges = h('div', { class: 'exchanges' });
    /** @param {readonly import('./dom.js').Exchange[]} found */
    const fillExchanges = (found, opened = false) => {
      const known = new Set(Array.from(exchanges.querySelectorAll('details'), ({ dataset }) => dataset['request']));
      const news = found.filter(({ requestId }) => !known.has(requestId));
      exchanges.append(...news.map((exchange) => exchangeElement(exchange, opened, this.#around.settings()?.url)));
    };
    const card = h('section', { class: 'card' }, h('h2', null, t('exchanges')), exchanges);
    if ('message' in this.#shown) {
      const view = new MessageView(this.#around, (status, details) => void this.push(this.#uid ?? '', status, details));
      this.#box.replaceChildren(back, ...view.elements, card);
      this.#fill = (found) => {
        if (!this.#shown || !('message' in this.#shown)) return;
        view.fill(this.#shown.message, found);
        if (found) fillExchanges(found.exchanges);
      };
    } else {
      this.#box.replaceChildren(back, card);
      this.#fill = (found) => found && fillExchanges([found], true);
    }
    this.#fill();
    void this.#load();
  }

  /**
   * @param {string} uid
   * @param {string} status
   * @param {{ lost?: boolean; err?: string }} details
   */
  async push(uid, status, details = {}) {
    if (!(await post(`/inbox/messages/${encodeURIComponent(uid)}/report`, { status, ...details }))) return;
    toast(t(details.lost ? 'pushedLost' : 'pushed', statusWord(status)));
  }

  /** Uid of the message in view. */
  get #uid() {
    return this.#shown && 'message' in this.#shown ? this.#shown.message.uid : undefined;
  }

  get #path() {
    if (!this.#shown) return '';
    if ('message' in this.#shown) return `/inbox/messages/${encodeURIComponent(this.#shown.message.uid)}`;
    const { requestId, uid } = this.#shown.request;
    const path = `/inbox/exchanges/${encodeURIComponent(requestId)}`;
    return uid === undefined ? path : `${path}?uid=${encodeURIComponent(uid)}`;
  }

  /** Loads the details, one request at a time: with many changes only the last answer counts. */
  async #load() {
    if (this.#asking) {
      this.#askAgain = true;
      return;
    }
    this.#asking = true;
    const shown = this.#shown;
    const found = await get(this.#path);
    this.#asking = false;
    if (this.#shown === shown) this.#fill?.(found);
    if (this.#askAgain || this.#shown !== shown) {
      this.#askAgain = false;
      void this.#load();
    }
  }
}
