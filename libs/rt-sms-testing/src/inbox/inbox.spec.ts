import { once } from 'node:events';
import http from 'node:http';
import vm from 'node:vm';
import { call, get, post, Receiver, send, SMS, statusOf } from '../../test/support.js';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from '../index.js';
import { readPage } from './page.js';

const PAGE = readPage();

let gateway: RtSmsSimulator;
let base: string;
const start = async (options: RtSmsSimulatorOptions = {}) => {
  gateway = await RtSmsSimulator.start({ lifecycle: false, inbox: true, ...options });
  base = new URL('/', gateway.url).href;
};
afterEach(() => gateway.close());

const act = async (path: string, body: unknown = {}, headers: http.OutgoingHttpHeaders = {}) => {
  const reply = await call(`${base}inbox/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: reply.status, json: JSON.parse(reply.text) as Record<string, unknown> };
};

type Row = Record<string, unknown> & { uid: string; text: string };
interface Update {
  messages: Row[];
  exchanges: Record<string, unknown>[];
  settings?: Record<string, unknown>;
}

/** Opens the event stream: each call returns the next event. */
async function listen(): Promise<() => Promise<{ event: string; data: Update }>> {
  const request = http.get(`${base}inbox/events`, { agent: false });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.setEncoding('utf8').on('error', () => undefined);
  let text = '';
  const chunks = response.iterator({ destroyOnReturn: false });
  return async () => {
    for (;;) {
      const [whole, event = '', data = ''] = /^event: (.*)\ndata: (.*)\n\n/.exec(text) ?? [];
      if (whole !== undefined) {
        text = text.slice(whole.length);
        return { event, data: JSON.parse(data) as Update };
      }
      const next = (await chunks.next()) as IteratorResult<string>;
      if (next.done) throw new Error('the events ended');
      text += next.value;
    }
  };
}

describe('the page', () => {
  it('is not served without the option', async () => {
    await start({ inbox: false });
    expect(gateway.inboxUrl).toBeUndefined();
    for (const path of ['', 'inbox/app.js', 'inbox/events']) {
      expect(await call(base + path)).toMatchObject({ status: 404, headers: { server: 'nginx' } });
    }
  });

  it('is served at /, may not load from other origins, and does not change the API', async () => {
    await start();
    expect(gateway.inboxUrl).toBe(base);
    const page = await call(base);
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
    expect(page.headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'");
    expect(page.text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    for (const [, path = ''] of page.text.matchAll(/(?:src|href)="\/([^"]+)"/g)) {
      expect((await call(base + path)).status).toBe(200);
    }
    expect(await call(`${base}inbox`)).toMatchObject({ status: 404, headers: { server: 'nginx' } });
    expect((await call(`${base}elsewhere`)).status).toBe(404);
    expect(gateway.requests).toEqual({ post: 0, get: 2 });
    expect((await get(gateway, await send(gateway))).status).toBe(200);
  });

  it.each([...PAGE].filter(([path]) => path.endsWith('.js')))(
    '%s is a module that does not write markup',
    async (_, { body }) => {
      await start();
      expect(() => new vm.SourceTextModule(body)).not.toThrow();
      expect(body).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/);
    },
  );

  it('has all texts in both languages', async () => {
    await start();
    const [english, russian] = ['EN', 'RU'].map((name) => {
      const [, words = ''] =
        new RegExp(`const ${name} = {(.*?)\n};`, 's').exec(PAGE.get('/inbox/words.js')?.body ?? '') ?? [];
      return words.match(/^ {2}\w+(?=:)/gm);
    });
    expect(english?.length).toBeGreaterThan(50);
    expect(russian).toEqual(english);
    const code = Array.from(PAGE.values(), ({ body }) => body);
    const used = code.flatMap((body) => [...body.matchAll(/\bt\('(\w+)'|data-t(?:-[\w-]+)?="(\w+)"/g)]);
    expect(used.map(([, a, b]) => `  ${a ?? b}`).filter((word) => !english?.includes(word))).toEqual([]);
  });
});

describe('requests from elsewhere', () => {
  const port = () => new URL(base).port;

  it.each([
    ['a name that was made to point here', { host: 'evil.example' }],
    ['a name that only begins well', { host: 'localhost.evil.example' }],
    ['an address of the network', { host: '192.168.0.7:4010' }],
    ['a Host that is none', { host: 'a b' }],
    ['a foreign Origin', { origin: 'https://evil.example' }],
    ['a foreign port of this machine', { origin: 'http://127.0.0.1:1' }],
    ['an Origin without a name', { origin: 'null' }],
    ['a foreign page', { 'sec-fetch-site': 'cross-site' }],
    ['a page of another port', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }],
  ])('are rejected: %s', async (_, headers) => {
    await start();
    const uid = await send(gateway);
    expect((await act(`messages/${uid}/report`, { status: 'delivered' }, headers)).status).toBe(403);
    expect((await call(`${base}inbox/events`, { headers })).status).toBe(403);
    expect((await call(base, { headers })).status).toBe(403);
    expect(await statusOf(gateway, uid)).toMatchObject({ status: 'awaiting_report' });
  });

  it('may link to the page', async () => {
    await start();
    const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await call(base, { headers })).status).toBe(200);
  });

  it('do not include the page itself and programs', async () => {
    await start();
    for (const host of [`127.0.0.1:${port()}`, `localhost:${port()}`, `sms.localhost:${port()}`, `[::1]:${port()}`]) {
      const own = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
      expect((await act('settings', {}, own)).status).toBe(200);
      expect((await act('settings', {}, { host })).status).toBe(200);
    }
  });

  it('are accepted under a name in inbox.hosts', async () => {
    await start({ inbox: { hosts: ['SMS.test'] } });
    expect((await act('settings', {}, { host: 'sms.test:4010' })).status).toBe(200);
    expect((await act('settings', {}, { host: 'sms.test.evil.example' })).status).toBe(403);
  });

  it('cannot change anything by a form', async () => {
    await start();
    const uid = await send(gateway);
    const form = { 'content-type': 'text/plain' };
    expect(await act(`messages/${uid}/report`, { status: 'failed' }, form)).toEqual({
      status: 400,
      json: { error: 'The Content-Type must be application/json' },
    });
  });
});

describe('events', () => {
  it('report all messages, then all changes', async () => {
    await using receiver = await startReceiver();
    await start({ callbackUrl: receiver.url });
    const first = await send(gateway);
    const next = await listen();
    expect(await next()).toMatchObject({
      event: 'state',
      data: { messages: [{ uid: first, ...SMS, status: 'accepted', segments: 1, callbacks: [] }] },
    });

    const second = await send(gateway, { ...SMS, text: '<b>' });
    expect(await next()).toMatchObject({
      event: 'change',
      data: { messages: [{ uid: second, text: '<b>' }], exchanges: [{ method: 'POST', code: 200, uid: second }] },
    });

    await gateway.report(first, 'rejected', { err: '7' });
    let change = await next();
    // On a busy machine the answer to the callback arrives in a separate event.
    const isAnswered = () => JSON.stringify(change.data).includes('"code":200');
    while (!isAnswered()) change = await next();
    expect(change).toMatchObject({
      data: {
        messages: [{ uid: first, status: 'rejected', err: '7', callbacks: [{ status: 'rejected', code: 200 }] }],
      },
    });

    gateway.adjust({ loss: 0.25 });
    expect(await next()).toMatchObject({ data: { messages: [], settings: { loss: 0.25 } } });
  });

  it('report the newest messages first, and the others in order', async () => {
    await start();
    const uids = [];
    for (let n = 0; n < 450; n++) uids.push(await send(gateway));
    const next = await listen();
    const [newest, older] = [await next(), await next()];
    expect([newest.event, older.event]).toEqual(['state', 'older']);
    expect([...older.data.messages, ...newest.data.messages].map(({ uid }) => uid)).toEqual(uids);
  });

  it('report rejected requests with their reason', async () => {
    await start();
    const next = await listen();
    await next();
    await post(gateway, { ...SMS, text: '' });
    expect(await next()).toMatchObject({
      data: { messages: [], exchanges: [{ reason: 'invalid_field_text', code: 200 }] },
    });
  });
});

describe('an action', () => {
  it('reports a status, with its callback or without', async () => {
    await using receiver = await startReceiver();
    await start({ callbackUrl: receiver.url });
    const uid = await send(gateway);
    expect(await act(`messages/${uid}/report`, { status: 'awaiting_report', lost: true })).toMatchObject({
      status: 200,
      json: { callback: { lost: true } },
    });
    expect(await act(`messages/${uid}/report`, { status: 'rejected', err: '11', parts: 2 })).toMatchObject({
      json: { callback: { code: 200, lost: false } },
    });
    expect(receiver.statuses).toEqual(['rejected']);
    expect(await statusOf(gateway, uid)).toMatchObject({ status: 'rejected', error_code: '11', pdu_count: 2 });
  });

  it('sends a callback again', async () => {
    await using receiver = await startReceiver();
    await start({ callbackUrl: receiver.url, loss: 1 });
    const uid = await send(gateway);
    expect(await act(`messages/${uid}/resend`)).toMatchObject({ status: 404 });
    await gateway.report(uid, 'delivered');
    expect(await act(`messages/${uid}/resend`)).toMatchObject({ status: 200, json: { callback: { code: 200 } } });
    expect(receiver.statuses).toEqual(['delivered']);
  });

  it('sets faults and clears them', async () => {
    await start();
    expect(await act('faults', { on: 'send', fault: 'system_error', times: 2 })).toMatchObject({
      json: { faults: { send: [{ fault: { fault: 'system_error' }, times: 2 }], status: [] } },
    });
    expect((await post(gateway, SMS)).text).toContain('system_error');
    expect(gateway.faults.send).toMatchObject([{ times: 1 }]);
    await act('faults/clear');
    expect((await post(gateway, SMS)).text).toContain('"ok"');
    await act('faults', { on: 'status', fault: { status: 503 }, times: null });
    expect(gateway.faults.status).toMatchObject([{ times: null }]);
  });

  it('changes the settings and the callback address', async () => {
    await start();
    const changes = { loss: 0.5, latencyMs: 10, callbackUrl: 'http://127.0.0.1:1/x', lifecycle: {} };
    expect(await act('settings', changes)).toMatchObject({
      json: { ...changes, lifecycle: { awaitingMs: 300, finalMs: 1_000 } },
    });
    expect(await act('settings', { callbackUrl: null })).toMatchObject({ json: { callbackUrl: null, loss: 0.5 } });
  });

  it.each([
    ['messages/message-id-none/report', { status: 'delivered' }, 404, 'No message message-id-none'],
    ['messages/UID/report', {}, 400, 'status must be a string'],
    ['messages/UID/report', { status: '' }, 400, 'the status is empty'],
    ['faults', { on: 'send', fault: 'nope' }, 400, 'expected one of'],
    ['faults', { on: 'send', fault: 5 }, 400, 'Not a fault'],
    ['faults', { on: 'both', fault: 'html' }, 400, 'on must be'],
    ['faults', { on: 'send', fault: 'html', times: 0 }, 400, 'times must be'],
    ['settings', { loss: 2, password: 'x' }, 400, 'loss must be a probability from 0 to 1; password: no such option'],
    ['settings', { callbackUrl: 'javascript:1' }, 400, 'must be an http or https URL'],
    ['settings', [], 400, 'must be a JSON object'],
    ['nothing', {}, 404, 'Not found: '],
  ])('is answered with the problem: %s %j', async (path, body, status, error) => {
    await start();
    const uid = await send(gateway);
    const reply = await act(path.replace('UID', uid), body);
    expect(reply).toEqual({ status, json: { error: expect.stringContaining(error) } });
  });
});

describe('the details of a message', () => {
  it('have its callbacks, requests and answers, without the credentials', async () => {
    await start({ password: 'very-secret' });
    const authorization = `Basic ${Buffer.from('simulator:very-secret').toString('base64')}`;
    const body = { ...SMS, login: 'simulator', pass: 'very-secret' };
    const uid = (JSON.parse((await post(gateway, body, { authorization })).text) as { result: { uid: string } }).result
      .uid;
    await get(gateway, uid, { authorization });
    const { text } = await call(`${base}inbox/messages/${uid}`);
    expect(JSON.parse(text)).toMatchObject({
      message: { uid, ...SMS },
      callbacks: [],
      exchanges: [
        { method: 'POST', status: 200, requestHeaders: expect.arrayContaining(['authorization', '***']) },
        { method: 'GET', status: 200, responseHeaders: expect.arrayContaining(['x-request-id']) },
      ],
    });
    expect(text).not.toContain('very-secret');
    expect(text).not.toContain(authorization.slice(6));
    expect((await call(`${base}inbox/messages/message-id-none`)).status).toBe(404);
  });

  it('have the exchange of a status request about an unknown message', async () => {
    await start();
    await get(gateway, 'message-id-000000000000');
    const { requestId, uid } = gateway.exchanges[0]!;
    const { status, text } = await call(`${base}inbox/exchanges/${requestId}?uid=${uid}`);
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({
      requestId,
      responseBody: expect.stringContaining('transaction_not_found'),
    });
  });

  it('have the exchange of a rejected request, too', async () => {
    await start();
    await post(gateway, '{');
    const id = gateway.exchanges[0]?.requestId;
    expect(JSON.parse((await call(`${base}inbox/exchanges/${id}`)).text)).toMatchObject({
      requestBody: '{',
      requestId: id,
    });
  });
});

async function startReceiver(): Promise<Receiver & AsyncDisposable> {
  const receiver = await Receiver.start();
  return Object.assign(receiver, { [Symbol.asyncDispose]: () => receiver.close() });
}
