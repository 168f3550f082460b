import { prepareBulk } from './bulk.js';
import { ask, byId } from './dom.js';
import { prepareForm } from './form.js';
import { listen } from './messages.js';
import { languageNow, t, translate } from './words.js';

const ABOUT_MS = 2_000;
const TABS = ['one', 'many'];

/** @type {import('./dom.js').About | undefined} */
let about;

/** @param {string} tab */
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

async function loadAbout() {
  const answer = await ask('/page/about');
  if (answer.ok) about = answer.body;
  showAbout();
  // Queue counts change all the time without an event, so the page polls them.
  if (about?.queues || !answer.ok) setTimeout(() => void loadAbout(), ABOUT_MS);
}

function showAbout() {
  if (!about) return;
  const { simulated, inbox, shortcode, onlyTo, queues } = about;
  byId('mode').hidden = false;
  byId('mode').className = simulated ? 'mode' : 'mode real';
  byId('mode').textContent = t(simulated ? 'simulated' : 'real');
  byId('staging').hidden = !onlyTo;
  byId('staging').textContent = onlyTo ? t('staging', onlyTo.entries, onlyTo.starts) : '';
  byId('inbox').hidden = !inbox;
  if (inbox) byId('inbox', HTMLAnchorElement).href = inbox;
  for (const id of ['shortcode', 'bulk-shortcode']) byId(id, HTMLInputElement).placeholder = shortcode ?? '';
  byId('queues-link').hidden = byId('queue').hidden = !queues;
  if (!queues) return;
  /**
   * @param {string} name
   * @param {...string} states
   */
  const of = (name, ...states) => {
    /** @type {Readonly<Record<string, unknown>>} */
    const counts = { ...queues.find((queue) => queue.name === name) };
    return states.reduce((sum, state) => sum + Number(counts[state] ?? 0), 0);
  };
  byId('queue').textContent = t(
    'queue',
    of('send', 'waiting', 'prioritized', 'delayed'),
    of('send', 'active'),
    of('check', 'waiting', 'prioritized', 'delayed', 'active'),
  );
}

for (const name of TABS) {
  byId(`tab-${name}`).addEventListener('click', () => choose(name));
  byId(`tab-${name}`).addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    event.preventDefault();
    choose(name === 'one' ? 'many' : 'one', true);
  });
}
byId('language').addEventListener('click', () => translate(languageNow() === 'ru' ? 'en' : 'ru'));
document.addEventListener('translated', showAbout);

prepareForm();
prepareBulk();
translate();
choose(location.hash === '#many' ? 'many' : 'one');
listen();
void loadAbout();
