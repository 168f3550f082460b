/** Puts the page together and keeps it up to date. */
import { byId, copy, isMasking, quoted, setClock, setMasking, shownCount } from './dom.js';
import { showChips } from './chips.js';
import { Conditions } from './conditions.js';
import { Detail } from './detail.js';
import { VirtualList } from './list.js';
import { cells, fillMessage, fillRequest, haystackOf } from './rows.js';
import { languageNow, t, translate } from './words.js';

const KEPT_REQUESTS = 200;

/** @typedef {import('./dom.js').MessageRow} MessageRow */
/** @typedef {import('./dom.js').RequestRow} RequestRow */
/** @typedef {'messages' | 'requests'} View */

/** @type {Readonly<Record<string, string>>} */
const STATUS_OF_KEY = { d: 'delivered', f: 'failed', r: 'rejected', a: 'awaiting_report' };

/**
 * Messages by uid, oldest first, as the server sent them; `requests` holds the requests by their id.
 * @type {Map<string, MessageRow>}
 */
let messages = new Map();
/** @type {Map<string, RequestRow>} */
const requests = new Map();
/** @type {import('./dom.js').Settings | undefined} */
let settings;
let keeps = 10_000;
/** @type {View} */
let view = 'messages';
let onlyStatus = '';
/** True until a person chooses a message: the newest message is shown. */
let following = true;
let unseen = 0;

const search = byId('search', HTMLInputElement);

const detail = new Detail(byId('detail'), {
  settings: () => settings,
  /** @param {MessageRow} row */
  thread: ({ msisdn, shortcode, at }) =>
    [...messages.values()]
      .filter((row) => row.msisdn === msisdn && row.shortcode === shortcode && row.at <= at)
      .slice(-6),
  back: leave,
});
const conditions = new Conditions(byId('conditions'), byId('conditions-count'));

const lists = {
  messages: new VirtualList(byId('messages'), {
    keyOf: (row) => row.uid,
    make: cells('row message', 'at', 'msisdn', 'shortcode', 'text', 'segments', 'status', 'callbacks'),
    fill: fillMessage,
    pick: (row, follow) => chooseMessage(row, follow),
    open,
  }),
  requests: new VirtualList(byId('requests'), {
    keyOf: (row) => row.requestId,
    make: cells('row request', 'at', 'method', 'path', 'code', 'reason'),
    fill: fillRequest,
    pick: chooseRequest,
    open,
  }),
};

let refreshing = false;
/** Redraws at most once per frame, even if updates arrive faster. */
function refresh() {
  if (refreshing) return;
  refreshing = true;
  requestAnimationFrame(() => {
    refreshing = false;
    show();
  });
}

function show() {
  const wanted = search.value.trim().toLowerCase();
  const digits = wanted.replace(/[\s()+•-]/g, '');
  /** @param {MessageRow | RequestRow} row */
  const fits = (row) => {
    const text = haystackOf(row);
    return text.includes(wanted) || (/^\d{4,}$/.test(digits) && text.includes(digits));
  };
  /**
   * @template {MessageRow | RequestRow} Row
   * @param {Map<string, Row>} rows
   */
  const found = (rows) => [...rows.values()].filter((row) => wanted === '' || fits(row)).toReversed();
  const all = view === 'messages' ? messages.size : requests.size;
  const searched = view === 'messages' ? found(messages) : [];
  const shownMessages = onlyStatus ? searched.filter(({ status }) => status === onlyStatus) : searched;
  const shownRequests = view === 'requests' ? found(requests) : [];
  const shown = view === 'messages' ? shownMessages.length : shownRequests.length;
  byId('count-messages').textContent = shownCount(messages.size);
  byId('count-requests').textContent = shownCount(requests.size);
  byId('messages').hidden = view !== 'messages' || shown === 0;
  byId('requests').hidden = view !== 'requests' || shown === 0;
  byId('empty').hidden = settings === undefined || all > 0 || view !== 'messages';
  byId('nothing').hidden = shown > 0 || !byId('empty').hidden || settings === undefined;
  byId('keys').hidden = view !== 'messages';
  byId('columns').hidden = view !== 'messages' || shown === 0;
  if (view === 'messages') showChips(byId('chips'), searched, onlyStatus, showOnly);
  byId('chips').hidden = view !== 'messages' || all === 0;
  if (view === 'messages') lists.messages.set(shownMessages);
  else lists.requests.set(shownRequests);
  if (lists[view].atTop) unseen = 0;
  byId('fresh').hidden = unseen === 0 || view !== 'messages';
  if (unseen > 0) byId('fresh').textContent = t('newer', shownCount(unseen));
  const [first] = shownMessages;
  if (following && first && first.uid !== lists.messages.selected) chooseMessage(first, true);
}

/**
 * Shows only the messages with this status, or all of them if it is chosen already.
 * @param {string} status
 */
function showOnly(status) {
  onlyStatus = onlyStatus === status ? '' : status;
  refresh();
}

/** @param {MessageRow} row */
function chooseMessage(row, follow = false) {
  following = follow;
  lists.messages.select(row.uid);
  if (!follow) history.replaceState(null, '', `#${row.uid}`);
  detail.showMessage(row);
}

/** @param {RequestRow} row */
function chooseRequest(row) {
  following = false;
  lists.requests.select(row.requestId);
  detail.showRequest(row);
}

/** Opens the details, which replace the list on a small screen. */
function open() {
  document.body.classList.add('reading');
  byId('detail').scrollTop = 0;
  if (matchMedia('(max-width: 760px)').matches) byId('detail').focus();
}

function leave() {
  document.body.classList.remove('reading');
  byId(view).focus();
}

/**
 * Handles the list's keys while the list, the details or nothing (as after loading the page) has the focus.
 * @param {KeyboardEvent} event
 */
function keyOfList(event) {
  const at = /** @type {Element} */ (event.target);
  const box = byId(view);
  if (at.matches('body') && !box.hidden) {
    lists[view].key(event);
    if (event.defaultPrevented) box.focus();
  }
  const status = STATUS_OF_KEY[event.key];
  const row = lists.messages.chosen;
  const isModified = event.ctrlKey || event.metaKey || event.altKey;
  if (!status || !row || view !== 'messages' || isModified || !(at.matches('body') || at.closest('#messages, #detail')))
    return;
  event.preventDefault();
  following = false;
  void detail.push(row.uid, status);
}

/** @param {View} to */
function switchTo(to) {
  view = to;
  for (const kind of ['messages', 'requests']) byId(`show-${kind}`).setAttribute('aria-pressed', String(kind === to));
  refresh();
}

/** @param {string} language */
function inWords(language) {
  translate(document, language);
  setClock(languageNow());
  setLive(live);
  conditions.rebuild();
  detail.rebuild();
  for (const list of Object.values(lists)) list.refill();
  refresh();
}

let live = false;
/** @param {boolean} now */
function setLive(now) {
  live = now;
  byId('live').className = now ? 'live on' : 'live';
  byId('live').textContent = t(now ? 'live' : 'lostLine');
}

function firstCurl() {
  const body = JSON.stringify({ msisdn: '79990000001', shortcode: 'SHOP', text: 'Ваш код 4821' });
  return [
    'curl -u "$RT_SMS_LOGIN:$RT_SMS_PASSWORD"',
    `-H ${quoted('content-type: application/json')}`,
    `--data-raw ${quoted(body)}`,
    settings?.url,
  ].join(' \\\n  ');
}

/**
 * Removes the oldest rows until `kept` are left.
 * @param {Map<string, unknown>} rows
 * @param {number} kept
 */
function forget(rows, kept) {
  let tooMany = rows.size - kept;
  for (const key of rows.keys()) {
    if (tooMany-- <= 0) return;
    rows.delete(key);
  }
}

/** @param {import('../src/inbox/journal.js').JournalUpdate} news */
function take({ messages: news, exchanges = [], settings: changed }) {
  for (const row of news) {
    if (!messages.has(row.uid) && !lists.messages.atTop) unseen += 1;
    messages.set(row.uid, row);
    detail.changed(row);
  }
  for (const row of exchanges) requests.set(row.requestId, row);
  forget(messages, keeps);
  forget(requests, KEPT_REQUESTS);
  if (changed) {
    settings = /** @type {import('./dom.js').Settings} */ (changed);
    conditions.take(settings);
    byId('notice').hidden = settings.notice === null;
    byId('notice').textContent = settings.notice;
    byId('empty-curl').textContent = firstCurl();
  }
  refresh();
}

/** Opens the message that the address of the page names with #uid. */
function openLinked() {
  const row = messages.get(decodeURIComponent(location.hash.slice(1)));
  if (!row || !following) return;
  chooseMessage(row);
  open();
}

function listen() {
  const source = new EventSource('/inbox/events');
  source.addEventListener('state', ({ data }) => {
    const state = JSON.parse(data);
    messages.clear();
    requests.clear();
    keeps = state.keeps;
    setLive(true);
    take(state);
    openLinked();
  });
  source.addEventListener('older', ({ data }) => {
    /** @type {import('../src/inbox/journal.js').JournalUpdate} */
    const { messages: older } = JSON.parse(data);
    messages = new Map([...older.map((row) => /** @type {const} */ ([row.uid, row])), ...messages]);
    openLinked();
    refresh();
  });
  source.addEventListener('change', ({ data }) => take(JSON.parse(data)));
  source.addEventListener('error', () => setLive(false));
}

search.addEventListener('input', refresh);
search.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowDown' || event.key === 'Enter') {
    event.preventDefault();
    byId(view).focus();
  } else if (event.key === 'Escape' && search.value !== '') {
    // Browsers clear the field too, but not all of them fire an event for it.
    event.preventDefault();
    event.stopPropagation();
    search.value = '';
    refresh();
  }
});
byId('show-messages').addEventListener('click', () => switchTo('messages'));
byId('show-requests').addEventListener('click', () => switchTo('requests'));
byId('language').addEventListener('click', () => inWords(languageNow() === 'ru' ? 'en' : 'ru'));
byId('mask').addEventListener('click', () => {
  setMasking(!isMasking());
  byId('mask').setAttribute('aria-pressed', String(isMasking()));
  for (const list of Object.values(lists)) list.refill();
  detail.rebuild();
});
byId('conditions-open').addEventListener('click', () => conditions.open());
byId('fresh').addEventListener('click', () => {
  lists.messages.toTop();
  unseen = 0;
  following = true;
  refresh();
});
byId('empty-copy').addEventListener('click', () => void copy(firstCurl()));
byId('messages').addEventListener(
  'scroll',
  () => {
    if (unseen > 0 && lists.messages.atTop) refresh();
  },
  { passive: true },
);
document.addEventListener('keydown', (event) => {
  const at = /** @type {Element} */ (event.target);
  if (at.closest('dialog')) return;
  if (event.key === 'Escape') leave();
  else if (at.closest('input, textarea, select')) return;
  else if (event.key === '/') {
    event.preventDefault();
    search.focus();
  } else keyOfList(event);
});

byId('mask').setAttribute('aria-pressed', String(isMasking()));
inWords(languageNow());
listen();
