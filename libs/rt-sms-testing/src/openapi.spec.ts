import { readFile } from 'node:fs/promises';
import { ApiDocument, FILE, lintProblems } from '../test/api-document.js';
import { DeviatingGateway } from '../test/deviating-gateway.js';
import { basic, call, Receiver, type Reply, send, SMS } from '../test/support.js';
import { REASONS, RtSmsSimulator, STATUSES } from './index.js';
import { httpStatusOf } from './protocol.js';
import { ROWS } from './verify/rows.js';
import { verify } from './verify/verify.js';

const ABSENT = 'message-id-000000000000';
let api: ApiDocument;
let gateway: RtSmsSimulator;
let receiver: Receiver;
beforeAll(async () => {
  api = await ApiDocument.load();
});
beforeEach(async () => {
  receiver = await Receiver.start();
  gateway = await RtSmsSimulator.start({ lifecycle: false, callbackUrl: receiver.url });
});
afterEach(async () => {
  await gateway.close();
  await receiver.close();
});

/** Sends a request, and returns the answer with what the document says about both. */
async function tried(method: string, uid: string | undefined, body: unknown, headers = basic() as object) {
  const url = uid === undefined ? gateway.url : `${gateway.url}/${uid}`;
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  const reply = await call(url, { method, headers: { ...headers }, ...sent });
  return { reply, request: api.request(method, url, body), response: api.response(method, url, reply) };
}

describe('openapi.yaml', () => {
  it('has no problem for the linter, which finds one in a changed copy', async () => {
    expect(await lintProblems()).toEqual([]);
    const text = await readFile(FILE, 'utf8');
    for (const [from, to, rule] of [
      ['operationId: sendMessage', 'operationId: getMessageStatus', 'operation-operationId-unique'],
      ['responses/Forbidden', 'responses/Forbiden', 'no-unresolved-refs'],
      ['created_at: 1574087003', 'created_at: soon', 'no-invalid-media-type-examples'],
      ['required: true\n          description: The id', 'require: true\n          description: The id', 'struct'],
    ] as const) {
      expect(text).toContain(from);
      expect((await lintProblems(text.replace(from, to))).join('\n')).toContain(rule);
    }
  });

  it('names the reasons and statuses of the document', async () => {
    const text = await readFile(FILE, 'utf8');
    for (const word of [...REASONS, ...STATUSES]) expect(text).toMatch(new RegExp(`\\b${word}\\b`));
  });

  it.each([
    ['a string as msisdn', SMS],
    ['a number as msisdn', { ...SMS, msisdn: 79_270_000_001 }],
    ['a foreign number', { ...SMS, msisdn: '84912345678' }],
    ['credentials in the body', { ...SMS, login: 'simulator', pass: 'secret' }],
  ])('describes a send with %s, and its answer', async (_, body) => {
    const { reply, request, response } = await tried('POST', undefined, body);
    expect([reply.status, request, response]).toEqual([200, [], []]);
    expect(gateway.messages).toHaveLength(1);
  });

  it.each([
    ['no msisdn', { ...SMS, msisdn: undefined }],
    ['a plus', { ...SMS, msisdn: '+79270000001' }],
    ['the domestic form', { ...SMS, msisdn: '89270000001' }],
    ['a fraction', { ...SMS, msisdn: 79_270_000_001.5 }],
    ['no shortcode', { ...SMS, shortcode: undefined }],
    ['an empty shortcode', { ...SMS, shortcode: '' }],
    ['null as text', { ...SMS, text: null }],
    ['an empty text', { ...SMS, text: '' }],
    ['an array', [SMS]],
  ])('refuses a send with %s, as the simulator does', async (_, body) => {
    const { reply, request, response } = await tried('POST', undefined, body);
    expect(reply.text).toContain('"error"');
    expect(request).not.toEqual([]);
    expect(response).toEqual([]);
  });

  it('describes every request that `verify` expects to be accepted, and every answer but those to a wrong method', async () => {
    const between = await DeviatingGateway.start(gateway.url);
    try {
      const options = { ...gateway.options, shortcode: 'SHOP', number: SMS.msisdn, timeoutMs: 60_000 };
      const rows = verify({ ...options, url: new URL(between.url) });
      for await (const { differences } of rows) expect(differences).toEqual([]);
      expect(between.seen).toHaveLength(ROWS.length);
      const problems = between.seen.map(({ method, path, body, reply }, at) => {
        const { name, expected } = ROWS[at]!;
        const url = new URL(path, between.url).href;
        const isGood = ['accepted', 'described', 'transaction_not_found'].includes(String(expected));
        const request = isGood ? api.request(method, url, body === '' ? undefined : JSON.parse(body)) : [];
        return [name, request, expected === 'refused' ? [] : api.response(method, url, reply)];
      });
      expect(problems).toEqual(ROWS.map(({ name }) => [name, [], []]));
    } finally {
      await between.close();
    }
  });

  it.each(REASONS)('describes the answer %s to both requests', async (reason) => {
    gateway.nextSend(reason);
    gateway.nextStatus(reason);
    for (const { reply, response } of [await tried('POST', undefined, SMS), await tried('GET', ABSENT, undefined)]) {
      expect([reply.status, response]).toEqual([httpStatusOf(reason), []]);
    }
  });

  it.each(STATUSES)('describes a message that is %s, and its callback', async (status) => {
    const uid = await send(gateway);
    await gateway.report(uid, status, { parts: 2, err: '11' });
    const { request, response } = await tried('GET', uid, undefined);
    expect([request, response]).toEqual([[], []]);
    expect(receiver.queries.map((query) => api.callback(query))).toEqual([[]]);
  });

  it('describes the error code in both places where the document can have it', async () => {
    await gateway.close();
    gateway = await RtSmsSimulator.start({ lifecycle: false, errorCodeIn: 'envelope' });
    const uid = await send(gateway);
    await gateway.report(uid, 'rejected', { err: '11' });
    const { reply, response } = await tried('GET', uid, undefined);
    expect(reply.text).toMatch(/^\{"error_code":"11"/);
    expect(response).toEqual([]);
  });

  describe('does not describe', () => {
    it.each([
      ['POST of a status', 'POST', ABSENT],
      ['PUT of a message', 'PUT', undefined],
      ['GET of a message', 'GET', undefined],
    ])('a %s', async (_, method, uid) => {
      const { request, response } = await tried(method, uid, undefined);
      expect([request, response]).toEqual([[`no operation ${method}`], ['no response 405']]);
    });

    it('a status, a code and a callback that are not in the document', async () => {
      const uid = await send(gateway);
      await gateway.report(uid, 'expired');
      expect((await tried('GET', uid, undefined)).response).not.toEqual([]);
      expect(api.callback(receiver.queries[0]!)).toEqual(['status  must be equal to one of the allowed values']);
      gateway.nextSend({ status: 503 });
      expect((await tried('POST', undefined, SMS)).response).toEqual(['no response 503']);
      gateway.nextSend('html');
      expect((await tried('POST', undefined, SMS)).response).toEqual(['no content text/html']);
      expect(api.callback(new URLSearchParams({ id: '1', status: 'delivered', parts: '0' }))).not.toEqual([]);
      expect(api.callback(new URLSearchParams({ status: 'delivered', parts: '1', error: '1' }))).toHaveLength(2);
    });

    it.each<[string, (reply: Reply) => Partial<Reply>]>([
      ['another key', ({ text }) => ({ text: text.replace('"uid"', '"id"') })],
      ['a number as text', ({ text }) => ({ text: text.replace('"Привет"', '5') })],
      ['a time in milliseconds', ({ text }) => ({ text: text.replace(/("created_at":\d+)/, '$1000') })],
      ['a part too few', ({ text }) => ({ text: text.replace('"pdu_count":1', '"pdu_count":0') })],
      [
        'an error code without rejected',
        ({ text }) => ({ text: text.replace('"msisdn"', '"error_code":"1","msisdn"') }),
      ],
      ['an outer error code', ({ text }) => ({ text: text.replace('{', '{"error_code":"1",') })],
      ['an outer status', ({ text }) => ({ text: text.replace('"status":"ok"', '"status":"OK"') })],
      ['another HTTP status', () => ({ status: 201 })],
      ['another type', () => ({ headers: { 'content-type': 'text/plain' } })],
      ['no request id', () => ({ headers: { 'content-type': 'application/json' } })],
    ])('an answer that is changed: %s', async (_, change) => {
      const uid = await send(gateway);
      await gateway.report(uid, 'delivered');
      const { reply, response } = await tried('GET', uid, undefined);
      expect(response).toEqual([]);
      const changed = { ...reply, ...change(reply) };
      expect(changed).not.toEqual(reply);
      expect(api.response('GET', `${gateway.url}/${uid}`, changed)).not.toEqual([]);
    });
  });
});
