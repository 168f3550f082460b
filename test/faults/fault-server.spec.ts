import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { Agent as TlsAgent, request as httpsRequest } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Pool, ProxyAgent, request as undiciRequest, type Dispatcher } from 'undici';
import { lateBy } from '../timing.js';
import { ConnectProxy, type ConnectProxyOptions } from './connect-proxy.js';
import {
  CERTIFICATES,
  FAULTS,
  FaultServer,
  faultTable,
  type Fault,
  type FaultName,
  type FaultServerOptions,
} from './fault-server.js';

const MSISDN = '79270000001';
const OPEN_AFTER_MS = 50;
/** Waiting time for faults that never end by themselves. */
const QUICK_MS = 300;
/** Waiting time for faults that end, also on a busy machine. */
const PATIENT_MS = 20_000;
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(name: FaultName, options?: FaultServerOptions) {
  const server = await FaultServer.start(name, options);
  closers.push(() => server.close());
  return server;
}

const message = (msisdn = MSISDN) => JSON.stringify({ msisdn, shortcode: 'SHOP', text: 'Привет' });

function rawPost(msisdn = MSISDN) {
  const body = message(msisdn);
  return `POST /api/v2/send_message HTTP/1.1\r\nHost: sms\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

interface Proof {
  /** Expected data. Default: no data. */
  sees?: RegExp;
  /** Minimum number of received bytes. */
  bytes?: number;
  /** End of the connection: FIN, an error of this code, or still open some time after the rest was received. */
  ends: 'fin' | 'open' | (string & {});
  /** Progress before the end: `nothing`, `connected` or `ready` (with TLS). Default: `ready`. */
  reaches?: string;
  /** Uses TCP even for an https URL, because TLS would hide how the connection ended. */
  over?: 'tcp';
}

const JSON_BODY = '\\{"result":\\{"uid":"message-id-[A-Za-z0-9]{12}"\\},"status":"ok"\\}';
/** Matches a complete answer with this status and body. */
const whole = (status: string, body = JSON_BODY) => new RegExp(`^HTTP/1.1 ${status}\r\n[^]*\r\n\r\n${body}$`);
const HTML = '<html>.*</html>';
const HALF = '\\{"result":\\{"uid":"message-id-';

const PROOFS: Record<FaultName, Proof> = {
  refused: { ends: 'ECONNREFUSED', reaches: 'nothing' },
  // Without a name server, the machine reports a temporary failure of the lookup.
  unresolvable: { ends: 'ENOTFOUND|EAI_AGAIN', reaches: 'nothing' },
  'connect-hang': { ends: 'open', reaches: 'nothing' },
  'tls-reset': { ends: 'ECONNRESET', over: 'tcp' },
  'tls-fin': { ends: 'fin', over: 'tcp' },
  'tls-hang': { ends: 'open', reaches: 'connected' },
  'tls-too-old': { ends: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', reaches: 'connected' },
  'self-signed': { ends: 'DEPTH_ZERO_SELF_SIGNED_CERT', reaches: 'connected' },
  'wrong-host': { ends: 'ERR_TLS_CERT_ALTNAME_INVALID', reaches: 'connected' },
  expired: { ends: 'CERT_HAS_EXPIRED', reaches: 'connected' },
  'plain-on-tls-port': { ends: 'ERR_SSL_WRONG_VERSION_NUMBER', reaches: 'connected' },
  'reset-at-accept': { ends: 'ECONNRESET', reaches: 'nothing|connected|ready' },
  'fin-at-accept': { ends: 'fin' },
  'tls-on-plain-port': { ends: 'fin' },
  'client-certificate-missing': { ends: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' },
  'rst-mid-request': { ends: 'ECONNRESET' },
  '503-mid-request': { sees: whole('503 Service Unavailable', HTML), ends: 'fin' },
  'fin-after-request': { ends: 'fin' },
  'rst-after-request': { ends: 'ECONNRESET' },
  'half-header-fin': { sees: /^HTTP\/1.1 200 OK\r\nContent-Type: appl$/, ends: 'fin' },
  'truncated-by-fin': { sees: whole('200 OK', HALF), ends: 'fin' },
  'truncated-by-rst': { sees: whole('200 OK', HALF), ends: 'ECONNRESET' },
  'truncated-chunked': { sees: whole('200 OK', `[0-9a-f]+\r\n${JSON_BODY}\r\n`), ends: 'fin' },
  silent: { ends: 'open' },
  'half-header-hang': { sees: /^HTTP\/1.1 200 OK\r\nContent-Type: appl$/, ends: 'open' },
  'dripping-headers': { sees: /^HTTP\/1.1 200 OK\r\nX-Long: aaa/, ends: 'open' },
  'half-body-hang': { sees: whole('200 OK', HALF), ends: 'open' },
  'dripping-body': { sees: /^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\n1\r\n\{\r\n1\r\n"\r\n1\r\nr\r\n/, ends: 'open' },
  'length-too-long': { sees: /Content-Length: 59\r\n[^]*\r\n\r\n.{58}$/, ends: 'open' },
  'garbage-status-line': { sees: /^220 sms ESMTP\r\n\r\n\{/, ends: 'fin' },
  'huge-headers': { sees: whole('200 OK'), bytes: 65_536, ends: 'open' },
  'both-lengths': { sees: /Content-Length: \d+\r\n[^]*Transfer-Encoding: chunked\r\n/, ends: 'open' },
  'length-too-short': { sees: /Content-Length: 53\r\n[^]*\r\n\r\n.{58}$/, ends: 'open' },
  'unasked-continue': { sees: /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n[^]*\}$/, ends: 'open' },
  'huge-body': { sees: /Content-Length: 67108922\r\n/, bytes: 67_108_922, ends: 'fin' },
  'huge-chunked-body': { sees: /Transfer-Encoding: chunked\r\n/, bytes: 67_108_922, ends: 'fin' },
  '200-html': { sees: whole('200 OK', HTML), ends: 'open' },
  '200-empty': { sees: whole('200 OK', ''), ends: 'open' },
  '200-array': { sees: whole('200 OK', '\\[\\]'), ends: 'open' },
  '200-null': { sees: whole('200 OK', 'null'), ends: 'open' },
  '200-half-json': { sees: whole('200 OK', HALF), ends: 'open' },
  '200-no-uid': { sees: whole('200 OK', '\\{"result":\\{\\},"status":"ok"\\}'), ends: 'open' },
  '200-no-reason': { sees: whole('200 OK', '\\{"status":"error"\\}'), ends: 'open' },
  '200-gzip': {
    sees: new RegExp(`Content-Encoding: gzip\r\n\r\n${gzipSync('').toString('latin1', 0, 2)}`),
    ends: 'open',
  },
  '204': { sees: /^HTTP\/1.1 204 No Content\r\n[^]*\r\n\r\n$/, ends: 'open' },
  '302': { sees: /^HTTP\/1.1 302 Found\r\n[^]*Location: \/elsewhere\r\n/, ends: 'open' },
  '307': { sees: /^HTTP\/1.1 307 Temporary Redirect\r\n[^]*Location: \/elsewhere\r\n/, ends: 'open' },
  '404-html': { sees: whole('404 Not Found', HTML), ends: 'open' },
  '429': { sees: whole('429 Too Many Requests', HTML), ends: 'open' },
  '500': { sees: whole('500 Internal Server Error'), ends: 'open' },
  '502': { sees: whole('502 Bad Gateway'), ends: 'open' },
  '502-html': { sees: whole('502 Bad Gateway', HTML), ends: 'open' },
  '503': { sees: whole('503 Service Unavailable'), ends: 'open' },
  '202-system-error': { sees: whole('202 Accepted', '.*"system_error".*'), ends: 'open' },
  '503-system-error': { sees: whole('503 Service Unavailable', '.*"system_error".*'), ends: 'open' },
  '504': { sees: whole('504 Gateway Timeout'), ends: 'open' },
  '401-html': { sees: whole('401 Unauthorized', HTML), ends: 'open' },
  '403-html': { sees: whole('403 Forbidden', HTML), ends: 'open' },
  '403-wrong-ip': { sees: whole('403 Forbidden', '\\{"reason":"wrong_ip","status":"error"\\}'), ends: 'open' },
  '403-system-error': { sees: whole('403 Forbidden', '\\{"reason":"system_error","status":"error"\\}'), ends: 'open' },
  rejected: { sees: whole('200 OK', '\\{"reason":"invalid_source_address","status":"error"\\}'), ends: 'open' },
  'system-error': { sees: whole('200 OK', '\\{"reason":"system_error","status":"error"\\}'), ends: 'open' },
  healthy: { sees: whole('200 OK'), ends: 'open' },
  'early-hints': { sees: /^HTTP\/1.1 103 Early Hints\r\n[^]*\r\n\r\nHTTP\/1.1 200 OK\r\n[^]*\}$/, ends: 'open' },
  'http-1.0': { sees: new RegExp(`^HTTP/1.0 200 OK\r\n[^]*\r\n\r\n${JSON_BODY}$`), ends: 'fin' },
  chunked: { sees: /\r\n\r\n1\r\n\{\r\n[^]*1\r\n\}\r\n0\r\n\r\n$/, ends: 'open' },
  'byte-order-mark': { sees: /\r\n\r\n\xef\xbb\xbf\{/, ends: 'open' },
  'connection-close': { sees: /Connection: close\r\n[^]*\}$/, ends: 'fin' },
  'fin-after-answer': { sees: whole('200 OK'), ends: 'fin' },
  'double-answer': { sees: new RegExp(`${JSON_BODY}HTTP/1.1 200 OK\r\n[^]*uid":"message-id-stale`), ends: 'open' },
  'stale-keep-alive': { sees: whole('200 OK'), ends: 'open' },
};

/** Makes one POST without an HTTP stack, and observes the connection until the proof is complete. */
async function watch(server: FaultServer, proof: Proof) {
  const { hostname: host, port, protocol } = new URL(server.url);
  const tls = protocol === 'https:' && proof.over !== 'tcp';
  const socket = tls
    ? connectTls({ host, port: Number(port), ca: server.ca })
    : connectTcp({ host, port: Number(port || 80) });
  closers.push(() => socket.destroy());
  const seen = { reaches: 'nothing', head: '', bytes: 0, ends: 'open', proven: !proof.sees };
  const done = new AbortController();
  const read = once(server, 'read').then(
    () => true,
    () => false,
  );
  socket.once('connect', () => (seen.reaches = 'connected'));
  socket.once(tls ? 'secureConnect' : 'connect', () => {
    seen.reaches = 'ready';
    socket.write(rawPost());
  });
  socket.on('data', (bytes) => {
    seen.bytes += bytes.length;
    if (seen.head.length < 100_000) seen.head += bytes.toString('latin1');
    // A dripping answer continues after the proof.
    if (proof.sees) seen.proven ||= seen.bytes >= (proof.bytes ?? 0) && proof.sees.test(seen.head);
    else seen.proven = false;
    if (proof.ends === 'open' && seen.proven) done.abort();
  });
  const finish = (ends: string) => {
    if (seen.ends === 'open') seen.ends = ends;
    done.abort();
  };
  socket.once('end', () => finish('fin'));
  socket.once('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
  if (proof.ends === 'open') {
    // A silent peer does not send anything, so wait for what it has read, if anything.
    if (proof.sees) await aborted(done.signal);
    else if (server.fault.expected.readsPost) await read;
    await sleep(OPEN_AFTER_MS);
  } else {
    await aborted(done.signal);
  }
  return seen;
}

const aborted = async (signal: AbortSignal) => void (signal.aborted || (await once(signal, 'abort')));

interface Answer {
  started: boolean;
  status?: number;
  body?: string;
}

/** One POST by undici, which reports whether it had begun to write before the failure. It ends after `giveUpMs`, or at 1 MB. */
function dispatch(
  pool: Dispatcher,
  path = '/api/v2/send_message',
  msisdn = MSISDN,
  giveUpMs = PATIENT_MS,
): Promise<Answer> {
  return new Promise((resolve) => {
    let started = false;
    let status = 0;
    let body = '';
    let timer: NodeJS.Timeout;
    const headers = { 'Content-Type': 'application/json' };
    pool.dispatch(
      { path, method: 'POST', headers, body: message(msisdn) },
      {
        onRequestStart(controller) {
          started = true;
          timer = setTimeout(() => controller.abort(new Error('deadline')), giveUpMs);
        },
        onResponseStart(_, code) {
          status = code;
        },
        onResponseData(controller, bytes) {
          body += bytes.toString();
          if (body.length > 1_000_000) controller.abort(new Error('too much'));
        },
        onResponseEnd() {
          clearTimeout(timer);
          resolve({ started, status, body });
        },
        onResponseError() {
          clearTimeout(timer);
          resolve({ started });
        },
      },
    );
  });
}

function outcomeOf({ started, status, body }: Answer) {
  if (!started) return 'not_sent';
  if (status === 401 || status === 403) return 'rejected';
  if (status !== 200) return 'unknown';
  if (/"uid":"message-id-\w{12}"\},"status":"ok"\}/.test(body!)) return 'sent';
  return body!.includes('"reason"') ? 'rejected' : 'unknown';
}

const patienceWith = ({ fault }: FaultServer, by: Fault['endsBy']) => (fault.endsBy === by ? QUICK_MS : PATIENT_MS);

function poolOf(server: FaultServer, options?: Pool.Options) {
  const pool = new Pool(new URL(server.url).origin, {
    connect: { ca: server.ca, timeout: patienceWith(server, 'connectMs') },
    connections: 1,
    ...options,
  });
  closers.push(() => pool.destroy());
  return pool;
}

const oneOf = (choices: string): unknown => expect.stringMatching(new RegExp(`^(${choices})$`));

describe.each(FAULTS.map((fault) => ({ ...fault })))(
  '$name: $description',
  ({ name, expected, orElse, scheme, level }) => {
    it('behaves as described', async () => {
      const server = await start(name);
      const { ends, reaches = 'ready' } = PROOFS[name];
      const seen = await watch(server, PROOFS[name]);
      expect(seen).toMatchObject({ ends: oneOf(ends), reaches: oneOf(reaches), proven: true });
      expect([...server.reads]).toEqual(expected.readsPost ? [[MSISDN, 1]] : []);
    });

    it.each(scheme || level === 'address' ? [{}] : [{ tls: false }, { tls: true }])(
      'has the outcome that the phase of the failure tells, %j',
      async (options) => {
        const server = await start(name, options);
        const outcome = outcomeOf(await post(server));
        expect([expected.outcome, orElse?.outcome]).toContain(outcome);
        while (expected.readsPost && server.postsRead === 0) await once(server, 'read');
        expect(server.postsRead).toBe(expected.readsPost ? 1 : 0);
      },
    );
  },
);

function post(server: FaultServer, msisdn = MSISDN, path = new URL(server.url).pathname) {
  return dispatch(poolOf(server), path, msisdn, patienceWith(server, 'sendMs'));
}

/** One POST by Node's client. Returns the status, or the code of the error. */
function nodePost(server: FaultServer, agent: Agent): Promise<number | string | undefined> {
  return new Promise((resolve) => {
    const request = server.url.startsWith('https:') ? httpsRequest : httpRequest;
    const body = message();
    const headers = { 'Content-Length': Buffer.byteLength(body) };
    request(server.url, { agent, ca: server.ca, method: 'POST', headers }, (answer) =>
      answer.resume().once('end', () => resolve(answer.statusCode)),
    )
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
      .end(body);
  });
}

it('is a table for the documentation', () => {
  const rows = faultTable().trimEnd().split('\n');
  expect(rows).toHaveLength(FAULTS.length + 2);
  expect(rows).toContain('| `refused` | The port is closed. | `not_sent` | `RtSmsConnectionError` | yes | no |');
  expect(rows).toContain(
    '| `fin-at-accept` | FIN as soon as the connection is accepted. | `unknown` or `not_sent` | `RtSmsUnexpectedResponseError` or `RtSmsConnectionError` | no or yes | no |',
  );
});

describe('in health', () => {
  it.each([{ tls: false }, { tls: true }])(
    'takes messages and tells their status on one connection, %j',
    async (options) => {
      const server = await start('healthy', options);
      const pool = poolOf(server);
      const { body } = await dispatch(pool);
      const [uid] = server.messages.keys();
      expect(JSON.parse(body!)).toEqual({ result: { uid }, status: 'ok' });
      const answer = await pool.request({ path: `/api/v2/send_message/${uid}`, method: 'GET' });
      expect(await answer.body.json()).toMatchObject({
        result: { uid, msisdn: Number(MSISDN), status: 'delivered', text: 'Привет' },
        status: 'ok',
      });
      expect(answer.headers).toMatchObject({
        server: 'nginx',
        date: expect.any(String),
        'content-type': 'application/json; charset=utf-8',
        connection: 'keep-alive',
        'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
      });
      const unknown = await pool.request({ path: '/api/v2/send_message/message-id-000000000000', method: 'GET' });
      expect(await unknown.body.json()).toEqual({ reason: 'transaction_not_found', status: 'error' });
      expect([server.accepted, server.connections, server.postsRead, server.getsRead]).toEqual([1, 1, 1, 2]);
    },
  );

  it('asks for the client certificate of its CA, and takes it', async () => {
    const server = await start('client-certificate-missing');
    const { ca, clientCert: cert, clientKey: key } = CERTIFICATES;
    expect(outcomeOf(await dispatch(poolOf(server, { connect: { ca, cert, key } })))).toBe('sent');
  });

  it('records what was on the wire', async () => {
    const server = await start('healthy', { record: true });
    const { hostname, port } = new URL(server.url);
    const socket = connectTcp(Number(port), hostname);
    // Sent in pieces that split a character of the body.
    const raw = Buffer.from(rawPost());
    for (const [from, to] of [[0, 30], [30, raw.length - 5], [raw.length - 5]]) {
      await new Promise((resolve) => socket.write(raw.subarray(from, to), resolve));
    }
    await once(socket, 'data');
    socket.destroy();
    expect(server.requests).toEqual([
      {
        method: 'POST',
        path: '/api/v2/send_message',
        headers: [
          ['Host', 'sms'],
          ['Content-Length', String(Buffer.byteLength(message()))],
        ],
        body: message(),
        raw,
      },
    ]);
  });
});

describe('what it counts', () => {
  it('is POSTs that arrived whole', async () => {
    const server = await start('healthy');
    const { hostname, port } = new URL(server.url);
    const socket = connectTcp(Number(port), hostname);
    socket.end(rawPost().slice(0, -1));
    await once(server, 'disconnect');
    expect(server.postsRead).toBe(0);
  });

  it('is also a POST to where a redirect led', async () => {
    const server = await start('307');
    await post(server);
    expect(outcomeOf(await post(server, MSISDN, '/elsewhere'))).toBe('sent');
    expect(server.twice).toEqual([MSISDN]);
  });

  it.each(['fin-after-request', 'silent', '503', 'truncated-by-fin'] as const)(
    'shows the duplicates of a naive retry: %s',
    async (name) => {
      const server = await start(name, { every: 2 });
      const pool = poolOf(server);
      const msisdns = Array.from({ length: 6 }, (_, i) => String(79_270_000_000 + i));
      for (const msisdn of msisdns) {
        const send = () => dispatch(pool, '/api/v2/send_message', msisdn, patienceWith(server, 'sendMs'));
        if (outcomeOf(await send()) === 'unknown') await send();
      }
      expect(server.reads.size).toBe(6);
      expect(server.twice.length).toBeGreaterThanOrEqual(3);
      expect(server.postsRead).toBe(6 + server.twice.length);
    },
  );
});

async function outcomesOf(server: FaultServer, sends: number) {
  const seen: string[] = [];
  // A new connection for each, so that the level of the fault makes no difference.
  while (seen.length < sends) seen.push(outcomeOf(await post(server)));
  return seen;
}

describe('a schedule', () => {
  it.each(['tls-reset', 'self-signed', 'plain-on-tls-port', 'tls-on-plain-port', '503'] as const)(
    'mixes %s with health',
    async (name) => {
      const { outcome } = FAULTS.find((fault) => fault.name === name)!.expected;
      const every = await start(name, { every: 3 });
      expect(await outcomesOf(every, 6)).toEqual(['sent', 'sent', outcome, 'sent', 'sent', outcome]);
      const times = await start(name, { times: 2 });
      expect(await outcomesOf(times, 3)).toEqual([outcome, outcome, 'sent']);
    },
  );

  it('can spare one method', async () => {
    const server = await start('503', { method: 'GET' });
    expect(outcomeOf(await post(server))).toBe('sent');
    expect((await undiciRequest(`${server.url}/message-id-000000000000`)).statusCode).toBe(503);
  });

  it('does not exist where there is no server', async () => {
    await expect(FaultServer.start('refused', { every: 2 })).rejects.toThrow('refused cannot be mixed with health');
  });
});

describe('closeIdle', () => {
  const ways = [
    { tls: false, how: 'fin' },
    { tls: false, how: 'rst' },
    { tls: true, how: 'fin' },
    { tls: true, how: 'rst' },
  ] as const;

  it.each(ways)('breaks the next send of a client that does not look, %j', async ({ tls, how }) => {
    const server = await start('stale-keep-alive', { tls });
    const agent = tls ? new TlsAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
    closers.push(() => agent.destroy());
    expect(await nodePost(server, agent)).toBe(200);
    // The socket is free only after the 'end' of the answer.
    await new Promise(setImmediate);
    expect(server.closeIdle(how)).toBe(1);
    expect(await nodePost(server, agent)).toEqual(oneOf('ECONNRESET|EPIPE'));
    expect(server.postsRead).toBe(1);
  });

  // Linux shows the state of a connection in a file.
  (process.platform === 'linux' ? it.each : it.skip.each)(ways)(
    'is through when it returns, %j',
    async ({ tls, how }) => {
      const server = await start('stale-keep-alive', { tls });
      await dispatch(poolOf(server));
      const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, '0');
      // A client of an earlier server on this port may still be listed.
      const stateOf = (client: string, state = '\\w\\w') =>
        new RegExp(`0100007F:(${client}) 0100007F:${port} (${state})`).exec(readFileSync('/proc/net/tcp', 'utf8')) ??
        [];
      const [established, closeWait] = ['01', '08'];
      const [, client] = stateOf('\\w+', established);
      expect(client).toBeDefined();
      server.closeIdle(how);
      expect(stateOf(client!)[2]).toBe(how === 'fin' ? closeWait : undefined);
    },
  );

  it.each(ways)('makes undici open another connection or say that nothing was sent, %j', async ({ tls, how }) => {
    const server = await start('stale-keep-alive', { tls });
    const pool = poolOf(server);
    await dispatch(pool);
    server.closeIdle(how);
    expect(outcomeOf(await dispatch(pool))).toBe(how === 'fin' ? 'sent' : 'not_sent');
    expect(server.postsRead).toBe(how === 'fin' ? 2 : 1);
  });
});

describe('close', () => {
  it.each(['silent', 'dripping-body', 'tls-hang', 'connect-hang', 'huge-body'] as const)(
    'is prompt: %s',
    async (name) => {
      const server = await FaultServer.start(name);
      const { hostname, port } = new URL(server.url);
      const socket = connectTcp(Number(port), hostname).on('error', () => {});
      closers.push(() => socket.destroy());
      if (name !== 'connect-hang') {
        socket.write(rawPost());
        await once(server, name === 'tls-hang' ? 'connection' : 'read');
        expect(server.connections).toBe(1);
      }
      expect(await lateBy(500, server.close())).toBeLessThan(500);
      expect(server.connections).toBe(0);
    },
  );

  it('emits an event when a client disconnects', async () => {
    const server = await start('silent');
    const { hostname, port } = new URL(server.url);
    const socket = connectTcp(Number(port), hostname);
    socket.write(rawPost());
    await once(server, 'read');
    socket.destroy();
    await once(server, 'disconnect');
    expect(server.connections).toBe(0);
  });
});

async function through(options: ConnectProxyOptions, token?: string) {
  const server = await start('healthy', { tls: true });
  const proxy = await ConnectProxy.start(options);
  closers.push(() => proxy.close());
  const agent = new ProxyAgent({
    uri: proxy.url,
    requestTls: { ca: server.ca },
    connections: 1,
    ...(token === undefined ? {} : { token }),
  });
  closers.push(() => agent.destroy());
  const answer = undiciRequest(server.url, {
    method: 'POST',
    body: message(),
    dispatcher: agent,
    signal: AbortSignal.timeout(PATIENT_MS),
  });
  const result = await answer.then(
    ({ statusCode }) => statusCode,
    (error: Error) => `${error.message} ${error.name}`,
  );
  return {
    result,
    tunnels: proxy.tunnels,
    heads: proxy.heads,
    postsRead: server.postsRead,
    host: new URL(server.url).host,
  };
}

describe('ConnectProxy', () => {
  it('tunnels', async () => {
    const seen = await through({});
    expect(seen).toMatchObject({ result: 200, tunnels: 1, postsRead: 1 });
    expect(seen.heads).toEqual([expect.stringContaining(`CONNECT ${seen.host} HTTP/1.1\r\n`)]);
  });

  it('asks for credentials', async () => {
    const token = `Basic ${Buffer.from('user:secret').toString('base64')}`;
    expect(await through({ credentials: 'user:secret' }, token)).toMatchObject({ result: 200, tunnels: 1 });
    expect(await through({ credentials: 'user:secret' })).toMatchObject({ result: expect.stringContaining('407') });
  });

  it.each([
    [{ mode: 'refuse' }, '407', 1],
    [{ mode: 'refuse', status: 403 }, '403', 1],
    [{ mode: 'dead' }, 'ECONNREFUSED', 0],
  ] as const)('fails on request: %j', async (options, error, heads) => {
    const seen = await through(options);
    expect(seen).toMatchObject({ result: expect.stringContaining(error), tunnels: 0, postsRead: 0 });
    expect(seen.heads).toHaveLength(heads);
  });

  it('hangs on request', async () => {
    const proxy = await ConnectProxy.start({ mode: 'hang' });
    closers.push(() => proxy.close());
    const { hostname, port } = new URL(proxy.url);
    const socket = connectTcp(Number(port), hostname);
    const answered = once(socket, 'data').then(() => true);
    socket.write('CONNECT sms:443 HTTP/1.1\r\n\r\n');
    while (proxy.heads.length === 0) await nextTurn();
    expect(await Promise.race([answered, sleep(OPEN_AFTER_MS)])).toBeUndefined();
    expect([socket.readyState, proxy.heads, proxy.tunnels]).toEqual(['open', ['CONNECT sms:443 HTTP/1.1'], 0]);
    socket.destroy();
  });
});
