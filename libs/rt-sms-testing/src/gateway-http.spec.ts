import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { basic, call, get, post, send, SMS, statusOf } from '../test/support.js';
import { RtSmsSimulator } from './index.js';

let gateway: RtSmsSimulator;
const start = async (options: Parameters<typeof RtSmsSimulator.start>[0] = {}) => {
  gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
};
afterEach(() => gateway.close());

/** Writes raw bytes and returns everything that the server sends until it ends the connection. */
async function raw(request: string): Promise<string> {
  const socket = net.connect(Number(new URL(gateway.url).port), '127.0.0.1');
  socket.write(request);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

function pairs(flat: readonly string[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] ?? '']])));
}

describe('an answer (§1.5, §2.1.2)', () => {
  it('has the headers of the document in their order, and its body', async () => {
    await start();
    const { status, rawHeaders, text } = await post(gateway, SMS, { ...basic(), connection: 'keep-alive' });
    expect(status).toBe(200);
    expect(text).toMatch(/^\{"result":\{"uid":"message-id-[A-Za-z0-9]{12}"\},"status":"ok"\}$/);
    expect(Object.entries(pairs(rawHeaders))).toEqual([
      ['Server', 'nginx'],
      ['Date', expect.stringMatching(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/)],
      ['Content-Type', 'application/json; charset=utf-8'],
      ['Content-Length', '58'],
      ['Connection', 'keep-alive'],
      ['x-request-id', expect.stringMatching(/^[0-9a-f]{32}$/)],
    ]);
  });

  it('of a rejection has the length that the document shows', async () => {
    await start();
    const { status, headers, text } = await post(gateway, SMS, basic('simulator', 'wrong'));
    expect([status, headers['content-length'], text]).toEqual([
      403,
      '47',
      '{"reason":"wrong_credentials","status":"error"}',
    ]);
  });

  it('has a new x-request-id each time', async () => {
    await start();
    const ids = [await post(gateway, SMS), await post(gateway, {})].map(({ headers }) => headers['x-request-id']);
    expect(new Set(ids).size).toBe(2);
  });

  it('keeps the connection for the next request', async () => {
    await start();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<unknown>();
    for (let n = 0; n < 3; n++) {
      const request = http.request(gateway.url, { method: 'POST', agent, headers: basic() }).end(JSON.stringify(SMS));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      ports.add(response.socket.localPort);
      await once(response.resume(), 'end');
    }
    agent.destroy();
    expect(ports.size).toBe(1);
  });

  it('closes the connection if the client requests it', async () => {
    await start();
    expect(await raw(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).toContain('Connection: close\r\n');
  });

  it('to HTTP/1.0 is complete and ends the connection', async () => {
    await start();
    const body = JSON.stringify(SMS);
    const answer = await raw(
      `POST /api/v2/send_message HTTP/1.0\r\nAuthorization: ${basic().authorization}\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    expect(answer).toContain('Connection: close\r\n');
    expect(answer).toContain('Content-Length: 58\r\n');
    expect(answer).toMatch(/\r\n\r\n\{"result":\{"uid":"message-id-\w{12}"\},"status":"ok"\}$/);
  });
});

describe('authentication (§1.2, §2.1.1)', () => {
  const login = 'ян';
  const password = 'па:роль';
  const inBody = { ...SMS, login, pass: password };
  const good = basic(login, password);
  const wrong = basic(login, 'x');

  it.each([
    ['header', SMS, good, 'header'],
    ['header, lower-case scheme', SMS, { authorization: good.authorization.replace('Basic', 'basic') }, 'header'],
    ['body', inBody, {}, 'body'],
    ['both', inBody, good, 'both'],
    ['body with a wrong header', inBody, wrong, 'body'],
    ['header with a wrong body', { ...inBody, pass: 'x' }, good, 'header'],
  ])('by %s', async (_, body, headers, credentials) => {
    await start({ login, password });
    expect((await post(gateway, body, headers)).status).toBe(200);
    expect(gateway.messages).toMatchObject([{ credentials }]);
  });

  it.each([
    ['nothing', SMS, {}, 401, 'auth_required'],
    ['half a pair in the body', { ...SMS, login }, {}, 401, 'auth_required'],
    ['another scheme', SMS, { authorization: 'Bearer abc' }, 401, 'auth_required'],
    ['a header with no colon in it', SMS, { authorization: 'Basic YWJj' }, 401, 'auth_required'],
    ['nothing, and no JSON either', 'x', {}, 401, 'auth_required'],
    ['a wrong header', SMS, wrong, 403, 'wrong_credentials'],
    ['a wrong login', SMS, basic('x', password), 403, 'wrong_credentials'],
    ['a wrong body', { ...inBody, pass: 'x' }, {}, 403, 'wrong_credentials'],
  ])('fails with %s', async (_, body, headers, status, reason) => {
    await start({ login, password });
    const reply = await post(gateway, body, headers);
    expect([reply.status, reply.text]).toEqual([status, `{"reason":"${reason}","status":"error"}`]);
    expect(gateway.messages).toEqual([]);
  });

  it('is required for a status request too', async () => {
    await start();
    expect((await get(gateway, 'message-id-000000000000', {})).status).toBe(401);
    expect((await get(gateway, 'message-id-000000000000', basic('a', 'b'))).status).toBe(403);
  });

  it.each([
    [['127.0.0.1'], 200],
    [['::ffff:127.0.0.1'], 200],
    [['203.0.113.1', '2001:db8::1'], 403],
    [[], 403],
  ])('with the addresses %j answers %d', async (allowFrom, status) => {
    await start({ allowFrom });
    const reply = await post(gateway, SMS);
    expect(reply.status).toBe(status);
    if (status === 403) expect(reply.text).toBe('{"reason":"wrong_ip","status":"error"}');
  });

  it('recognises an IPv4 client on a dual-stack socket', async () => {
    await start({ allowFrom: ['127.0.0.1'], host: '::' });
    const url = gateway.url.replace('[::1]', '127.0.0.1');
    expect((await call(url, { method: 'POST', headers: basic(), body: JSON.stringify(SMS) })).status).toBe(200);
  });

  it('checks credentials before the list of addresses, so it does not reveal the list', async () => {
    await start({ allowFrom: [] });
    expect((await post(gateway, SMS, basic('a', 'b'))).text).toContain('wrong_credentials');
  });
});

describe('a page of another origin', () => {
  const body = JSON.stringify({ ...SMS, login: 'simulator', pass: 'secret' });

  it.each([
    ['posts what a form can post', { origin: 'https://evil.example', 'content-type': 'text/plain' }],
    ['of another port', { origin: 'http://127.0.0.1:1', 'content-type': 'application/json' }],
    ['in a frame without an origin', { origin: 'null' }],
    ['in a browser that tells its site only', { 'sec-fetch-site': 'cross-site' }],
    ['whose name was made to point here', { host: 'evil.example' }],
    ['of such a name, which is its own origin', { host: 'evil.example:80', origin: 'http://evil.example' }],
    ['of a name that only begins well', { host: 'localhost.evil.example' }],
    ['of a name that only ends well', { host: 'evil.example.localhost.com' }],
    ['of an address in a name', { host: '127.0.0.1.evil.example' }],
    ['under a name that cannot be read', { host: 'a b' }],
  ])('is rejected, but not in the form of the gateway: %s', async (_, headers) => {
    await start();
    gateway.nextSend('system_error');
    const uid = 'message-id-000000000000';
    for (const reply of [await post(gateway, body, headers), await get(gateway, uid, { ...basic(), ...headers })]) {
      expect([reply.status, reply.headers['content-type']]).toEqual([403, 'text/plain; charset=utf-8']);
      expect(reply.text).not.toContain('status');
    }
    expect(gateway.messages).toEqual([]);
    // The request did not use up a fault.
    expect(gateway.faults.send).toHaveLength(1);
  });

  it.each([
    ['this machine', 'localhost:4010', {}],
    ['an address of the network', '192.168.0.7:4010', {}],
    ['an IPv6 address', '[::1]:4010', {}],
    ['a container', 'simulator:4010', {}],
    ["the containers' host", 'host.docker.internal:4010', {}],
    ['a service of Kubernetes', 'sms.default.svc.cluster.local', {}],
    ['a name that was given', 'SMS.example.org', { inbox: { hosts: ['sms.Example.org'] } }],
  ])('is not mistaken for a program that calls %s', async (_, host, options) => {
    await start(options);
    expect((await post(gateway, body, { host, 'content-type': 'text/plain' })).text).toContain('"ok"');
    expect((await post(gateway, body, { host, origin: `http://${host.toLowerCase()}` })).text).toContain('"ok"');
  });
});

describe('a send (§2.1.1)', () => {
  it.each([
    ['a number', 79_270_000_001, '79270000001'],
    ['a string', '79270000001', '79270000001'],
    ['a foreign number', '375291234567', '375291234567'],
    ['a foreign number beginning with 8', '84912345678', '84912345678'],
  ])('accepts as msisdn %s', async (_, msisdn, kept) => {
    await start();
    await send(gateway, { ...SMS, msisdn });
    expect(gateway.messages).toMatchObject([{ ...SMS, msisdn: kept }]);
  });

  it.each([
    ['invalid_request_body', 'no JSON', '{"msisdn":'],
    ['invalid_request_body', 'nothing', ''],
    ['invalid_request_body', 'an array', [SMS]],
    ['invalid_request_body', 'null', 'null'],
    ['invalid_request_body', 'not UTF-8', Buffer.from(JSON.stringify(SMS), 'utf16le')],
    ['invalid_request_body', 'a broken UTF-8 text', Buffer.from('{"msisdn":"79270000001","text":"\xff"}', 'latin1')],
    ['invalid_field_msisdn', 'no msisdn', { ...SMS, msisdn: undefined }],
    ['invalid_field_msisdn', 'a plus', { ...SMS, msisdn: '+79270000001' }],
    ['invalid_field_msisdn', 'blanks', { ...SMS, msisdn: '7 927 000 00 01' }],
    ['invalid_field_msisdn', 'the domestic form', { ...SMS, msisdn: '89270000001' }],
    ['invalid_field_msisdn', 'a digit missing', { ...SMS, msisdn: '7927000000' }],
    ['invalid_field_msisdn', 'a digit too many', { ...SMS, msisdn: 792_700_000_011 }],
    ['invalid_field_msisdn', 'a fraction', { ...SMS, msisdn: 79_270_000_001.5 }],
    ['invalid_field_msisdn', 'null', { ...SMS, msisdn: null }],
    ['invalid_field_shortcode', 'no shortcode', { ...SMS, shortcode: undefined }],
    ['invalid_field_shortcode', 'an empty shortcode', { ...SMS, shortcode: '' }],
    ['invalid_field_shortcode', 'a shortcode that was not agreed', { ...SMS, shortcode: 'OTHER' }],
    ['invalid_field_text', 'no text', { ...SMS, text: undefined }],
    ['invalid_field_text', 'null as text', { ...SMS, text: null }],
    ['invalid_field_text', 'an empty text', { ...SMS, text: '' }],
  ])('is rejected as %s for %s', async (reason, _, body) => {
    await start({ shortcodes: ['AVARIA', 'BANK'] });
    const { status, text } = await post(gateway, body);
    expect([status, text]).toEqual([200, `{"reason":"${reason}","status":"error"}`]);
    expect(gateway.messages).toEqual([]);
  });

  it('reads a body in pieces and counts the request', async () => {
    await start();
    const request = http.request(gateway.url, { method: 'POST', headers: basic(), agent: false });
    const bytes = Buffer.from(JSON.stringify(SMS));
    for (const byte of bytes) request.write(Buffer.of(byte));
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    expect(gateway.messages).toMatchObject([SMS]);
    expect(gateway.requests).toEqual({ post: 1, get: 0 });
  });
});

describe('a status request (§2.2)', () => {
  it('answers with the keys and types of the example', async () => {
    await start();
    const uid = await send(gateway);
    const { status, text } = await get(gateway, uid);
    expect(status).toBe(200);
    expect(text.replaceAll(/\b\d{10}(?=[,}])/g, 'SECONDS')).toBe(
      '{"result":{"created_at":SECONDS,"msisdn":79270000001,"pdu_count":null,"status":"awaiting_report",' +
        `"text":"Привет","uid":"${uid}","updated_at":SECONDS},"status":"ok"}`,
    );
    const { created_at } = await statusOf(gateway, uid);
    expect(Math.abs(Number(created_at) - Date.now() / 1000)).toBeLessThan(5);
  });

  it.each(['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected', 'expired'])(
    'shows %s, and the error code only with rejected',
    async (status) => {
      await start();
      const uid = await send(gateway);
      await gateway.report(uid, status, { parts: 3, err: '11' });
      expect(await statusOf(gateway, uid)).toMatchObject({ status, pdu_count: 3 });
      expect((await get(gateway, uid)).text.includes('"error_code":"11"')).toBe(status === 'rejected');
    },
  );

  it('puts the error code into the envelope with errorCodeIn', async () => {
    await start({ errorCodeIn: 'envelope' });
    const uid = await send(gateway);
    await gateway.report(uid, 'rejected', { err: '11' });
    expect(JSON.parse((await get(gateway, uid)).text)).toMatchObject({ error_code: '11', status: 'ok' });
    expect(await statusOf(gateway, uid)).not.toHaveProperty('error_code');
  });

  it.each([
    ['message-id-000000000000', 'transaction_not_found'],
    ['message-id-7461983', 'transaction_not_found'],
    ['message-id-', 'invalid_request_body'],
    ['7461983', 'invalid_request_body'],
    ['message-id-a%2Fb', 'invalid_request_body'],
    ['%zz', 'invalid_request_body'],
  ])('for %s answers %s', async (uid, reason) => {
    await start();
    const { status, text } = await get(gateway, uid);
    expect([status, text]).toEqual([200, `{"reason":"${reason}","status":"error"}`]);
  });
});

describe('a request outside the API', () => {
  it.each([
    ['GET', '/', 404],
    ['POST', '/api/v2/send_message2', 404],
    ['POST', '/api/v1/send_message', 404],
    ['GET', '/api/v2/send_message', 405],
    ['PUT', '/api/v2/send_message', 405],
    ['POST', '/api/v2/send_message/message-id-000000000000', 405],
  ])('%s %s is %d in HTML', async (method, path, status) => {
    await start();
    const reply = await call(new URL(path, gateway.url).href, { method, headers: basic() });
    expect([reply.status, reply.headers['content-type'], reply.headers.server]).toEqual([status, 'text/html', 'nginx']);
    expect(reply.text).toContain(`<center><h1>${status} `);
  });

  it('is rejected with a body larger than 1 MiB', async () => {
    await start();
    expect((await post(gateway, { ...SMS, text: 'a'.repeat(1_048_576) })).status).toBe(413);
    expect(gateway.messages).toEqual([]);
  });
});
