/** Small means that all of the page share. */
export const DOM = String.raw`import { t } from './words.js';

/** An element: attributes by name, 'on…' listeners by function, children as nodes or as text. Never markup. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Writes only what differs: a text that is set anew would end the selection in it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let toastTimer;
export function toast(text, isError = false) {
  const box = byId('toast');
  box.textContent = text;
  box.className = isError ? 'toast shown error' : 'toast shown';
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (box.className = 'toast'), isError ? 6000 : 1800);
}

export async function get(path) {
  const response = await fetch(path);
  return response.ok ? response.json() : undefined;
}

/** Undefined where it failed; the person has been told. */
export async function post(path, body = {}) {
  try {
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (response.ok) return answer;
    toast(answer.error, true);
  } catch {
    toast(t('gone'), true);
  }
  return undefined;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages that came over http from another machine.
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
export function setMasking(on) {
  masking = on;
  localStorage.setItem('inbox.mask', on ? 'yes' : 'no');
}

/** +7 927 000-00-01, masked +7 927 •••-••-01. */
export function shownNumber(msisdn) {
  const hidden = masking ? msisdn.slice(0, 4) + '•'.repeat(Math.max(0, msisdn.length - 6)) + msisdn.slice(-2) : msisdn;
  const russian = hidden.length === 11 && hidden[0] === '7';
  return '+' + (russian ? hidden.replace(/^(.)(...)(...)(..)(..)$/, '$1 $2 $3-$4-$5') : hidden);
}

/** A raw text as it may be shown: while numbers are masked, those in it are too. */
export function shownRaw(text) {
  if (!masking) return text;
  return text.replace(/(?<![\w.])\d{11,15}(?![\w.])/g, (digits) => digits.slice(0, 4) + '*'.repeat(digits.length - 6) + digits.slice(-2));
}

export const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

let clock, calendar;
export function setClock(language) {
  clock = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  calendar = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
}
export const timeOf = (at) => clock.format(at);
export const dateOf = (at) => calendar.format(at);

const KNOWN = new Set(['accepted', 'delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected']);
/** The class that gives a status its colours. */
export const toneOf = (status) => 'tone-' + (KNOWN.has(status) ? status : 'other');

/** What came of a callback, in a word: 200, lost, failed, … while it is under way. */
export function outcomeOf(callback) {
  if (callback.lost) return { word: t('lost'), tone: 'warn' };
  if (callback.code !== undefined) return { word: String(callback.code), tone: callback.code < 300 ? 'good' : 'bad' };
  return callback.failed || callback.error !== undefined ? { word: t('failedCall'), tone: 'bad' } : { word: '…', tone: 'wait' };
}
`;
