import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { fullBacklog, refusingPort, unresolvableHost, type DeadEnd } from './dead-ends.js';

/** Expected result of one send that meets the fault. */
export interface Expectation {
  outcome: 'sent' | 'not_sent' | 'rejected' | 'unknown';
  /** Name of the error's class; `null`: the send succeeds. */
  errorClass:
    | 'RtSmsConnectionError'
    | 'RtSmsTimeoutError'
    | 'RtSmsUnexpectedResponseError'
    | 'RtSmsRejectedError'
    | 'RtSmsAuthError'
    | null;
  retryable: boolean;
  /** True if the server reads the whole POST, so that the recipient gets an SMS regardless of the answer. */
  readsPost: boolean;
  /** Set if retrying cannot help: a certificate, a wrong protocol. */
  permanent?: true;
}

interface FaultFacts {
  name: string;
  /** Behaviour of the peer, one sentence for tables. */
  description: string;
  expected: Expectation;
  /** Second valid expectation, if a race in the client's kernel decides. */
  orElse?: Expectation;
  /** Scheme of the URL, if the fault is in the protocol; otherwise the server's `tls` option decides. */
  scheme?: 'http' | 'https';
  /** Time-out of the client that ends the fault, if the peer is silent or drips forever. */
  endsBy?: 'connectMs' | 'sendMs';
  /** Set if the gateway reports that it did not save the message: only then may a POST that was read be retried. */
  repeatable?: true;
}

export type Fault = FaultFacts &
  (
    | { level: 'address'; reach(): Promise<DeadEnd> }
    | { level: 'connection'; accept(connection: Connection): void }
    | { level: 'request'; answer(exchange: Exchange): void }
  );

/** A connection that was accepted, before any byte of it is read. */
export interface Connection {
  tcp: Socket;
  /** Serves plain HTTP on it without faults. */
  serve(): void;
  /** Completes the TLS handshake with a certificate of `certs/`, then serves HTTP without faults. */
  secure(certificate: 'localhost' | 'wrong-host' | 'expired' | 'self-signed', options?: TlsOptions): void;
}

/** A request that was read completely, and methods for a faulty answer. */
export interface Exchange {
  socket: Socket;
  /** JSON of a healthy answer, for use in a faulty one. */
  json: string;
  /** Sends RST, also below TLS. */
  reset: () => void;
}

/** A whole answer with the headers that the gateway sends (§2.1.2). `headers` replace them; one that is `null` is left out. */
export function response(status: string, body: string | Buffer, headers: Record<string, string | null> = {}): Buffer {
  const all: Record<string, string | null> = {
    Server: 'nginx',
    Date: new Date().toUTCString(),
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'keep-alive',
    'x-request-id': requestId(),
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}\r\n`]));
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n`), Buffer.from(body)]);
}

const requestId = () => Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join('');

const CHUNKED = { 'Content-Length': null, 'Transfer-Encoding': 'chunked' };
const HTML = '<html><body><h1>nginx</h1></body></html>';
const HTML_TYPE = { 'Content-Type': 'text/html' };
const HUGE_BYTES = 64 * 1024 * 1024;
const DRIP_EVERY_MS = 50;
// Data and RST that arrive together look like data and FIN to a client on libuv.
const RST_AFTER_MS = 10;

const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const half = (text: string) => text.slice(0, text.length / 2);
const declares = (body: string, more = 0) => ({ 'Content-Length': String(Buffer.byteLength(body) + more) });

/** Answers with this status and body; without a body, with the JSON of a healthy answer. */
const answerWith =
  (status: string, body?: string | Buffer, headers?: Record<string, string | null>) =>
  ({ socket, json }: Exchange) =>
    void socket.write(response(status, body ?? json, headers));

/** Writes the start of a good answer, then single bytes until the client has disconnected. */
function drip(socket: Socket, start: string | Buffer, rest: Iterator<string>) {
  socket.write(start);
  const timer = setInterval(() => {
    const next = rest.next();
    if (!next.done) socket.write(next.value);
  }, DRIP_EVERY_MS);
  socket.once('close', () => clearInterval(timer));
}

/** JSON may end in white space, so the answer stays valid, but never ends. */
function* jsonWithoutEnd(json: string): Generator<string> {
  yield* Array.from(json, chunk);
  for (;;) yield chunk(' ');
}

/** Valid JSON followed by 64 MiB of white space. */
function writeHuge(
  { socket, json }: Exchange,
  headers: Record<string, string | null>,
  frame: (text: string) => string,
) {
  const padding = frame(' '.repeat(65_536));
  socket.write(response('200 OK', '', { ...declares(json, HUGE_BYTES), ...headers }));
  socket.write(frame(json));
  Readable.from(Array.from({ length: HUGE_BYTES / 65_536 }, () => padding)).pipe(socket);
}

const SENT: Expectation = { outcome: 'sent', errorClass: null, retryable: false, readsPost: true };
const NOT_SENT: Expectation = {
  outcome: 'not_sent',
  errorClass: 'RtSmsConnectionError',
  retryable: true,
  readsPost: false,
};
const NEVER_SENT: Expectation = { ...NOT_SENT, retryable: false, permanent: true };
const UNKNOWN: Expectation = {
  outcome: 'unknown',
  errorClass: 'RtSmsUnexpectedResponseError',
  retryable: false,
  readsPost: true,
};
const UNKNOWN_UNREAD: Expectation = { ...UNKNOWN, readsPost: false };
const TIMED_OUT: Expectation = { ...UNKNOWN, errorClass: 'RtSmsTimeoutError' };
const REJECTED: Expectation = {
  outcome: 'rejected',
  errorClass: 'RtSmsRejectedError',
  retryable: false,
  readsPost: true,
};
const DENIED: Expectation = { ...REJECTED, errorClass: 'RtSmsAuthError' };

const TABLE = [
  // The request never left.
  {
    name: 'refused',
    description: 'The port is closed.',
    expected: NOT_SENT,
    level: 'address',
    reach: refusingPort,
  },
  {
    name: 'unresolvable',
    description: 'The host name does not resolve.',
    expected: NOT_SENT,
    level: 'address',
    reach: unresolvableHost,
  },
  {
    name: 'connect-hang',
    description: 'The backlog of the listener is full: connecting never ends.',
    expected: NOT_SENT,
    endsBy: 'connectMs',
    level: 'address',
    reach: () => fullBacklog(),
  },
  {
    name: 'tls-reset',
    description: 'RST in answer to the ClientHello.',
    expected: NOT_SENT,
    scheme: 'https',
    level: 'connection',
    accept: ({ tcp }) => tcp.once('data', () => tcp.resetAndDestroy()),
  },
  {
    name: 'tls-fin',
    description: 'FIN in answer to the ClientHello.',
    expected: NOT_SENT,
    scheme: 'https',
    level: 'connection',
    accept: ({ tcp }) => tcp.once('data', () => tcp.end()),
  },
  {
    name: 'tls-hang',
    description: 'The ClientHello is never answered.',
    expected: NOT_SENT,
    endsBy: 'connectMs',
    scheme: 'https',
    level: 'connection',
    accept: ({ tcp }) => tcp.resume(),
  },
  {
    name: 'tls-too-old',
    description: 'The server knows nothing newer than TLS 1.1.',
    expected: NEVER_SENT,
    scheme: 'https',
    level: 'connection',
    accept: (connection) =>
      connection.secure('localhost', {
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT@SECLEVEL=0',
      }),
  },
  {
    name: 'self-signed',
    description: 'A self-signed certificate.',
    expected: NEVER_SENT,
    scheme: 'https',
    level: 'connection',
    accept: (connection) => connection.secure('self-signed'),
  },
  {
    name: 'wrong-host',
    description: 'A certificate of the trusted CA for another host.',
    expected: NEVER_SENT,
    scheme: 'https',
    level: 'connection',
    accept: (connection) => connection.secure('wrong-host'),
  },
  {
    name: 'expired',
    description: 'A certificate that has run out.',
    expected: NEVER_SENT,
    scheme: 'https',
    level: 'connection',
    accept: (connection) => connection.secure('expired'),
  },
  {
    name: 'plain-on-tls-port',
    description: 'Plain HTTP on the port of an https URL.',
    expected: NEVER_SENT,
    scheme: 'https',
    level: 'connection',
    accept: ({ tcp }) => tcp.once('data', () => tcp.end(response('400 Bad Request', HTML, HTML_TYPE))),
  },

  // The connection opened, but the request was not read; a client cannot detect that.
  {
    name: 'reset-at-accept',
    description: 'RST as soon as the connection is accepted.',
    expected: UNKNOWN_UNREAD,
    orElse: NOT_SENT,
    level: 'connection',
    accept: ({ tcp }) => tcp.resetAndDestroy(),
  },
  {
    name: 'fin-at-accept',
    description: 'FIN as soon as the connection is accepted.',
    expected: UNKNOWN_UNREAD,
    orElse: NOT_SENT,
    level: 'connection',
    accept: ({ tcp }) => tcp.resume().end(),
  },
  {
    name: 'tls-on-plain-port',
    description: 'TLS on the port of an http URL.',
    expected: UNKNOWN_UNREAD,
    scheme: 'http',
    level: 'connection',
    accept: (connection) => connection.secure('localhost'),
  },
  {
    name: 'client-certificate-missing',
    description: 'The server wants a client certificate; with TLS 1.3 it says so after the request.',
    expected: UNKNOWN_UNREAD,
    scheme: 'https',
    level: 'connection',
    accept: (connection) => connection.secure('localhost', { requestCert: true, rejectUnauthorized: true }),
  },
  {
    name: 'rst-mid-request',
    description: 'RST on the first bytes of the request.',
    expected: UNKNOWN_UNREAD,
    scheme: 'http',
    level: 'connection',
    accept: ({ tcp }) => tcp.once('data', () => tcp.resetAndDestroy()),
  },
  {
    name: '503-mid-request',
    description: '503 and FIN on the first bytes of the request.',
    expected: UNKNOWN_UNREAD,
    scheme: 'http',
    level: 'connection',
    accept: ({ tcp }) =>
      tcp.once('data', () => tcp.end(response('503 Service Unavailable', HTML, { ...HTML_TYPE, Connection: 'close' }))),
  },

  // The request was read; the connection is lost.
  {
    name: 'fin-after-request',
    description: 'FIN instead of an answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket }) => socket.end(),
  },
  {
    name: 'rst-after-request',
    description: 'RST instead of an answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ reset }) => reset(),
  },
  {
    name: 'half-header-fin',
    description: 'FIN in the middle of the headers.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket }) => socket.end('HTTP/1.1 200 OK\r\nContent-Type: appl'),
  },
  {
    name: 'truncated-by-fin',
    description: 'FIN in the middle of the body.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) => socket.end(response('200 OK', half(json), declares(json))),
  },
  {
    name: 'truncated-by-rst',
    description: 'RST in the middle of the body.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json, reset }) =>
      socket.write(response('200 OK', half(json), declares(json)), () => setTimeout(reset, RST_AFTER_MS)),
  },
  {
    name: 'truncated-chunked',
    description: 'A chunked body whose JSON is whole, then FIN without the last chunk.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.end(Buffer.concat([response('200 OK', '', CHUNKED), Buffer.from(chunk(json))])),
  },

  // The request was read; the answer never ends.
  {
    name: 'silent',
    description: 'No answer at all.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: () => {},
  },
  {
    name: 'half-header-hang',
    description: 'Silence in the middle of the headers.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: ({ socket }) => socket.write('HTTP/1.1 200 OK\r\nContent-Type: appl'),
  },
  {
    name: 'dripping-headers',
    description: 'Headers of one byte each 50 ms, for ever.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: ({ socket }) => drip(socket, 'HTTP/1.1 200 OK\r\nX-Long: ', { next: () => ({ done: false, value: 'a' }) }),
  },
  {
    name: 'half-body-hang',
    description: 'Silence in the middle of the body.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', half(json), declares(json))),
  },
  {
    name: 'dripping-body',
    description: 'A body of one byte each 50 ms, for ever.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: ({ socket, json }) => drip(socket, response('200 OK', '', CHUNKED), jsonWithoutEnd(json)),
  },
  {
    name: 'length-too-long',
    description: 'A Content-Length that is greater than the body, on a connection that stays open.',
    expected: TIMED_OUT,
    endsBy: 'sendMs',
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', json, declares(json, 1))),
  },

  // The request was read; the answer is not HTTP.
  {
    name: 'garbage-status-line',
    description: 'A status line of another protocol.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) => socket.end(`220 sms ESMTP\r\n\r\n${json}`),
  },
  {
    name: 'huge-headers',
    description: '64 KiB of headers.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.write(
        response(
          '200 OK',
          json,
          Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`X-${i}`, 'a'.repeat(1024)])),
        ),
      ),
  },
  {
    name: 'both-lengths',
    description: 'Content-Length and chunked at once.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.write(response('200 OK', `${chunk(json)}0\r\n\r\n`, { 'Transfer-Encoding': 'chunked' })),
  },
  {
    name: 'length-too-short',
    description: 'A Content-Length that is less than the body.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', json, declares(json, -5))),
  },
  {
    name: 'unasked-continue',
    description: '100 Continue that was not asked for, then a good answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.write(Buffer.concat([Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'), response('200 OK', json)])),
  },

  // The request was read; the answer is HTTP, but not a valid answer of the gateway.
  {
    name: 'huge-body',
    description: 'Good JSON with 64 MiB of white space behind it, of declared length.',
    expected: UNKNOWN,
    level: 'request',
    answer: (exchange) => writeHuge(exchange, {}, (text) => text),
  },
  {
    name: 'huge-chunked-body',
    description: 'Good JSON with 64 MiB of white space behind it, chunked.',
    expected: UNKNOWN,
    level: 'request',
    answer: (exchange) => writeHuge(exchange, CHUNKED, chunk),
  },
  {
    name: '200-html',
    description: '200 with HTML.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', HTML, HTML_TYPE),
  },
  {
    name: '200-empty',
    description: '200 with an empty body.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', ''),
  },
  {
    name: '200-array',
    description: '200 with `[]`.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', '[]'),
  },
  {
    name: '200-null',
    description: '200 with `null`.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', 'null'),
  },
  {
    name: '200-half-json',
    description: '200 with JSON that breaks off, of the right length.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', half(json))),
  },
  {
    name: '200-no-uid',
    description: '200 with status ok and no uid.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', '{"result":{},"status":"ok"}'),
  },
  {
    name: '200-no-reason',
    description: '200 with status error and no reason.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('200 OK', '{"status":"error"}'),
  },
  {
    name: '200-gzip',
    description: '200 with a gzip body that was not asked for.',
    expected: UNKNOWN,
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', gzipSync(json), { 'Content-Encoding': 'gzip' })),
  },
  {
    name: '204',
    description: '204 No Content.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('204 No Content', '', { 'Content-Length': null }),
  },
  {
    name: '302',
    description: '302 to a path that takes messages too.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('302 Found', undefined, { Location: '/elsewhere' }),
  },
  {
    name: '307',
    description: '307, which asks for the same POST again, to a path that takes messages too.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('307 Temporary Redirect', undefined, { Location: '/elsewhere' }),
  },
  {
    name: '404-html',
    description: '404 with HTML.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('404 Not Found', HTML, HTML_TYPE),
  },
  {
    name: '429',
    description: '429 with Retry-After: 0.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('429 Too Many Requests', HTML, { ...HTML_TYPE, 'Retry-After': '0' }),
  },
  {
    name: '500',
    description: '500 with the JSON of a good answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('500 Internal Server Error'),
  },
  {
    name: '502',
    description: '502 with the JSON of a good answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('502 Bad Gateway'),
  },
  {
    name: '502-html',
    description: '502 with HTML.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('502 Bad Gateway', HTML, HTML_TYPE),
  },
  {
    name: '503',
    description: '503 with the JSON of a good answer and Retry-After: 0.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('503 Service Unavailable', undefined, { 'Retry-After': '0' }),
  },
  {
    name: '202-system-error',
    description: '202 with the reason system_error, which counts only at 200.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('202 Accepted', '{"reason":"system_error","status":"error"}'),
  },
  {
    name: '503-system-error',
    description: '503 with the reason system_error, which counts only at 200.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('503 Service Unavailable', '{"reason":"system_error","status":"error"}'),
  },
  {
    name: '504',
    description: '504 with the JSON of a good answer.',
    expected: UNKNOWN,
    level: 'request',
    answer: answerWith('504 Gateway Timeout'),
  },

  // The gateway rejects the request.
  {
    name: '401-html',
    description: '401 without JSON.',
    expected: DENIED,
    level: 'request',
    answer: answerWith('401 Unauthorized', HTML, { ...HTML_TYPE, 'WWW-Authenticate': 'Basic realm="sms"' }),
  },
  {
    name: '403-html',
    description: '403 without JSON.',
    expected: DENIED,
    level: 'request',
    answer: answerWith('403 Forbidden', HTML, HTML_TYPE),
  },
  {
    name: '403-wrong-ip',
    description: '403 with the reason wrong_ip.',
    expected: DENIED,
    level: 'request',
    answer: answerWith('403 Forbidden', '{"reason":"wrong_ip","status":"error"}'),
  },
  {
    name: '403-system-error',
    description: '403 with the reason system_error, which may be repeated only at 200.',
    expected: DENIED,
    level: 'request',
    answer: answerWith('403 Forbidden', '{"reason":"system_error","status":"error"}'),
  },
  {
    name: 'rejected',
    description: '200 with the reason invalid_source_address.',
    expected: REJECTED,
    level: 'request',
    answer: answerWith('200 OK', '{"reason":"invalid_source_address","status":"error"}'),
  },
  {
    name: 'system-error',
    description: '200 with the reason system_error: the message was not saved.',
    expected: { ...REJECTED, retryable: true },
    repeatable: true,
    level: 'request',
    answer: answerWith('200 OK', '{"reason":"system_error","status":"error"}'),
  },

  // Valid answers in an unusual form.
  {
    name: 'healthy',
    description: 'A good answer.',
    expected: SENT,
    level: 'request',
    answer: answerWith('200 OK'),
  },
  {
    name: 'early-hints',
    description: '103 Early Hints, then a good answer.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.write(
        Buffer.concat([Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'), response('200 OK', json)]),
      ),
  },
  {
    name: 'http-1.0',
    description: 'A good answer of HTTP/1.0 without a length, ended by FIN.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) => socket.end(`HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n${json}`),
  },
  {
    name: 'chunked',
    description: 'A good answer, each byte of it a chunk.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) => {
      socket.write(response('200 OK', '', CHUNKED));
      for (const character of json) socket.write(chunk(character));
      socket.write('0\r\n\r\n');
    },
  },
  {
    name: 'byte-order-mark',
    description: 'A good answer that begins with a byte order mark.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) => socket.write(response('200 OK', `\uFEFF${json}`)),
  },
  {
    name: 'connection-close',
    description: 'A good answer with Connection: close, then FIN.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) => socket.end(response('200 OK', json, { Connection: 'close' })),
  },
  {
    name: 'fin-after-answer',
    description: 'A good answer that promises keep-alive, and FIN behind it: a next request may meet it in flight.',
    expected: SENT,
    orElse: UNKNOWN_UNREAD,
    level: 'request',
    answer: ({ socket, json }) => socket.end(response('200 OK', json)),
  },
  {
    name: 'double-answer',
    description: 'Two good answers to one request.',
    expected: SENT,
    level: 'request',
    answer: ({ socket, json }) =>
      socket.write(
        Buffer.concat([response('200 OK', json), response('200 OK', json.replace('message-id-', '$&stale'))]),
      ),
  },
  {
    name: 'stale-keep-alive',
    description: 'A good answer; the test then closes the idle connection while the client cannot see it.',
    expected: SENT,
    level: 'request',
    answer: answerWith('200 OK'),
  },
] as const satisfies readonly Fault[];

export type FaultName = (typeof TABLE)[number]['name'];

/** All faults of the server, from those before the connection to unusual but valid answers. */
export const FAULTS: readonly (Fault & { name: FaultName })[] = TABLE;

/** The table of faults in Markdown. */
export function faultTable(): string {
  const rows = FAULTS.map(({ name, description, expected, orElse }) => {
    const either = (cell: (expectation: Expectation) => string) =>
      [...new Set([expected, orElse ?? expected].map(cell))].join(' or ');
    return [
      `\`${name}\``,
      description,
      either(({ outcome }) => `\`${outcome}\``),
      either(({ errorClass }) => (errorClass ? `\`${errorClass}\`` : '–')),
      either(({ retryable }) => (retryable ? 'yes' : 'no')),
      either(({ readsPost }) => (readsPost ? 'yes' : 'no')),
    ];
  });
  const head = ['Fault', 'What the peer does', '`outcome`', 'Error', '`retryable`', 'POST read'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
