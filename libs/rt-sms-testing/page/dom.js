import { languageNow, t } from './words.js';

/**
 * A type after its way through JSON: dates are strings.
 * @template T
 * @typedef {T extends Date ? string : T extends object ? { [K in keyof T]: Json<T[K]> } : T} Json
 */
/** @typedef {import('../src/inbox/journal.js').MessageRow} MessageRow */
/** @typedef {import('../src/inbox/journal.js').RequestRow} RequestRow */
/** @typedef {import('../src/inbox/inbox.js').InboxSettings} Settings */
/** @typedef {Json<import('../src/exchange.js').SimulatedExchange>} Exchange */
/** @typedef {Json<import('../src/messages.js').SimulatedCallback>} Callback */
/** @typedef {Json<import('../src/messages.js').SimulatedMessage>} Message */

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
  for (const child of children.flat()) {
    if (child !== undefined && child !== null && child !== false)
      element.append(child instanceof Node ? child : String(child));
  }
  return element;
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

/** @type {number | undefined} */
let toastTimer;

/** @param {string} text */
export function toast(text, isError = false) {
  const box = byId('toast');
  box.textContent = text;
  box.className = isError ? 'toast shown error' : 'toast shown';
  window.clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => (box.className = 'toast'), isError ? 6_000 : 1_800);
}

/**
 * The JSON at this path, undefined if there is none.
 * @param {string} path
 */
export async function get(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Posts JSON. Returns true on success; otherwise it shows the reason and returns false.
 * @param {string} path
 */
export async function post(path, body = {}) {
  try {
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (response.ok) return true;
    // The server's messages are in English; for a deleted entry, which is common, the page has a translated text.
    toast(response.status === 404 ? t('notKept') : `${t('refused')} ${(await response.json()).error}`, true);
  } catch {
    toast(t('gone'), true);
  }
  return false;
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers deny the clipboard to pages loaded over http from another machine.
    const area = h('textarea', { 'aria-hidden': 'true', class: 'unseen' }, text);
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  toast(t('copied'));
}

let masking = localStorage.getItem('inbox.mask') !== 'no';
export const isMasking = () => masking;
/** @param {boolean} on */
export function setMasking(on) {
  masking = on;
  localStorage.setItem('inbox.mask', on ? 'yes' : 'no');
}

/**
 * The number in the form +7 927 000-00-01, masked +7 927 •••-••-01.
 * @param {string} msisdn
 */
export function shownNumber(msisdn) {
  const hidden = masking ? msisdn.slice(0, 4) + '•'.repeat(Math.max(0, msisdn.length - 6)) + msisdn.slice(-2) : msisdn;
  const russian = hidden.length === 11 && hidden[0] === '7';
  return '+' + (russian ? hidden.replace(/^(.)(...)(...)(..)(..)$/, '$1 $2 $3-$4-$5') : hidden);
}

/**
 * A raw text for display: while masking is on, the numbers in it are masked too.
 * @param {string} text
 */
export function shownRaw(text) {
  if (!masking) return text;
  return text.replace(
    /(?<![\w.])\d{11,15}(?![\w.])/g,
    (digits) => digits.slice(0, 4) + '*'.repeat(digits.length - 6) + digits.slice(-2),
  );
}

/** @param {string} text */
export const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

/** @param {number} count */
export const shownCount = (count) => count.toLocaleString(languageNow());

/** @type {Intl.DateTimeFormat} */
let clock;
/** @type {Intl.DateTimeFormat} */
let calendar;

/** @param {string} language */
export function setClock(language) {
  /** @type {Intl.DateTimeFormatOptions} */
  const time = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
  clock = new Intl.DateTimeFormat(language, time);
  calendar = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', ...time });
}
/** @param {Date | number} at */
export const timeOf = (at) => clock.format(at);
/** @param {Date | number} at */
export const dateOf = (at) => calendar.format(at);

const KNOWN = new Set(['accepted', 'delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected']);
/**
 * CSS class with the colours of a status.
 * @param {string} status
 */
export const toneOf = (status) => 'tone-' + (KNOWN.has(status) ? status : 'other');

/**
 * Result of a callback in a word: 200, lost, failed, or … while it is in flight.
 * @param {{ code?: number | undefined; lost: boolean; failed?: boolean; error?: string }} callback
 */
export function outcomeOf({ code, lost, failed, error }) {
  if (lost) return { word: t('lost'), tone: 'warn' };
  if (code !== undefined) return { word: String(code), tone: code < 300 ? 'good' : 'bad' };
  return failed || error !== undefined ? { word: t('failedCall'), tone: 'bad' } : { word: '…', tone: 'wait' };
}

/** The uid of a client's access check: it has the format of a uid, but is never assigned to a message. */
const PROBE = 'message-id-000000000000';
/**
 * True for an access check with the expected answer.
 * @param {{ uid: string | undefined; reason: string | undefined }} request
 */
export const isProbe = ({ uid, reason }) => uid === PROBE && reason === 'transaction_not_found';
