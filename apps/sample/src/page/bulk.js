import { ask, byId, h, shownCount, shownNumber, toneOf } from './dom.js';
import { t, whatToDo } from './words.js';

/** Rows that are in the page at once, however many the file has. */
const PAGE = 100;
const NOT_THROUGH = ['ready', 'wrong', 'queued', 'sending'];

/** The file that was checked last: how it was read, and how far it is. */
let bulk;
let source;
let status = '';
let from = 0;
let refreshing = false;
let again = false;

async function check(body) {
  byId('check').disabled = true;
  byId('check').textContent = t('checking');
  byId('csv-problem').replaceChildren();
  const sender = byId('bulk-shortcode').value.trim();
  const answer = await ask(`/bulk${sender && `?shortcode=${encodeURIComponent(sender)}`}`, {
    method: 'POST',
    headers: { 'content-type': 'text/csv' },
    body,
  });
  byId('check').disabled = false;
  byId('check').textContent = t('check');
  if (!answer.ok) return showProblem(answer.error);
  bulk = answer.body;
  status = '';
  from = 0;
  follow();
  show();
  await showRows();
}

function showProblem({ problem, row, message, code, outcome }) {
  const words = [
    problem
      ? t('csvProblem', problem)
      : code === 'NO_ANSWER'
        ? whatToDo({ code })
        : (message ?? t('csvProblem', 'none')),
  ];
  if (row !== undefined) words.unshift(t('atRow', shownCount(row)));
  byId('csv-problem').replaceChildren(
    h(
      'div',
      { class: 'failure' },
      h('b', null, t('outcome', outcome === 'unknown' ? 'none' : 'not_sent')),
      ' ',
      words.join(' '),
    ),
  );
}

/** How far it is, as the server tells. */
function follow() {
  source?.close();
  source = new EventSource(`/bulk/${bulk.id}/events`);
  source.addEventListener('message', ({ data }) => {
    Object.assign(bulk, JSON.parse(data));
    show();
    void showRows();
  });
}

function another() {
  source?.close();
  bulk = undefined;
  byId('csv').value = '';
  byId('bulk').hidden = true;
  byId('drop').hidden = false;
  byId('csv').focus();
}

async function act(what) {
  const answer = await ask(`/bulk/${bulk.id}/${what}`, { method: 'POST' });
  if (answer.ok) Object.assign(bulk, answer.body);
  else showProblem(answer.error);
  show();
}

const countOf = (...statuses) => statuses.reduce((sum, name) => sum + (bulk.counts[name] ?? 0), 0);

function show() {
  byId('drop').hidden = true;
  byId('bulk').hidden = false;
  const wrong = countOf('wrong');
  const all = bulk.rows - wrong;
  byId('bulk-about').replaceChildren(
    h('b', null, t('read', shownCount(all), shownCount(bulk.segments))),
    h('small', null, t('writtenAs', bulk.encoding, t('delimiters', bulk.delimiter))),
    wrong > 0 && h('p', { class: 'failure' }, t('wrongRows', shownCount(wrong))),
    ...(bulk.error
      ? [h('p', { class: 'failure' }, h('code', null, bulk.error.code ?? ''), ' ', bulk.error.message)]
      : []),
  );
  showFirst();
  showActs(all);
  const through = all - countOf(...NOT_THROUGH.filter((name) => name !== 'wrong'));
  byId('bulk-progress').hidden = bulk.state === 'ready';
  byId('bar').max = Math.max(1, all);
  byId('bar').value = through;
  byId('bar-text').textContent = t('state', bulk.state, shownCount(through), shownCount(all));
  byId('bulk').dataset.state = bulk.state;
  showFilter();
}

function showFirst() {
  const box = byId('bulk-first');
  box.hidden = bulk.state !== 'ready' || bulk.first.length === 0;
  if (box.hidden) return;
  box.replaceChildren(
    table(
      [t('row'), t('number'), t('text'), t('sender')],
      bulk.first.map(({ row, msisdn, text, shortcode }) => [
        shownCount(row),
        shownNumber(msisdn),
        text,
        shortcode ?? '',
      ]),
    ),
  );
}

function showActs(all) {
  const { state, id } = bulk;
  const key = [state, all].join();
  const box = byId('bulk-acts');
  // Built anew only if it is another one: a button that is replaced loses the focus.
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const sendable = countOf('ready');
  box.replaceChildren(
    ...[
      h('button', { type: 'button', class: 'quiet', id: 'another', onclick: another }, t('another')),
      state !== 'ready' &&
        h('a', { class: 'button', id: 'download', href: `/bulk/${id}/results.csv`, download: '' }, t('download')),
      state === 'ready' &&
        h(
          'button',
          { type: 'button', class: 'strong', id: 'start', disabled: sendable === 0, onclick: () => void act('start') },
          sendable > 0 ? t('sendAll', shownCount(sendable)) : t('nothingToSend'),
        ),
      state === 'sending' && h('button', { type: 'button', id: 'stop', onclick: () => void act('stop') }, t('stop')),
    ].filter(Boolean),
  );
}

function showFilter() {
  const names = ['', ...Object.keys(bulk.counts).filter((name) => bulk.counts[name] > 0 || name === status)];
  const box = byId('bulk-filter');
  const known = new Map([...box.children].map((button) => [button.dataset.status, button]));
  for (const [name, button] of known) if (!names.includes(name)) button.remove();
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
      box.append(button);
    }
    button.children[0].textContent = name ? t('status', name) : t('all');
    button.children[1].textContent = shownCount(name ? bulk.counts[name] : bulk.rows);
    button.setAttribute('aria-pressed', String(name === status));
  }
}

/** One request at a time; what changed meanwhile is asked for after it. */
async function showRows() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  do {
    again = false;
    const { id } = bulk;
    const answer = await ask(`/bulk/${id}/rows?from=${from}&limit=${PAGE}&status=${status}`);
    if (answer.ok && bulk?.id === id) drawRows(answer.body);
  } while (again && bulk);
  refreshing = false;
}

function drawRows({ total, rows }) {
  byId('bulk-rows').replaceChildren(
    table(
      [t('row'), t('number'), t('statusOf'), t('what')],
      rows.map(({ row, msisdn, status, errorCode, error, problem, uid }) => [
        shownCount(row),
        status === 'wrong' ? msisdn : shownNumber(msisdn),
        h('span', { class: toneOf(status) }, t('status', status) + (errorCode ? ` ${errorCode}` : '')),
        detailOf({ error, problem, uid }),
      ]),
    ),
  );
  const to = Math.min(from + PAGE, total);
  const turn = (by) => () => {
    from = Math.max(0, from + by);
    void showRows();
  };
  byId('bulk-pages').hidden = total <= PAGE;
  byId('bulk-pages').replaceChildren(
    h(
      'button',
      { type: 'button', id: 'earlier', disabled: from === 0, 'aria-label': t('earlier'), onclick: turn(-PAGE) },
      '←',
    ),
    h('span', null, t('pages', shownCount(total === 0 ? 0 : from + 1), shownCount(to), shownCount(total))),
    h(
      'button',
      { type: 'button', id: 'later', disabled: to >= total, 'aria-label': t('later'), onclick: turn(PAGE) },
      '→',
    ),
  );
}

function detailOf({ error, problem, uid }) {
  if (problem) return [t('rowProblem', problem.field), ' ', h('small', null, `${problem.field} ${problem.message}`)];
  if (!error) return h('small', null, uid ?? '');
  return [h('code', null, [error.code, error.reason].filter(Boolean).join(' · ')), ' ', whatToDo(error)];
}

function table(heads, rows) {
  return h(
    'table',
    null,
    h(
      'thead',
      null,
      h(
        'tr',
        null,
        heads.map((head) => h('th', { scope: 'col' }, head)),
      ),
    ),
    h(
      'tbody',
      null,
      rows.map((cells) =>
        h(
          'tr',
          null,
          cells.map((cell) => h('td', null, cell)),
        ),
      ),
    ),
  );
}

export function prepare() {
  const drop = byId('many');
  byId('check').addEventListener('click', () => void check(byId('csv').value));
  byId('choose').addEventListener('click', () => byId('file').click());
  byId('file').addEventListener('change', ({ target }) => {
    const [file] = target.files;
    if (file) void check(file);
    target.value = '';
  });
  drop.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file) void check(file);
  });
  document.addEventListener('translated', () => {
    if (!bulk) return;
    byId('bulk-acts').dataset.key = '';
    show();
    void showRows();
  });
}
