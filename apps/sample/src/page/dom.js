import { languageNow } from './words.js';

/** @typedef {Omit<import('../messages/message.dto.js').Message, 'createdAt' | 'updatedAt'> & { createdAt: string; updatedAt: string }} Message */
/** @typedef {import('../bulk/bulk.js').BulkAbout & import('../bulk/bulk.js').BulkProgress} Bulk */
/** @typedef {import('../bulk/bulk.js').BulkRow} BulkRow */
/** @typedef {import('../page.controller.js').About} About */

/**
 * An error of the server or of the connection to it. Its `message` is in English.
 * @typedef {object} Failure
 * @property {string} [code]
 * @property {number} [statusCode]
 * @property {string} [outcome]
 * @property {string} [reason]
 * @property {string} [rule] of the send policy
 * @property {number} [retryAfterMs]
 * @property {string} [message]
 * @property {string} [problem] reason why a CSV cannot be read
 * @property {number} [row] of the CSV
 * @property {readonly import('../rt-sms-error.filter.js').FieldProblem[]} [problems] problems of the fields
 */

/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {string | number | boolean | null | undefined | ((event: any) => unknown)} Attribute */

/**
 * Creates an element: attributes by name, 'on…' listeners as functions, children as nodes or text. It never parses markup.
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
 * Replaces the children of an element; missing and false ones are left out.
 * @param {Element} element
 * @param {...(Child | readonly Child[])} children
 */
export function fill(element, ...children) {
  const present = children.flat().filter((child) => child !== undefined && child !== null && child !== false);
  element.replaceChildren(...present.map((child) => (child instanceof Node ? child : String(child))));
}

/**
 * The element with this id, checked to be of this kind.
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
 * Writes the text only if it differs: writing the same text would clear the selection in it.
 * @param {Element | undefined} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/**
 * Sends a request and returns the body of the answer. Without an answer it returns an error; the outcome is then unknown.
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
 * The number in the form +7 927 000-00-01.
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
 * CSS class with the colours of a status.
 * @param {string} status
 */
export const toneOf = (status) => `status tone-${status}`;
