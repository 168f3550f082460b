import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { metrics } from '@opentelemetry/api';
import { countSegments, explainSegments, RtSmsService, type RtSmsOutcome } from 'nestjs-rt-sms';
import type { Fault } from 'nestjs-rt-sms-testing';
import { firstValueFrom } from 'rxjs';
import { AppModule } from '../../apps/sample/src/app.module.js';
import { InMemoryJournal } from '../../apps/sample/src/messages/in-memory-journal.js';
import { MessageJournal } from '../../apps/sample/src/messages/message-journal.js';
import { atEnd, PLATFORMS, start } from '../platforms.js';
import { lateBy } from '../timing.js';
import { gatewayInEnvironment, SECRET } from './environment.js';

type Body = Record<string, unknown>;

const TEXT = 'Ваш код xyzzy';

describe.each(PLATFORMS)('the sample on %s', (platform) => {
  async function startSample() {
    const { app, url } = await start(platform, { imports: [AppModule] });
    const ask = async (path: string): Promise<{ status: number; body: Body }> => {
      const response = await fetch(url + path);
      return { status: response.status, body: (await response.json()) as Body };
    };
    const post = async (body: unknown): Promise<{ status: number; body: Body }> => {
      const response = await fetch(`${url}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Body };
    };
    return { app, url, ask, post };
  }

  it('sends a message, and shows what becomes of it', async () => {
    const gateway = await gatewayInEnvironment();
    const { url, ask, post } = await startSample();
    gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);

    const { status, body } = await post({ msisdn: '8 927 000-00-01', text: TEXT });
    expect(status).toBe(201);
    expect(body).toMatchObject({ msisdn: '79270000001', text: TEXT, shortcode: 'SHOP', status: 'accepted' });
    expect(body).toMatchObject({ uid: gateway.messages[0]!.uid, segments: countSegments(TEXT).segments });
    await expect(ask(`/messages/${String(body.uid)}`)).resolves.toEqual({ status: 200, body });

    await gateway.report(String(body.uid), 'awaiting_report');
    await expect(ask(`/messages/${String(body.uid)}`)).resolves.toMatchObject({ body: { status: 'awaiting_report' } });
    await gateway.report(String(body.uid), 'rejected', { err: '11' });
    const known = await ask(`/messages/${String(body.uid)}`);
    expect(known).toMatchObject({ status: 200, body: { uid: body.uid, status: 'rejected', errorCode: '11' } });

    const second = await post({ msisdn: 79270000002, text: TEXT, shortcode: 'OTHER' });
    expect(second).toMatchObject({ status: 201, body: { msisdn: '79270000002', shortcode: 'OTHER' } });
    await expect(ask('/messages')).resolves.toEqual({ status: 200, body: [second.body, known.body] });
  });

  it('returns 404 for an unknown uid', async () => {
    await gatewayInEnvironment();
    const { ask } = await startSample();
    await expect(ask('/messages/message-id-VvkmLHkfhCX9')).resolves.toMatchObject({ status: 404 });
  });

  const MESSAGE = { msisdn: '79270000001', text: TEXT };
  it.each<[string, unknown]>([
    ['nothing in it', {}],
    ['an array', []],
    ['no number', { text: TEXT }],
    ['a number that cannot be', { ...MESSAGE, msisdn: '+7 927 000' }],
    ['a blank text', { ...MESSAGE, text: ' ' }],
    ['a blank sender', { ...MESSAGE, shortcode: '' }],
    ['a field that is none of ours', { ...MESSAGE, shortCode: 'SHOP' }],
  ])('rejects an invalid message: %s', async (_, message) => {
    const gateway = await gatewayInEnvironment();
    const { ask, post } = await startSample();
    const { status, body } = await post(message);
    expect({ status, ...body }).toMatchObject({
      status: 422,
      code: 'RT_SMS_VALIDATION',
      outcome: 'not_sent',
      retryable: false,
    });
    expect(gateway.requests.post).toBe(0);
    await expect(ask('/messages')).resolves.toMatchObject({ body: [] });
  });

  it('names each invalid field, found by the pipe or by the service', async () => {
    await gatewayInEnvironment();
    const { post } = await startSample();
    const found = async (message: object) => (await post(message)).body as { problems: { field?: string }[] };
    const both = await found({ msisdn: '+7 927', text: ' ' });
    expect(both.problems).toEqual([
      { field: 'msisdn', message: expect.not.stringMatching(/^msisdn/) },
      { field: 'text', message: expect.not.stringMatching(/^text/) },
    ]);
    const unknown = await found({ msisdn: '+79270000001', text: 'Hello', priority: 'high' });
    expect(unknown.problems).toEqual([{ message: expect.stringContaining('priority') }]);
  });

  it.each<[Fault, number, string, RtSmsOutcome, boolean, string | undefined]>([
    ['invalid_field_msisdn', 422, 'RT_SMS_REJECTED', 'rejected', false, 'invalid_field_msisdn'],
    ['invalid_source_address', 422, 'RT_SMS_REJECTED', 'rejected', false, 'invalid_source_address'],
    ['system_error', 503, 'RT_SMS_REJECTED', 'rejected', true, 'system_error'],
    ['wrong_ip', 502, 'RT_SMS_AUTH', 'rejected', false, 'wrong_ip'],
    ['wrong_credentials', 502, 'RT_SMS_AUTH', 'rejected', false, 'wrong_credentials'],
    ['reset', 502, 'RT_SMS_UNEXPECTED_RESPONSE', 'unknown', false, undefined],
    ['html', 502, 'RT_SMS_UNEXPECTED_RESPONSE', 'unknown', false, undefined],
    [{ status: 503 }, 502, 'RT_SMS_UNEXPECTED_RESPONSE', 'unknown', false, undefined],
    ['timeout', 504, 'RT_SMS_TIMEOUT', 'unknown', false, undefined],
  ])('answers %j with %i %s', async (fault, expected, code, outcome, retryable, reason) => {
    const gateway = await gatewayInEnvironment({}, fault === 'timeout' ? { RT_SMS_SEND_TIMEOUT_MS: '1500' } : {});
    const { ask, post } = await startSample();
    gateway.nextSend(fault, Infinity);
    const { status, body } = await post(MESSAGE);
    expect({ status, ...body }).toMatchObject({ status: expected, code, outcome, retryable });
    expect(body.reason).toBe(reason);
    expect(JSON.stringify(body)).not.toMatch(/79270000001|xyzzy|secret/);
    await expect(ask('/messages')).resolves.toMatchObject({
      body: [{ status: outcome === 'unknown' ? 'outcome_unknown' : 'refused', error: { code, outcome } }],
    });
  });

  it('refuses the sixth message to one number with 429 and the time to wait, and no message to another', async () => {
    const gateway = await gatewayInEnvironment();
    const { ask, post } = await startSample();
    for (let n = 0; n < 5; n++) await expect(post(MESSAGE)).resolves.toMatchObject({ status: 201 });
    const refused = { code: 'RT_SMS_POLICY', rule: 'perRecipient', outcome: 'not_sent', retryable: false };
    const { status, body } = await post(MESSAGE);
    expect({ status, ...body }).toMatchObject({ status: 429, ...refused });
    expect(body.retryAfterMs).toBeGreaterThan(60_000);
    expect(body.retryAfterMs).toBeLessThanOrEqual(600_000);
    expect(JSON.stringify(body)).not.toMatch(/79270000001|xyzzy/);
    await expect(post({ ...MESSAGE, msisdn: '79270000002' })).resolves.toMatchObject({ status: 201 });
    expect(gateway.requests.post).toBe(6);
    const { body: list } = await ask('/messages?limit=2');
    expect(list).toMatchObject([{ status: 'accepted' }, { status: 'refused', error: { rule: 'perRecipient' } }]);
  });

  it('takes further rules from the environment; a refusal that waiting does not change is 422', async () => {
    const onlyTo = '+79270000002,+3752';
    const gateway = await gatewayInEnvironment({}, { RT_SMS_ONLY_TO: onlyTo, RT_SMS_MAX_SEGMENTS: '1' });
    const { ask, post } = await startSample();
    const about = await ask('/page/about');
    expect(about.body).toMatchObject({ onlyTo: { entries: 2, starts: ['7927', '3752'] } });
    const refused = await post(MESSAGE);
    expect(refused).toMatchObject({ status: 422, body: { code: 'RT_SMS_POLICY', rule: 'onlyTo' } });
    const long = await post({ msisdn: '+375291234567', text: 'я'.repeat(71) });
    expect(long).toMatchObject({ status: 422, body: { rule: 'maxSegments' } });
    expect(JSON.stringify([about, refused, long])).not.toMatch(/\d{9}/);
    expect(gateway.requests.post).toBe(0);
    for (const msisdn of ['79270000002', '+375291234567'])
      await expect(post({ msisdn, text: 'Hello' })).resolves.toMatchObject({ status: 201 });
  });

  it('answers 503 if the gateway cannot be reached', async () => {
    const gateway = await gatewayInEnvironment({}, { RT_SMS_SEND_TIMEOUT_MS: '10000' });
    const { post } = await startSample();
    await gateway.close();
    const { status, body } = await post(MESSAGE);
    expect({ status, ...body }).toMatchObject({
      status: 503,
      code: 'RT_SMS_CONNECTION',
      outcome: 'not_sent',
      retryable: true,
    });
  });

  it('streams statuses as server-sent events, and ends at once with a client that listens', async () => {
    const gateway = await gatewayInEnvironment();
    const { app, url, post } = await startSample();
    gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
    const request = get(`${url}/events`, { agent: false });
    atEnd(() => request.destroy());
    const [events] = (await once(request, 'response')) as [IncomingMessage];
    expect(events.headers['content-type']).toMatch('text/event-stream');
    let received = '';
    const seen = new Promise<void>((resolve) => {
      events.setEncoding('utf8').on('data', (chunk: string) => {
        received += chunk;
        if (received.includes('"delivered"')) resolve();
      });
    });
    const over = once(events, 'close');

    const { uid } = (await post(MESSAGE)).body as { uid: string };
    await gateway.report(uid, 'delivered');
    await seen;
    expect(received).toMatch(`id: default:${uid}:delivered\n`);
    const [, data = ''] = /^data: (.*)$/m.exec(received) ?? [];
    expect(JSON.parse(data)).toMatchObject({ uid, status: 'delivered', final: true });

    expect(await lateBy(500, Promise.all([app.close(), over]))).toBeLessThan(500);
  });

  it('serves its page under a policy that lets nothing foreign in', async () => {
    await gatewayInEnvironment();
    const { url } = await startSample();
    const page = await fetch(`${url}/`);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self'; /,
    );
    const html = await page.text();
    expect(html).not.toMatch(/ on\w+=|<script>|style=|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    for (const [, path = ''] of html.matchAll(/(?:src|href)="(\/page\/[^"]+)"/g)) {
      expect((await fetch(url + path)).headers.get('content-type')).toMatch(/^text\/(css|javascript); charset=utf-8$/);
    }
    expect((await fetch(`${url}/page/..%2fmain.ts`)).status).toBe(404);
  });

  it('lists as many messages as are asked for, and counts segments', async () => {
    await gatewayInEnvironment();
    const { ask, post, url } = await startSample();
    for (const text of ['One', 'Two', 'Three']) await post({ ...MESSAGE, text });
    await expect(ask('/messages?limit=2')).resolves.toMatchObject({ body: [{ text: 'Three' }, { text: 'Two' }] });
    const response = await fetch(`${url}/segments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ text: TEXT }),
    });
    await expect(response.json()).resolves.toEqual({ ...countSegments(TEXT), explanation: explainSegments(TEXT) });
  });

  it('serves the metrics in the format of Prometheus', async () => {
    await gatewayInEnvironment();
    const { url } = await startSample();
    metrics.getMeter('test').createCounter('rt_sms.tried').add(3);
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await response.text();
    expect(text).toMatch(/^rt_sms_tried_total(\{.*\})? [36]$/m);
    expect(text).toMatch(/^target_info\{service_name="sample"\} 1$/m);
  });

  it('is healthy while the gateway accepts its login', async () => {
    await gatewayInEnvironment();
    const { ask } = await startSample();
    await expect(ask('/health')).resolves.toMatchObject({
      status: 200,
      body: { info: { 'rt-sms': { status: 'up' } } },
    });
  });

  it('is not healthy while the gateway does not', async () => {
    await gatewayInEnvironment({ allowFrom: ['192.0.2.1'] });
    const { ask } = await startSample();
    await expect(ask('/health')).resolves.toMatchObject({
      status: 503,
      body: { error: { 'rt-sms': { status: 'down', reason: 'wrong_ip' } } },
    });
  });

  it('tracks the open messages of the journal', async () => {
    // Without a secret a callback is only a hint, and hints about untracked messages are dropped.
    const gateway = await gatewayInEnvironment({}, {});
    const first = await startSample();
    const { uid } = (await first.post(MESSAGE)).body as { uid: string };
    await first.app.close();

    const journal = new InMemoryJournal();
    const { id } = await journal.begin({ ...MESSAGE, segments: 1, status: 'sending' });
    await journal.accepted(id, { ...MESSAGE, uid, shortcode: 'SHOP', segments: 1, attempts: 1 });
    const { app, url } = await start(
      platform,
      { imports: [AppModule] },
      () => undefined,
      (builder) => builder.overrideProvider(MessageJournal).useValue(journal),
    );
    gateway.callTo(`${url}/rt-sms/callback`);
    const known = firstValueFrom(app.get(RtSmsService).statuses$);
    await gateway.report(uid, 'delivered');
    await known;
    await expect(journal.find({ uid })).resolves.toMatchObject({ id, status: 'delivered' });
  });
});
