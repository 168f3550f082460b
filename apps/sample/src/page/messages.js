import { ask, byId, fill, h, setText, shownNumber, timeOf, toneOf } from './dom.js';
import { happened, t, whatToDo } from './words.js';

/** @typedef {import('./dom.js').Message} Message */
/** @typedef {{ element: HTMLLIElement; message: Message }} Entry */

/** Maximum of shown messages; older ones are available through the API. */
const SHOWN = 200;

/**
 * Shown messages by id; the list has the newest first.
 * @type {Map<string, Entry>}
 */
const shown = new Map();
/** @type {Map<string, (message: Message) => void>} */
const watchers = new Map();
/** @type {Map<string, Message>} */
const waiting = new Map();
let drawing = false;
let isLive = false;

/**
 * Calls `changed` with the message of that id each time it changes.
 * @param {string} id
 * @param {(message: Message) => void} changed
 */
export function watch(id, changed) {
  watchers.clear();
  watchers.set(id, changed);
  const known = shown.get(id);
  if (known) changed(known.message);
}

/**
 * Draws the messages at most once per frame, even if updates arrive faster.
 * @param {readonly Message[]} messages
 */
export function take(messages) {
  for (const message of messages) {
    const known = waiting.get(message.id) ?? shown.get(message.id)?.message;
    if (!known || known.updatedAt <= message.updatedAt) waiting.set(message.id, message);
  }
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  const list = byId('messages');
  // With many new messages, only those that would stay are added; they arrive in the order in which they began.
  const news = [...waiting.values()].filter(({ id }) => !shown.has(id));
  for (const { id } of news.slice(0, -SHOWN)) if (!watchers.has(id)) waiting.delete(id);
  for (const message of waiting.values()) {
    let entry = shown.get(message.id);
    if (!entry) {
      entry = { element: make(), message };
      shown.set(message.id, entry);
      place(list, entry);
    }
    entry.message = message;
    write(entry);
    watchers.get(message.id)?.(message);
  }
  waiting.clear();
  while (list.children.length > SHOWN) {
    const last = /** @type {HTMLElement} */ (list.lastElementChild);
    shown.delete(last.dataset['id'] ?? '');
    last.remove();
  }
  byId('empty').hidden = shown.size > 0 || !isLive;
  byId('older').hidden = shown.size < SHOWN;
  byId('older').textContent = t('older', SHOWN);
}

function make() {
  return h(
    'li',
    null,
    h('time'),
    h('b', { class: 'msisdn' }),
    h('span', { class: 'shortcode' }),
    h('span', { class: 'status' }),
    h('p', { class: 'text' }),
    h('small', { class: 'segments' }),
    h('p', { class: 'trouble' }),
  );
}

/**
 * Inserts a message at its place, which is mostly the top.
 * @param {HTMLElement} list
 * @param {Entry} entry
 */
function place(list, { element, message }) {
  element.dataset['id'] = message.id;
  element.dataset['at'] = message.createdAt;
  const isNewer = (/** @type {Element} */ other) => (other.getAttribute('data-at') ?? '') > message.createdAt;
  let before = list.firstElementChild;
  while (before && isNewer(before)) before = before.nextElementSibling;
  list.insertBefore(element, before);
}

/** @param {Entry} entry */
function write({ element, message }) {
  const [at, msisdn, shortcode, status, text, segments, trouble] = /** @type {HTMLCollectionOf<HTMLElement>} */ (
    element.children
  );
  setText(at, timeOf(message.createdAt));
  at?.setAttribute('datetime', message.createdAt);
  setText(msisdn, shownNumber(message.msisdn));
  setText(shortcode, message.shortcode ?? '');
  setText(text, message.text);
  setText(segments, t('segmentsOf', message.segments));
  setText(status, statusOf(message));
  status?.setAttribute('class', toneOf(message.status));
  if (!trouble) return;
  trouble.hidden = !message.error;
  if (message.error) fill(trouble, troubleOf(message.error));
}

/** @param {Message} message */
const statusOf = ({ status, errorCode }) => t('status', status) + (errorCode === undefined ? '' : ` ${errorCode}`);

/**
 * Shows an error: outcome, code, advice and description.
 * @param {import('./dom.js').Failure} error
 */
export function troubleOf(error) {
  const { code, outcome, reason, rule } = error;
  return [
    h('b', null, t('outcome', outcome ?? 'none')),
    ' ',
    h('code', null, [code, reason, rule].filter(Boolean).join(' · ')),
    h('span', { class: 'do' }, t('toDo'), ' ', whatToDo(error)),
    h('small', null, happened(error)),
  ];
}

/** @param {Message} message */
export function chip(message) {
  return h('span', { class: toneOf(message.status) }, statusOf(message));
}

/** Loads messages that the event stream missed: from before the page was opened, or while it was disconnected. */
async function load() {
  const answer = await ask(`/messages?limit=${SHOWN}`);
  if (answer.ok) take(answer.body.toReversed());
  draw();
}

export function listen() {
  const source = new EventSource('/messages/changes');
  source.addEventListener('open', () => {
    setLive(true);
    void load();
  });
  source.addEventListener('message', ({ data }) => take(JSON.parse(data)));
  source.addEventListener('error', () => setLive(false));
}

/** @param {boolean} now */
function setLive(now) {
  isLive = now;
  byId('live').className = now ? 'live on' : 'live';
  byId('live').textContent = t(now ? 'live' : 'lostLine');
}

document.addEventListener('translated', () => {
  setLive(isLive);
  for (const entry of shown.values()) write(entry);
  draw();
});
