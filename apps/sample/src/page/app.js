import { prepare } from './bulk.js';
import { ask, byId, h, postJson, shownCount } from './dom.js';
import { chip, listen, troubleOf, watch } from './messages.js';
import { languageNow, t, translate } from './words.js';

const ABOUT_MS = 2_000;
const TABS = ['one', 'many'];

let about;
let segments;
let counting = false;
let stale = false;

/** Counted by the server, as it will be when the message is sent; one request at a time. */
async function count() {
  if (counting) {
    stale = true;
    return;
  }
  counting = true;
  do {
    stale = false;
    const { ok, body } = await postJson('/segments', { text: byId('text').value });
    if (ok) segments = body;
  } while (stale);
  counting = false;
  showCount();
}

function showCount() {
  if (!segments) return;
  const { encoding, characters, perSegment, segments: n } = segments;
  byId('count').replaceChildren(
    t('count', shownCount(characters), shownCount(perSegment * Math.max(1, n)), shownCount(n)),
    ' · ',
    h('span', { title: t(`${encoding}Title`) }, t(encoding)),
  );
  byId('count').classList.toggle('several', n > 1);
}

async function send(event) {
  event.preventDefault();
  const button = byId('send');
  if (button.disabled) return;
  const shortcode = byId('shortcode').value.trim();
  button.disabled = true;
  byId('outcome').replaceChildren(h('p', { class: 'sent' }, t('sending')));
  const answer = await postJson('/messages', {
    msisdn: byId('msisdn').value,
    text: byId('text').value,
    ...(shortcode && { shortcode }),
  });
  button.disabled = false;
  if (!answer.ok) return showFailure(answer.error);
  byId('text').value = '';
  void count();
  showSent(answer.body);
  watch(answer.body.id, showSent);
}

let outcome = () => undefined;

function showSent(message) {
  outcome = () =>
    byId('outcome').replaceChildren(
      message.error
        ? h('div', { class: 'failure' }, troubleOf(message.error), h('small', null, message.error.message ?? ''))
        : h('p', { class: 'sent' }, chip(message), ' ', h('code', null, message.uid ?? '')),
    );
  outcome();
}

function showFailure(error) {
  outcome = () =>
    byId('outcome').replaceChildren(
      h('div', { class: 'failure' }, troubleOf(error), h('small', null, error.message ?? '')),
    );
  outcome();
}

function choose(tab, focus = false) {
  for (const name of TABS) {
    const chosen = name === tab;
    byId(name).hidden = !chosen;
    byId(`tab-${name}`).setAttribute('aria-selected', String(chosen));
    byId(`tab-${name}`).tabIndex = chosen ? 0 : -1;
    if (chosen && focus) byId(`tab-${name}`).focus();
  }
  byId('main').classList.toggle('wide', tab === 'many');
  history.replaceState(null, '', tab === 'many' ? '#many' : location.pathname);
}

async function learn() {
  const { ok, body } = await ask('/page/about');
  if (ok) about = body;
  showAbout();
  // Numbers of a queue change all the time, and nobody tells of them.
  if (about?.queues || !ok) setTimeout(() => void learn(), ABOUT_MS);
}

function showAbout() {
  if (!about) return;
  const { simulated, inbox, shortcode, queues } = about;
  byId('mode').hidden = false;
  byId('mode').className = simulated ? 'mode' : 'mode real';
  byId('mode').textContent = t(simulated ? 'simulated' : 'real');
  byId('inbox').hidden = !inbox;
  if (inbox) byId('inbox').href = inbox;
  for (const id of ['shortcode', 'bulk-shortcode']) byId(id).placeholder = shortcode ?? '';
  byId('queues-link').hidden = byId('queue').hidden = !queues;
  if (!queues) return;
  const of = (name, ...states) => {
    const counts = queues.find((queue) => queue.name === name) ?? {};
    return shownCount(states.reduce((sum, state) => sum + (counts[state] ?? 0), 0));
  };
  byId('queue').textContent = t(
    'queue',
    of('send', 'waiting', 'prioritized', 'delayed'),
    of('send', 'active'),
    of('check', 'waiting', 'prioritized', 'delayed', 'active'),
  );
}

byId('one').addEventListener('submit', (event) => void send(event));
byId('text').addEventListener('input', () => void count());
byId('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('one').requestSubmit();
});
for (const name of TABS) {
  byId(`tab-${name}`).addEventListener('click', () => choose(name));
  byId(`tab-${name}`).addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    event.preventDefault();
    choose(name === 'one' ? 'many' : 'one', true);
  });
}
byId('language').addEventListener('click', () => translate(languageNow() === 'ru' ? 'en' : 'ru'));
document.addEventListener('translated', () => {
  showCount();
  showAbout();
  outcome();
});

prepare();
translate();
choose(location.hash === '#many' ? 'many' : 'one');
listen();
void count();
void learn();
