import { languageNow } from './words.js';

/** @typedef {Omit<import('../messages/message.dto.js').Message, 'createdAt' | 'updatedAt'> & { createdAt: string; updatedAt: string }} Message */
/** @typedef {import('../bulk/bulk.js').BulkAbout & import('../bulk/bulk.js').BulkProgress} Bulk */
/** @typedef {import('../bulk/bulk.js').BulkRow} BulkRow */
/** @typedef {import('../page.controller.js').About} About */

/**
 * An error of the server, or of the way to it. Its `message` is English.
 * @typedef {object} Failure
 * @property {string} [code]
 * @property {number} [statusCode]
 * @property {string} [outcome]
 * @property {string} [reason]
 * @property {string} [message]
 * @property {string} [problem] why a CSV cannot be read
 * @property {number} [row] of the CSV
 * @property {readonly import('../rt-sms-error.filter.js').FieldProblem[]} [problems] what is wrong with which field
 */

/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {string | number | boolean | null | undefined | ((event: any) => unknown)} Attribute */

/**
 * An element: attributes by name, 'on…' listeners by function, children as nodes or as text. Never markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Readonly<Record<string, Attribute>> | null} [attributes]
 * @param {...(Child | readonly Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  fill(element, ...children);
  return element;
}

/**
 * Gives an element these children in place of those that it has; what is missing or false is left out.
 * @param {Element} element
 * @param {...(Child | readonly Child[])} children
 */
export function fill(element, ...children) {
  const present = children.flat().filter((child) => child !== undefined && child !== null && child !== false);
  element.replaceChildren(...present.map((child) => (child instanceof Node ? child : String(child))));
}

/**
 * The element of that id, which is in the page, as one of that kind.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof (kind ?? HTMLElement))) throw new TypeError(`#${id} is not in the page`);
  return /** @type {T} */ (element);
}

/**
 * Writes only what differs: a text that is set anew would end the selection in it.
 * @param {Element | undefined} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/**
 * The body of the answer, `ok` beside it; without an answer, an error after which it is not known what was done.
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<{ ok: true; body: any } | { ok: false; error: Failure }>}
 */
export async function ask(path, options) {
  try {
    const response = await fetch(path, options);
    const body = await response.json();
    return response.ok ? { ok: true, body } : { ok: false, error: body };
  } catch {
    return { ok: false, error: { code: 'NO_ANSWER', ...(options?.method === 'POST' && { outcome: 'unknown' }) } };
  }
}

/**
 * @param {string} path
 * @param {object} body
 */
export const postJson = (path, body) =>
  ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/**
 * +7 927 000-00-01
 * @param {string} msisdn
 */
export function shownNumber(msisdn) {
  const russian = /^7\d{10}$/.test(msisdn);
  if (russian) return msisdn.replace(/^(.)(...)(...)(..)(..)$/, '+$1 $2 $3-$4-$5');
  return /^\d+$/.test(msisdn) ? `+${msisdn}` : msisdn;
}

/** @param {number} count */
export const shownCount = (count) => count.toLocaleString(languageNow());

/** @param {string} iso */
export function timeOf(iso) {
  /** @type {Intl.DateTimeFormatOptions} */
  const clock = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
  return new Intl.DateTimeFormat(languageNow(), clock).format(new Date(iso));
}

/**
 * The class that gives a status its colours.
 * @param {string} status
 */
export const toneOf = (status) => `status tone-${status}`;
