import { languageNow } from './words.js';

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

/** The body of the answer, `ok` beside it; without an answer, an error of which nobody can know what became. */
export async function ask(path, options) {
  try {
    const response = await fetch(path, options);
    const body = await response.json();
    return response.ok ? { ok: true, body } : { ok: false, error: body };
  } catch {
    return { ok: false, error: { code: 'NO_ANSWER', outcome: options?.method === 'POST' ? 'unknown' : undefined } };
  }
}

export const postJson = (path, body) =>
  ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** +7 927 000-00-01 */
export function shownNumber(msisdn) {
  const russian = /^7\d{10}$/.test(msisdn);
  if (russian) return msisdn.replace(/^(.)(...)(...)(..)(..)$/, '+$1 $2 $3-$4-$5');
  return /^\d+$/.test(msisdn) ? `+${msisdn}` : msisdn;
}

export const shownCount = (count) => count.toLocaleString(languageNow());

export function timeOf(iso) {
  const clock = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
  return new Intl.DateTimeFormat(languageNow(), clock).format(new Date(iso));
}

/** The class that gives a status its colours. */
export const toneOf = (status) => `status tone-${status}`;
