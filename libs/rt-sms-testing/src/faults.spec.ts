import { once } from 'node:events';
import http from 'node:http';
import { basic, call, get, post, send, SMS, statusOf } from '../test/support.js';
import { type Fault, REASONS, RtSmsSimulator } from './index.js';

let gateway: RtSmsSimulator;
beforeEach(async () => {
  gateway = await RtSmsSimulator.start({ lifecycle: false });
});
afterEach(() => gateway.close());

const HTTP_STATUS: Record<string, number> = { auth_required: 401, wrong_ip: 403, wrong_credentials: 403 };

describe.each(REASONS)('the reason %s (§1.6.1)', (reason) => {
  it('answers one send and saves nothing', async () => {
    gateway.nextSend(reason);
    const { status, text } = await post(gateway, SMS);
    expect([status, text]).toEqual([HTTP_STATUS[reason] ?? 200, `{"reason":"${reason}","status":"error"}`]);
    expect(gateway.messages).toEqual([]);
    await send(gateway);
    expect(gateway.messages).toHaveLength(1);
  });

  it('answers one status request', async () => {
    const uid = await send(gateway);
    gateway.nextStatus(reason);
    const { status, text } = await get(gateway, uid);
    expect([status, text]).toEqual([HTTP_STATUS[reason] ?? 200, `{"reason":"${reason}","status":"error"}`]);
    expect(await statusOf(gateway, uid)).toMatchObject({ uid });
  });
});

describe('a fault of the connection or the answer', () => {
  it('timeout: reads the request and never answers', async () => {
    gateway.nextSend('timeout');
    const aborter = new AbortController();
    gateway.once('exchange', () => setTimeout(() => aborter.abort(), 50));
    await expect(
      call(gateway.url, { method: 'POST', headers: basic(), body: JSON.stringify(SMS), signal: aborter.signal }),
    ).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(gateway.requests.post).toBe(1);
  });

  it('reset: RST', async () => {
    gateway.nextSend('reset');
    await expect(post(gateway, SMS)).rejects.toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
    expect(gateway.requests.post).toBe(1);
  });

  it('close: FIN without an answer', async () => {
    gateway.nextSend('close');
    await expect(post(gateway, SMS)).rejects.toThrow('socket hang up');
    expect(gateway.requests.post).toBe(1);
  });

  it('truncate: half of the body', async () => {
    gateway.nextSend('truncate');
    await expect(post(gateway, SMS)).rejects.toThrow('aborted');
    expect(gateway.messages).toHaveLength(1);
  });

  it('html: 200 in HTML', async () => {
    gateway.nextSend('html');
    const { status, headers, text } = await post(gateway, SMS);
    expect([status, headers['content-type']]).toEqual([200, 'text/html']);
    expect(text).toContain('<html>');
  });

  it('empty: 200 with no body', async () => {
    gateway.nextSend('empty');
    const { status, headers, text } = await post(gateway, SMS);
    expect([status, headers['content-length'], text]).toEqual([200, '0', '']);
  });

  it('drip: the correct answer, byte by byte', async () => {
    gateway.nextStatus('drip');
    const request = http.get(`${gateway.url}/message-id-0`, { headers: basic(), agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    for await (const chunk of response) {
      expect(String(chunk)).toHaveLength(1);
      text += String(chunk);
      if (text.length === 4) break;
    }
    expect(response.headers['content-length']).toBe('51');
    expect(text).toBe('{"re');
  });

  it('http10: the correct answer without a length, ended by FIN', async () => {
    gateway.nextSend('http10');
    const { httpVersion, headers, text } = await post(gateway, SMS);
    expect([httpVersion, headers['content-length'], headers.connection]).toEqual(['1.0', undefined, 'close']);
    expect(JSON.parse(text)).toEqual({ result: { uid: gateway.messages[0]?.uid }, status: 'ok' });
  });

  it.each([
    [{ status: 503 }, 'text/html', '503 Service Unavailable'],
    [{ status: 500, body: '{"oops":1}' }, 'application/json; charset=utf-8', '{"oops":1}'],
    [{ status: 204 }, 'text/html', ''],
  ])('%j', async (fault, type, text) => {
    gateway.nextSend(fault);
    const reply = await post(gateway, SMS);
    expect([reply.status, reply.headers['content-type']]).toEqual([fault.status, type]);
    expect(reply.text).toContain(text);
    expect(gateway.messages).toEqual([]);
  });

  it('a redirect', async () => {
    gateway.nextSend({ status: 302, headers: { location: 'http://127.0.0.1:1/' } });
    expect((await post(gateway, SMS)).headers.location).toBe('http://127.0.0.1:1/');
  });

  it('delayMs: the correct answer, late', async () => {
    gateway.nextSend({ delayMs: 80 });
    const startedAt = performance.now();
    await send(gateway);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79);
  });

  it('accepted: the message is saved in spite of the fault', async () => {
    gateway.nextSend({ fault: 'reset', accepted: true });
    gateway.nextSend({ status: 502, accepted: true });
    await expect(post(gateway, SMS)).rejects.toThrow();
    expect((await post(gateway, SMS)).status).toBe(502);
    expect(gateway.messages).toHaveLength(2);
  });
});

describe('queued faults', () => {
  it('play in order, as many times as set, only on their kind of request', async () => {
    gateway.nextSend('system_error', 2);
    gateway.nextSend({ status: 503 });
    gateway.nextStatus('wrong_ip');
    const statuses = [];
    for (let n = 0; n < 4; n++) statuses.push((await post(gateway, SMS)).text.slice(0, 22));
    expect(statuses).toEqual([
      '{"reason":"system_erro',
      '{"reason":"system_erro',
      '<html>\r\n<head><title>5',
      '{"result":{"uid":"mess',
    ]);
    expect((await get(gateway, 'message-id-0')).status).toBe(403);
  });

  it('are removed by clearFaults', async () => {
    gateway.nextSend('system_error', Infinity);
    await post(gateway, SMS);
    await post(gateway, SMS);
    gateway.clearFaults();
    await send(gateway);
    expect(gateway.messages).toHaveLength(1);
  });

  it.each([
    ['boom', 'expected one of'],
    [{}, 'fault, status or delayMs is needed'],
    [{ state: 503 }, 'unknown key "state"'],
    [{ status: 99 }, 'status must be from 200 to 599'],
    [{ status: 503, fault: 'reset' }, 'not both'],
    [{ fault: 'reset', body: 'x' }, 'need a status'],
    [{ status: 302, headers: { 'a b': 'c' } }, 'headers'],
    [{ delayMs: -1 }, 'delayMs must be 0 or more'],
    [{ fault: 'truncate', accepted: false }, 'cannot be unaccepted'],
  ])('%j is rejected', (fault, problem) => {
    expect(() => gateway.nextSend(fault as Fault)).toThrow(TypeError);
    expect(() => gateway.nextStatus(fault as Fault)).toThrow(problem);
  });

  it('need a number of times', () => {
    expect(() => gateway.nextSend('reset', 0)).toThrow('times must be');
    expect(() => gateway.nextSend('reset', 1.5)).toThrow('times must be');
  });
});
