/** Puts the page together and keeps it up to date. */
export const APP = String.raw`import { byId, copy, h, isMasking, outcomeOf, post, quoted, setClock, setMasking, setText, shownNumber, timeOf, toast, toneOf } from './dom.js';
import { Conditions } from './conditions.js';
import { Detail } from './detail.js';
import { VirtualList } from './list.js';
import { languageNow, t, translate } from './words.js';

const KEPT_REQUESTS = 200;
const ORDER = ['', 'accepted', 'awaiting_report', 'delivered', 'failed', 'rejected', 'insufficient_balance'];

/** Messages by uid and requests by their id, oldest first, as the server tells of them. */
let messages = new Map();
const requests = new Map();
let settings;
let keeps = 10000;
let view = 'messages';
let onlyStatus = '';
/** Until a person chooses, the newest message is the one in view. */
let following = true;
let unseen = 0;

const haystacks = new WeakMap();
function haystackOf(row) {
  let text = haystacks.get(row);
  if (text === undefined) {
    const { uid, msisdn, shortcode, text: words, status, err, requestId, path, reason, code } = row;
    text = [uid, msisdn, shortcode, words, status, err, requestId, path, reason, code].join('\n').toLowerCase();
    haystacks.set(row, text);
  }
  return text;
}

const detail = new Detail(byId('detail'), {
  settings: () => settings,
  thread: ({ msisdn, shortcode, at }) =>
    [...messages.values()].filter((row) => row.msisdn === msisdn && row.shortcode === shortcode && row.at <= at).slice(-6),
  back: leave,
});
const conditions = new Conditions(byId('conditions'), byId('conditions-count'));

const cells = (...names) => () => h('div', { class: names[0] }, names.slice(1).map((name) => h('span', { class: name })));

const lists = {
  messages: new VirtualList(byId('messages'), {
    keyOf: (row) => row.uid,
    make: cells('row message', 'at', 'msisdn', 'shortcode', 'text', 'segments', 'status', 'callbacks'),
    fill: fillMessage,
    pick: (row, follow = false) => choose('messages', row, follow),
    open,
    key: pushByKey,
  }),
  requests: new VirtualList(byId('requests'), {
    keyOf: (row) => row.requestId,
    make: cells('row request', 'at', 'method', 'path', 'code', 'reason'),
    fill: fillRequest,
    pick: (row) => choose('requests', row),
    open,
  }),
};

function fillMessage(element, row) {
  const [at, msisdn, shortcode, text, segments, status, callbacks] = element.children;
  setText(at, timeOf(row.at));
  setText(msisdn, shownNumber(row.msisdn));
  setText(shortcode, row.shortcode);
  setText(text, row.text);
  setText(segments, String(row.segments));
  setText(status, row.err === undefined ? row.status : row.status + ' ' + row.err);
  status.className = 'status ' + toneOf(row.status);
  const shown = row.callbacks.slice(-3).map(outcomeOf);
  callbacks.replaceChildren(...shown.map(({ word, tone }) => h('i', { class: tone }, word)));
}

function fillRequest(element, row) {
  const [at, method, path, code, reason] = element.children;
  const fault = row.fault && (row.fault.fault ?? row.fault.status ?? t('slow').toLowerCase());
  setText(at, timeOf(row.at));
  setText(method, row.method);
  setText(path, row.path);
  setText(code, row.code === undefined ? '—' : String(row.code));
  code.className = 'code ' + (row.code === 200 && !row.reason ? 'good' : 'bad');
  setText(reason, [row.reason ?? (row.fault ? undefined : row.uid), fault && t('fault') + ': ' + fault].filter(Boolean).join(' · '));
}

let refreshing = false;
/** At most once a frame, however fast the news come. */
function refresh() {
  if (refreshing) return;
  refreshing = true;
  requestAnimationFrame(() => {
    refreshing = false;
    show();
  });
}

function show() {
  const wanted = byId('search').value.trim().toLowerCase();
  const digits = wanted.replace(/[\s()+•-]/g, '');
  const fits = (row) => {
    const text = haystackOf(row);
    return text.includes(wanted) || (/^\d{4,}$/.test(digits) && text.includes(digits));
  };
  const all = [...(view === 'messages' ? messages : requests).values()];
  const searched = wanted === '' ? all : all.filter(fits);
  const shown = view === 'messages' && onlyStatus ? searched.filter((row) => row.status === onlyStatus) : searched;
  shown.reverse();
  byId('count-messages').textContent = messages.size.toLocaleString(languageNow());
  byId('count-requests').textContent = requests.size.toLocaleString(languageNow());
  byId('messages').hidden = view !== 'messages' || shown.length === 0;
  byId('requests').hidden = view !== 'requests' || shown.length === 0;
  byId('empty').hidden = settings === undefined || all.length > 0 || view !== 'messages';
  byId('nothing').hidden = shown.length > 0 || !byId('empty').hidden || settings === undefined;
  byId('keys').hidden = view !== 'messages';
  byId('columns').hidden = view !== 'messages' || shown.length === 0;
  if (view === 'messages') showChips(searched);
  byId('chips').hidden = view !== 'messages' || all.length === 0;
  lists[view].set(shown);
  if (lists[view].atTop) unseen = 0;
  byId('fresh').hidden = unseen === 0 || view !== 'messages';
  if (unseen > 0) byId('fresh').textContent = t('newer', unseen);
  if (following && view === 'messages' && shown[0] && shown[0].uid !== lists.messages.selected) choose('messages', shown[0], true);
}

/** How many there are of each status; a press shows only those. */
function showChips(rows) {
  const counts = new Map([['', rows.length]]);
  for (const { status } of rows) counts.set(status, (counts.get(status) ?? 0) + 1);
  if (onlyStatus && !counts.has(onlyStatus)) counts.set(onlyStatus, 0);
  const box = byId('chips');
  const known = new Map([...box.children].map((chip) => [chip.dataset.status, chip]));
  const rank = ([status]) => (ORDER.includes(status) ? ORDER.indexOf(status) : ORDER.length);
  const sorted = [...counts].sort((a, b) => rank(a) - rank(b) || (a[0] < b[0] ? -1 : 1));
  for (const [status, chip] of known) if (!counts.has(status)) chip.remove();
  for (const [index, [status, count]] of sorted.entries()) {
    let chip = known.get(status);
    if (!chip) {
      chip = h('button', { type: 'button', 'data-status': status, class: status ? toneOf(status) : 'tone-all' }, h('span'), ' ', h('b'));
      chip.addEventListener('click', () => {
        onlyStatus = onlyStatus === status ? '' : status;
        refresh();
      });
    }
    // Moved only if it must be: an element that is moved loses the focus.
    if (box.children[index] !== chip) box.insertBefore(chip, box.children[index] ?? null);
    setText(chip.children[0], status || t('all'));
    setText(chip.children[1], count.toLocaleString(languageNow()));
    chip.setAttribute('aria-pressed', onlyStatus === status);
  }
}

function choose(kind, row, follow = false) {
  following = follow;
  lists[kind].select(kind === 'messages' ? row.uid : row.requestId);
  if (kind === 'messages') {
    if (!follow) history.replaceState(null, '', '#' + row.uid);
    detail.showMessage(row);
  } else detail.showRequest(row);
}

/** On a small screen the details take the place of the list. */
function open() {
  document.body.classList.add('reading');
  byId('detail').scrollTop = 0;
  if (matchMedia('(max-width: 760px)').matches) byId('detail').focus();
}

function leave() {
  document.body.classList.remove('reading');
  byId(view).focus();
}

function pushByKey(event, row) {
  const status = { d: 'delivered', f: 'failed', r: 'rejected', a: 'awaiting_report' }[event.key];
  if (!status) return;
  event.preventDefault();
  following = false;
  void detail.push(row.uid, status);
}

function switchTo(to) {
  view = to;
  for (const kind of ['messages', 'requests']) byId('show-' + kind).setAttribute('aria-pressed', kind === to);
  refresh();
}

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
function setLive(now) {
  live = now;
  byId('live').className = now ? 'live on' : 'live';
  byId('live').textContent = t(now ? 'live' : 'lostLine');
}

function firstCurl() {
  const body = JSON.stringify({ msisdn: '79990000001', shortcode: 'SHOP', text: 'Ваш код 4821' });
  return 'curl -u "$RT_SMS_LOGIN:$RT_SMS_PASSWORD" \\\n  -H ' + quoted('content-type: application/json') + ' \\\n  --data-raw ' + quoted(body) + ' \\\n  ' + settings.url;
}

/** The oldest, until so many are left. */
function forget(rows, kept) {
  let tooMany = rows.size - kept;
  for (const key of rows.keys()) {
    if (tooMany-- <= 0) return;
    rows.delete(key);
  }
}

function take({ messages: news = [], exchanges = [], settings: changed }) {
  for (const row of news) {
    if (!messages.has(row.uid) && !lists.messages.atTop) unseen += 1;
    messages.set(row.uid, row);
    detail.changed(row);
  }
  for (const row of exchanges) requests.set(row.requestId, row);
  forget(messages, keeps);
  forget(requests, KEPT_REQUESTS);
  if (changed) {
    settings = changed;
    conditions.take(settings);
    byId('empty-curl').textContent = firstCurl();
  }
  refresh();
}

/** A page whose address ends in #uid opens that message. */
function openLinked() {
  const row = messages.get(decodeURIComponent(location.hash.slice(1)));
  if (!row || !following) return;
  choose('messages', row);
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
    messages = new Map([...JSON.parse(data).messages.map((row) => [row.uid, row]), ...messages]);
    openLinked();
    refresh();
  });
  source.addEventListener('change', ({ data }) => take(JSON.parse(data)));
  source.addEventListener('error', () => setLive(false));
}

byId('search').addEventListener('input', refresh);
byId('search').addEventListener('keydown', (event) => {
  if (event.key === 'ArrowDown' || event.key === 'Enter') {
    event.preventDefault();
    byId(view).focus();
  }
});
byId('show-messages').addEventListener('click', () => switchTo('messages'));
byId('show-requests').addEventListener('click', () => switchTo('requests'));
byId('language').addEventListener('click', () => inWords(languageNow() === 'ru' ? 'en' : 'ru'));
byId('mask').addEventListener('click', () => {
  setMasking(!isMasking());
  byId('mask').setAttribute('aria-pressed', isMasking());
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
for (const list of ['messages', 'requests']) byId(list).addEventListener('scroll', () => {
  if (unseen > 0 && lists[list].atTop) refresh();
}, { passive: true });
document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input, textarea, select, dialog');
  if (event.key === '/' && !typing) {
    event.preventDefault();
    byId('search').focus();
  } else if (event.key === 'Escape' && !event.target.closest('dialog')) leave();
});

byId('mask').setAttribute('aria-pressed', isMasking());
inWords(languageNow());
listen();
`;
