import { ask, byId, postJson, setText, shownNumber } from './dom.js';
import { fillIn, s } from './sign-in-words.js';
import { languageNow, translate } from './words.js';

/** @typedef {{ challengeId: string; expiresAt: string; resendAt: string; to: string; outcome: string }} Challenge */

const STEPS = ['number-form', 'code-form', 'done'];
/** @type {Challenge | undefined} */
let challenge;
let resendAt = 0;
/** @type {EventSource | undefined} */
let events;
/** @type {AbortController | undefined} */
let reading;
/**
 * Texts that depend on the language.
 * @type {Record<'problem' | 'notice' | 'sent-to' | 'done', () => string>}
 */
const texts = { problem: () => '', notice: () => '', 'sent-to': () => '', done: () => '' };

/**
 * @param {keyof typeof texts} id
 * @param {() => string} text
 */
function write(id, text = () => '') {
  texts[id] = text;
  setText(byId(id), text());
}

/** @param {string} step */
function show(step) {
  for (const id of STEPS) byId(id).hidden = id !== step;
  byId({ 'number-form': 'msisdn', 'code-form': 'code' }[step] ?? step).focus();
}

/**
 * Shows a problem and moves the focus to the field.
 * @param {HTMLInputElement} input
 * @param {string} key
 * @param {...any} values
 */
function complain(input, key, ...values) {
  write('problem', () => s(key, ...values));
  input.setAttribute('aria-invalid', 'true');
  input.focus();
}

function clear() {
  write('problem');
  write('notice');
  for (const id of ['msisdn', 'code']) byId(id).removeAttribute('aria-invalid');
}

/**
 * Runs a request while the buttons are disabled.
 * @param {string} path
 * @param {object} body
 */
async function request(path, body) {
  clear();
  for (const id of ['start', 'verify', 'resend']) byId(id, HTMLButtonElement).disabled = true;
  const answer = await postJson(path, body);
  for (const id of ['start', 'verify']) byId(id, HTMLButtonElement).disabled = false;
  tick();
  return answer;
}

/** @param {Event} [event] */
async function start(event) {
  event?.preventDefault();
  const input = byId('msisdn', HTMLInputElement);
  if (input.value.trim() === '') return complain(input, 'numberMissing');
  const answer = await request('/sign-in', { msisdn: input.value });
  if (!answer.ok) return complain(input, answer.error.code ?? 'none', answer.error.retryAfterMs);
  follow(answer.body);
  byId('code', HTMLInputElement).value = '';
  show('code-form');
  void readMessage();
}

/** @param {Challenge} started */
function follow(started) {
  challenge = started;
  resendAt = Date.parse(started.resendAt);
  write('sent-to', () => s(started.outcome === 'unknown' ? 'perhapsSentTo' : 'sentTo', `+${started.to}`));
  tick();
  events?.close();
  events = new EventSource(`/sign-in/${started.challengeId}/undelivered`);
  events.addEventListener('message', ({ data }) => {
    const { reason } = JSON.parse(data);
    write('notice', () => s(reason === 'overdue' || reason === 'unknown' ? 'overdue' : 'undelivered'));
  });
}

/** @param {Event} [event] */
async function verify(event) {
  event?.preventDefault();
  const input = byId('code', HTMLInputElement);
  if (!challenge) return;
  if (input.value.trim() === '') return complain(input, 'codeMissing');
  const answer = await request(`/sign-in/${challenge.challengeId}/verify`, { code: input.value });
  if (!answer.ok)
    return complain(input, answer.error.code === 'RT_SMS_VALIDATION' ? 'codeMissing' : (answer.error.code ?? 'none'));
  const { ok, msisdn, reason, attemptsLeft } = answer.body;
  if (!ok) return complain(input, reason, attemptsLeft);
  leave();
  write('done', () => s('done', shownNumber(msisdn)));
  show('done');
}

async function resend() {
  if (!challenge) return;
  const answer = await request(`/sign-in/${challenge.challengeId}/resend`, {});
  const input = byId('code', HTMLInputElement);
  if (!answer.ok) {
    const code = answer.error.code ?? 'none';
    const [, state] = /^RT_SMS_OTP_(LOCKED|EXPIRED|USED|UNKNOWN)$/.exec(code) ?? [];
    return complain(input, state?.toLowerCase() ?? code, answer.error.retryAfterMs);
  }
  follow(answer.body);
  write('notice', () => s('sentAgain'));
  input.focus();
}

function leave() {
  events?.close();
  reading?.abort();
  challenge = undefined;
}

/** Shows the time until the code can be sent again, once a second. */
function tick() {
  const button = byId('resend', HTMLButtonElement);
  const seconds = Math.ceil((resendAt - Date.now()) / 1_000);
  const wasWaiting = button.disabled;
  button.disabled = seconds > 0;
  const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  setText(button, seconds > 0 ? s('resendIn', time) : s('resend'));
  if (challenge && wasWaiting && seconds <= 0 && texts.notice() === '') write('notice', () => s('mayResend'));
}

/** Reads the code from the message where the browser can (WebOTP). */
async function readMessage() {
  if (!('OTPCredential' in window)) return;
  reading?.abort();
  reading = new AbortController();
  const options = { otp: { transport: ['sms'] }, signal: reading.signal };
  const found = await navigator.credentials.get(/** @type {any} */ (options)).catch(() => null);
  if (!found) return;
  byId('code', HTMLInputElement).value = /** @type {any} */ (found).code;
  await verify();
}

byId('number-form').addEventListener('submit', (event) => void start(event));
byId('code-form').addEventListener('submit', (event) => void verify(event));
byId('resend').addEventListener('click', () => void resend());
byId('back').addEventListener('click', () => {
  leave();
  clear();
  show('number-form');
});
byId('language').addEventListener('click', () => translate(languageNow() === 'ru' ? 'en' : 'ru'));
document.addEventListener('translated', () => {
  fillIn();
  for (const [id, text] of Object.entries(texts)) setText(byId(id), text());
  tick();
});
setInterval(tick, 1_000);

translate();
byId('msisdn').focus();
const about = await ask('/page/about');
if (about.ok && about.body.inbox) {
  byId('inbox').hidden = false;
  byId('inbox', HTMLAnchorElement).href = about.body.inbox;
}
