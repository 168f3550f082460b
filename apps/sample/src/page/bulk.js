import { ask, byId, fill, h, setText, shownCount, toneOf } from './dom.js';
import { showFirstRows, showRowsOf } from './rows.js';
import { happened, t, whatToDo } from './words.js';

/** @typedef {import('../bulk/bulk.js').RowStatus} RowStatus */

/** Number of rows in the page at once, regardless of the size of the file. */
const PAGE = 100;
/** Rows whose message has not reached the gateway yet. @type {readonly RowStatus[]} */
const WAITING = ['ready', 'queued', 'sending'];

/**
 * The last checked file: its format and its progress.
 * @type {import('./dom.js').Bulk | undefined}
 */
let bulk;
/** @type {EventSource | undefined} */
let source;
/** The status of the rows that are shown; '' stands for all. @type {RowStatus | ''} */
let status = '';
let from = 0;
let refreshing = false;
let again = false;

/** @param {string | File} body */
async function check(body) {
  const button = byId('check', HTMLButtonElement);
  button.disabled = true;
  button.textContent = t('checking');
  fill(byId('csv-problem'));
  const sender = byId('bulk-shortcode', HTMLInputElement).value.trim();
  const answer = await ask(`/bulk${sender && `?shortcode=${encodeURIComponent(sender)}`}`, {
    method: 'POST',
    headers: { 'content-type': 'text/csv' },
    body,
  });
  button.disabled = false;
  button.textContent = t('check');
  if (!answer.ok) return showProblem(answer.error);
  bulk = answer.body;
  status = 'wrong';
  from = 0;
  follow(answer.body.id);
  show();
  await showRows();
}

/** @type {import('./dom.js').Failure | undefined} */
let trouble;

/** @param {import('./dom.js').Failure} error */
function showProblem(error) {
  trouble = error;
  const { problem, row, code, outcome } = error;
  const known = problem === undefined ? '' : t('csvProblem', problem);
  const words = [
    row !== undefined && known !== '' && t('atRow', row),
    code === 'NO_ANSWER' ? whatToDo(error) : known || happened(error) || t('unreadable'),
  ];
  fill(
    byId('csv-problem'),
    h(
      'div',
      { class: 'failure' },
      h('b', null, t('outcome', outcome === 'unknown' ? 'none' : 'not_sent')),
      ' ',
      words.filter(Boolean).join(' '),
    ),
  );
}

/**
 * Follows the progress of a file and shows it.
 * @param {string} id
 */
function follow(id) {
  source?.close();
  source = new EventSource(`/bulk/${id}/events`);
  source.addEventListener('message', ({ data }) => {
    if (!bulk || bulk.id !== id) return;
    update(JSON.parse(data));
    show();
    void showRows();
  });
}

function another() {
  source?.close();
  bulk = undefined;
  byId('csv', HTMLTextAreaElement).value = '';
  byId('bulk').hidden = true;
  byId('drop').hidden = false;
  byId('csv').focus();
}

/** @param {import('../bulk/bulk.js').BulkProgress} progress */
function update(progress) {
  if (!bulk) return;
  // Before sending, the table has only the invalid rows; the valid ones are counted and the first of them shown.
  if (bulk.state === 'ready' && progress.state !== 'ready') status = '';
  bulk = { ...bulk, ...progress };
}

/** @param {'start' | 'stop'} what */
async function act(what) {
  if (!bulk) return;
  const answer = await ask(`/bulk/${bulk.id}/${what}`, { method: 'POST' });
  if (answer.ok) update(answer.body);
  else showProblem(answer.error);
  show();
  await showRows();
}

/** @param {...RowStatus} statuses */
const countOf = (...statuses) => statuses.reduce((sum, name) => sum + (bulk?.counts[name] ?? 0), 0);

function show() {
  if (!bulk) return;
  byId('drop').hidden = true;
  byId('bulk').hidden = false;
  const { state, rows, segments, encoding, delimiter, error, first } = bulk;
  const wrong = countOf('wrong');
  const all = rows - wrong;
  fill(
    byId('bulk-about'),
    h('b', null, t('read', all, segments)),
    h('small', null, t('writtenAs', encoding, t('delimiters', delimiter))),
    wrong > 0 && h('p', { class: 'failure' }, t('wrongRows', wrong)),
    error && h('p', { class: 'failure' }, h('code', null, error.code), ' ', happened(error)),
  );
  byId('bulk-first').hidden = state !== 'ready' || first.length === 0;
  showFirstRows(byId('bulk-first'), first);
  showActs(all);
  const through = all - countOf(...WAITING);
  byId('bulk-progress').hidden = state === 'ready';
  byId('bar', HTMLProgressElement).max = Math.max(1, all);
  byId('bar', HTMLProgressElement).value = through;
  setText(byId('bar-text'), t('state', state, through, all, outcomes()));
  byId('bulk').dataset['state'] = state;
  byId('bulk-list').hidden = state === 'ready' && wrong === 0;
  showFilter();
}

/** Sums up the outcomes one by one: a plain "all done" would hide the messages that were refused. */
function outcomes() {
  const notDelivered = countOf('failed', 'rejected', 'insufficient_balance');
  const sent = countOf('accepted', 'awaiting_report', 'delivered', 'unknown');
  /** @type {[string, number][]} */
  const counts = [
    ['sent', sent],
    ['not_delivered', notDelivered],
    ['not_sent', countOf('refused')],
    ['perhaps', countOf('outcome_unknown')],
  ];
  const present = counts.filter(([name, n]) => n > 0 || name === 'sent');
  return present.map(([name, n]) => t('came', name, n)).join(', ');
}

/** @param {number} all */
function showActs(all) {
  if (!bulk) return;
  const { state, id } = bulk;
  const sendable = countOf('ready');
  const key = [state, all].join();
  const box = byId('bulk-acts');
  // Rebuilt only if it changes: a replaced button loses the focus.
  if (box.dataset['key'] === key) return;
  box.dataset['key'] = key;
  fill(
    box,
    h('button', { type: 'button', class: 'quiet', id: 'another', onclick: another }, t('another')),
    state !== 'ready' &&
      h('a', { class: 'button', id: 'download', href: `/bulk/${id}/results.csv`, download: '' }, t('download')),
    state === 'ready' &&
      h(
        'button',
        { type: 'button', class: 'strong', id: 'start', disabled: sendable === 0, onclick: () => void act('start') },
        sendable > 0 ? t('sendAll', sendable) : t('nothingToSend'),
      ),
    state === 'sending' && h('button', { type: 'button', id: 'stop', onclick: () => void act('stop') }, t('stop')),
  );
}

function showFilter() {
  if (!bulk) return;
  const { counts, state, rows } = bulk;
  const present = /** @type {RowStatus[]} */ (Object.keys(counts));
  /** @type {(RowStatus | '')[]} */
  const names =
    state === 'ready' ? ['wrong'] : ['', ...present.filter((name) => (counts[name] ?? 0) > 0 || name === status)];
  const box = byId('bulk-filter');
  const known = new Map(Array.from(box.querySelectorAll('button'), (button) => [button.dataset['status'], button]));
  for (const [name, button] of known) if (!names.some((one) => one === name)) button.remove();
  for (const name of names) {
    let button = known.get(name);
    if (!button) {
      button = h(
        'button',
        { type: 'button', 'data-status': name, class: name ? toneOf(name) : 'status tone-all' },
        h('span'),
        ' ',
        h('b'),
      );
      button.addEventListener('click', () => {
        status = name;
        from = 0;
        showFilter();
        void showRows();
      });
      // The filter for all rows comes first.
      if (name === '') box.prepend(button);
      else box.append(button);
    }
    setText(button.children[0], name ? t('status', name) : t('all'));
    setText(button.children[1], shownCount(name ? (counts[name] ?? 0) : rows));
    button.setAttribute('aria-pressed', String(name === status));
  }
}

/** Loads the rows, one request at a time; changes in the meantime lead to another request. */
async function showRows() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  do {
    again = false;
    if (!bulk) break;
    const { id } = bulk;
    const answer = await ask(`/bulk/${id}/rows?from=${from}&limit=${PAGE}&status=${status}`);
    if (answer.ok && bulk?.id === id) drawRows(answer.body);
  } while (again && bulk);
  refreshing = false;
}

/** @param {{ total: number; rows: readonly import('./dom.js').BulkRow[] }} found */
function drawRows({ total, rows }) {
  showRowsOf(byId('bulk-rows'), rows);
  const to = Math.min(from + PAGE, total);
  const turn = (/** @type {number} */ by) => () => {
    from = Math.max(0, from + by);
    void showRows();
  };
  byId('bulk-pages').hidden = total <= PAGE;
  fill(
    byId('bulk-pages'),
    h(
      'button',
      { type: 'button', id: 'earlier', disabled: from === 0, 'aria-label': t('earlier'), onclick: turn(-PAGE) },
      '←',
    ),
    h('span', null, t('pages', total === 0 ? 0 : from + 1, to, total)),
    h(
      'button',
      { type: 'button', id: 'later', disabled: to >= total, 'aria-label': t('later'), onclick: turn(PAGE) },
      '→',
    ),
  );
}

export function prepareBulk() {
  const drop = byId('many');
  const file = byId('file', HTMLInputElement);
  byId('check').addEventListener('click', () => void check(byId('csv', HTMLTextAreaElement).value));
  byId('choose').addEventListener('click', () => file.click());
  file.addEventListener('change', () => {
    const [chosen] = file.files ?? [];
    if (chosen) void check(chosen);
    file.value = '';
  });
  drop.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [dropped] = event.dataTransfer?.files ?? [];
    if (dropped) void check(dropped);
  });
  document.addEventListener('translated', () => {
    if (trouble && byId('csv-problem').hasChildNodes()) showProblem(trouble);
    if (!bulk) return;
    byId('bulk-acts').dataset['key'] = '';
    show();
    void showRows();
  });
}
