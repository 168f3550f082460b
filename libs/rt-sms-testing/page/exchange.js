import { copy, h, isProbe, quoted, shownRaw, timeOf } from './dom.js';
import { t } from './words.js';

/** @typedef {import('./dom.js').Exchange} Exchange */

/**
 * A raw request with its answer, and the command that repeats it.
 * @param {Exchange} exchange
 * @param {boolean} opened
 * @param {string | undefined} url the address of the API
 */
export function exchangeElement(exchange, opened, url) {
  const { method, path, status, fault, uid, requestId, requestHeaders, requestBody, at } = exchange;
  const { responseHeaders = [], responseBody = '' } = exchange;
  const command = shownRaw(curlOf(exchange, url ?? location.href));
  const request = `${method} ${path} HTTP/1.1\n${headOf(requestHeaders)}\n${requestBody}`;
  const answer =
    status === undefined ? t('noAnswer') : `HTTP/1.1 ${status}\n${headOf(responseHeaders)}\n${responseBody}`;
  const reason = /"reason":"(\w+)"/.exec(responseBody)?.[1];
  /**
   * @param {'request' | 'answer'} key
   * @param {string} text
   */
  const raw = (key, text) => [h('h3', null, t(key)), h('pre', { tabindex: 0, 'aria-label': t(key) }, shownRaw(text))];
  return h(
    'details',
    { open: opened, 'data-request': requestId },
    h(
      'summary',
      null,
      h('b', null, method),
      ' ',
      h('span', { class: `code ${status === 200 ? 'good' : 'bad'}` }, status ?? '—'),
      ' ',
      h('time', null, timeOf(new Date(at))),
      ' ',
      isProbe({ uid, reason }) && h('span', { class: 'status tone-accepted' }, t('probe')),
      fault &&
        h(
          'span',
          { class: 'status tone-failed' },
          `${t('fault')}: ${fault.fault ?? fault.status ?? `${fault.delayMs} ${t('ms')}`}`,
        ),
    ),
    raw('request', request),
    raw('answer', answer),
    h('h3', null, 'curl'),
    h('pre', { tabindex: 0, 'aria-label': t('curl'), class: 'curl' }, command),
    h('button', { type: 'button', onclick: () => void copy(command) }, t('copyCurl')),
  );
}

/** @param {readonly string[]} flat */
const headOf = (flat) => flat.map((part, n) => part + (n % 2 ? '\n' : ': ')).join('');

/**
 * The curl command of a request, with the credentials as variables of the shell.
 * @param {Exchange} exchange
 * @param {string} url
 */
function curlOf({ method, path, requestHeaders, requestBody }, url) {
  const headers = new Map(
    requestHeaders.flatMap((name, n) => (n % 2 ? [] : [[name.toLowerCase(), requestHeaders[n + 1] ?? '']])),
  );
  const type = headers.get('content-type');
  return [
    `curl${method === 'GET' || (method === 'POST' && requestBody) ? '' : ` -X ${method}`}`,
    headers.has('authorization') && '-u "$RT_SMS_LOGIN:$RT_SMS_PASSWORD"',
    type && `-H ${quoted(`content-type: ${type}`)}`,
    requestBody && `--data-raw ${quoted(requestBody)}`,
    quoted(new URL(path, url).href),
  ]
    .filter(Boolean)
    .join(' \\\n  ');
}
