/** The form that sends one message. */
import { namesOf } from './costly.js';
import { byId, fill, h, postJson } from './dom.js';
import { chip, troubleOf, watch } from './messages.js';
import { t } from './words.js';

const MAX_SEGMENTS = 255;
/** @typedef {'msisdn' | 'text' | 'shortcode'} Field */
/** @type {readonly Field[]} */
const FIELDS = ['msisdn', 'shortcode', 'text'];
/** @type {Readonly<Record<Field, Parameters<typeof t>[0]>>} */
const LABELS = { msisdn: 'number', shortcode: 'sender', text: 'text' };

/** @typedef {{ encoding: 'gsm7' | 'ucs2'; characters: number; perSegment: number; segments: number; costly: string[] }} Segments */
/** @type {Segments | undefined} */
let segments;
let counting = false;
let stale = false;

/**
 * Shows the outcome again, for example after the language changed.
 * @type {() => void}
 */
let showOutcome = () => undefined;
/**
 * Problems of the fields as they were sent.
 * @type {readonly import('../rt-sms-error.filter.js').FieldProblem[]}
 */
let problems = [];

/** @param {Field} field */
const inputOf = (field) => (field === 'text' ? byId(field, HTMLTextAreaElement) : byId(field, HTMLInputElement));

/** Requests the number of segments from the server, which counts as for sending; one request at a time. */
async function count() {
  if (counting) {
    stale = true;
    return;
  }
  counting = true;
  do {
    stale = false;
    const answer = await postJson('/segments', { text: inputOf('text').value });
    segments = answer.ok ? answer.body : undefined;
    showCount();
  } while (stale);
  counting = false;
}

function showCount() {
  const costly = byId('costly');
  costly.hidden = !segments?.costly.length;
  costly.textContent = segments?.costly.length ? t('costly', namesOf(segments.costly)) : '';
  if (!segments) return fill(byId('count'));
  const { encoding, characters, perSegment, segments: n } = segments;
  fill(
    byId('count'),
    t('count', characters, perSegment * Math.max(1, n), n),
    ' · ',
    h('span', { title: t(`${encoding}Title`) }, t(encoding)),
  );
  byId('count').classList.toggle('several', n > 1);
}

/** @param {Event} event */
async function send(event) {
  event.preventDefault();
  const button = byId('send', HTMLButtonElement);
  if (button.disabled) return;
  const [msisdn, shortcode, text] = FIELDS.map((field) => inputOf(field).value);
  const missing = FIELDS.filter((field) => field !== 'shortcode' && inputOf(field).value.trim() === '');
  if (missing.length > 0) {
    showOutcome = () => undefined;
    fill(byId('outcome'));
    showProblems(missing.map((field) => ({ field, message: '' })));
    return;
  }
  showProblems([]);
  button.disabled = true;
  fill(byId('outcome'), h('p', { class: 'sent' }, t('sending')));
  const answer = await postJson('/messages', {
    msisdn,
    text,
    ...(shortcode?.trim() && { shortcode: shortcode.trim() }),
  });
  button.disabled = false;
  if (!answer.ok) {
    const { problems: found = [], ...error } = answer.error;
    // The problems at the fields are not repeated in another wording.
    show(found.length > 0 && found.every(({ field }) => field !== undefined) ? { ...error, message: '' } : error);
    showProblems(found);
    return;
  }
  inputOf('text').value = '';
  void count();
  showSent(answer.body);
  watch(answer.body.id, showSent);
}

/** @param {import('./dom.js').Message} message */
function showSent(message) {
  if (message.error) return show(message.error);
  showOutcome = () =>
    fill(byId('outcome'), h('p', { class: 'sent' }, chip(message), ' ', h('code', null, message.uid)));
  showOutcome();
}

/** @param {import('./dom.js').Failure} error */
function show(error) {
  showOutcome = () => fill(byId('outcome'), h('div', { class: 'failure' }, troubleOf(error)));
  showOutcome();
}

/**
 * Shows the problems next to their fields, and focuses the first of these.
 * @param {typeof problems} found
 */
function showProblems(found) {
  problems = found;
  writeProblems();
  const first = FIELDS.find((field) => problems.some((problem) => problem.field === field));
  if (first) inputOf(first).focus();
}

function writeProblems() {
  for (const field of FIELDS) {
    const problem = problems.find((one) => one.field === field);
    const box = byId(`${field}-problem`);
    box.hidden = !problem;
    box.textContent = problem ? wordsFor(field, problem.message) : '';
    inputOf(field).setAttribute('aria-invalid', String(problem !== undefined));
  }
}

/**
 * The problem with a field: the page's own text if it has one, else the text of the server.
 * @param {Field} field
 * @param {string} message
 */
function wordsFor(field, message) {
  const { value } = inputOf(field);
  if (value.trim() === '') return t('fieldMissing', field);
  if (field === 'text' && !value.isWellFormed()) return t('brokenText');
  if (field === 'text' && segments && segments.segments > MAX_SEGMENTS)
    return t('tooLong', segments.segments, MAX_SEGMENTS);
  return t('fieldWrong', field) || `${t(LABELS[field])} ${message}`;
}

/** @param {Event} event */
function forget({ target }) {
  problems = problems.filter(({ field }) => field !== /** @type {Element} */ (target).id);
  writeProblems();
}

export function prepareForm() {
  byId('one').addEventListener('submit', (event) => void send(event));
  for (const field of FIELDS) inputOf(field).addEventListener('input', forget);
  inputOf('text').addEventListener('input', () => void count());
  byId('text', HTMLTextAreaElement).addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('one', HTMLFormElement).requestSubmit();
  });
  document.addEventListener('translated', () => {
    showCount();
    showOutcome();
    writeProblems();
  });
  void count();
}
