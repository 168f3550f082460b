import { once } from 'node:events';
import { Agent, get, request, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { jest } from '@jest/globals';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { compileSample, SampleProcess } from './compiled.js';
import { SECRET } from './environment.js';

// This limit is for starting on a busy machine; speed is measured separately.
jest.setTimeout(90_000);

let sample: Awaited<ReturnType<typeof compileSample>>;
beforeAll(async () => {
  sample = await compileSample();
}, 120_000);
afterAll(() => sample.remove());

const startSample = (variables?: Record<string, string>) => new SampleProcess(sample.main, variables);

async function occupiedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function post(url: string, msisdn: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${url}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ msisdn, text: 'Hello' }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('npm start', () => {
  it('without an account: simulates the gateway, says so, and shows the life of one message', async () => {
    const running = startSample();
    const url = await running.url();
    const [, uid] = await running.printed(/(message-id-\w+) accepted/);
    await running.printed(new RegExp(`${uid} accepted[^]*${uid} awaiting_report[^]*${uid} delivered`));
    expect(running.stdout).toMatch(/the gateway is simulated in this process, no SMS leaves it/);
    for (const path of ['messages', 'events', 'docs', 'health', 'metrics'])
      expect(running.stdout).toMatch(`${url}/${path}\n`);
    expect(running.stdout).toMatch(/Gateway +http:\/\/127\.0\.0\.1:\d+\/api\/v2\/send_message\n/);
    // The output ends with the addresses to open, and both respond.
    const [, sample = '', inbox = ''] = await running.printed(
      /\n {2}Sample {2}(http:\S+)\n {2}Inbox {3}(http:\S+)\n\n$/,
    );
    expect(sample).toBe(`${url}/`);
    for (const page of [sample, inbox]) {
      const answer = await fetch(page);
      expect(answer.headers.get('content-type')).toMatch('text/html');
      await expect(answer.text()).resolves.toMatch('<script type="module"');
    }
    // The output for newcomers does not contain lines of the framework.
    expect(running.stdout).not.toMatch(/Mapped|dependencies initialized/);
    expect(running.stderr).toBe('');

    const messages = (await (await fetch(`${url}/messages`)).json()) as unknown[];
    expect(messages).toMatchObject([{ uid, status: 'delivered', shortcode: 'DEMO' }]);
    await expect(running.end('SIGTERM')).resolves.toBe(0);
  });

  it('in staging mode says so in the heads of both pages, and sends only to the numbers of the list', async () => {
    const running = startSample({ RT_SMS_ONLY_TO: '+79270000002' });
    const [, inbox = ''] = await running.printed(/\n {2}Inbox {3}(http:\S+)\n\n$/);
    const url = await running.url();
    expect(running.stdout).toMatch(/Send policy: onlyTo: all recipients are refused except 1 number or prefix/);
    await expect(fetch(`${url}/page/about`).then((about) => about.json())).resolves.toMatchObject({
      onlyTo: { entries: 1, starts: ['7927'] },
    });
    const aborting = new AbortController();
    const { body } = await fetch(`${inbox}inbox/events`, { signal: aborting.signal });
    let received = '';
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
      received += chunk;
      if (received.includes('"notice"')) break;
    }
    aborting.abort();
    expect(received).toMatch(/"notice":"Staging mode: the application sends only to the numbers of a list \(7927…\)/);
    expect(received + running.stdout).not.toContain('79270000002');
    await expect(post(url, '79270000001')).resolves.toMatchObject({ status: 422, body: { rule: 'onlyTo' } });
    await expect(post(url, '79270000002')).resolves.toMatchObject({ status: 201 });
    await expect(running.end('SIGTERM')).resolves.toBe(0);
  });

  it('serves its documentation', async () => {
    const running = startSample();
    const url = await running.url();
    const page = await fetch(`${url}/docs`);
    expect(page.status).toBe(200);
    await expect(page.text()).resolves.toMatch('swagger-ui');
    const docs = (await (await fetch(`${url}/docs-json`)).json()) as {
      paths: object;
      components: { schemas: Record<string, object> };
    };
    expect(Object.keys(docs.paths)).toEqual([
      '/messages',
      '/messages/changes',
      '/messages/{uid}',
      '/segments',
      '/events',
      '/bulk',
      '/bulk/{id}/start',
      '/bulk/{id}/stop',
      '/bulk/{id}',
      '/bulk/{id}/events',
      '/bulk/{id}/rows',
      '/bulk/{id}/results.csv',
      '/health',
      '/sign-in',
      '/sign-in/{challengeId}/resend',
      '/sign-in/{challengeId}/verify',
      '/sign-in/{challengeId}/undelivered',
    ]);
    expect(docs.components.schemas.SendMessageDto).toMatchObject({
      properties: { msisdn: {}, text: { type: 'string' }, shortcode: { type: 'string' } },
      required: ['msisdn', 'text'],
    });
    expect(docs.components.schemas.SendMessageDto).not.toHaveProperty('properties.ref');
    await running.end('SIGTERM');
  });

  it('ends at once with messages on their way, clients of its events and a connection that is kept alive', async () => {
    const running = startSample();
    const url = await running.url();
    await running.printed(/accepted/);
    const agent = new Agent({ keepAlive: true });
    atEnd(() => agent.destroy());
    const [health] = (await once(get(`${url}/health`, { agent }), 'response')) as [IncomingMessage];
    health.resume();
    await once(health, 'end');
    for (const path of ['events', 'messages/changes']) {
      const [events] = (await once(get(`${url}/${path}`), 'response')) as [IncomingMessage];
      events.resume().on('error', () => undefined);
    }
    // Both are unanswered: the gateway saved one of them, and did not save the other.
    const onTheirWay = ['79990000020', '79990000021'].map((msisdn) => {
      const sending = request(`${url}/messages`, { method: 'POST', headers: { 'content-type': 'application/json' } });
      sending.on('error', () => undefined).end(JSON.stringify({ msisdn, text: 'Hello' }));
      return sending;
    });
    await Promise.all(onTheirWay.map((sending) => once(sending, 'finish')));
    const listed = async () => (await fetch(`${url}/messages`)).text();
    while (!(await listed()).includes('79990000021'));

    const began = performance.now();
    await expect(running.end('SIGINT')).resolves.toBe(0);
    // Waiting for any of them would take five seconds.
    expect(performance.now() - began).toBeLessThan(4_000);
    expect(running.stderr).not.toMatch(/ at .*\.js:/);
  });

  it('with an account: talks to its gateway, and sends nothing by itself', async () => {
    const gateway = await RtSmsSimulator.start();
    atEnd(() => gateway.close());
    const { login, password } = gateway.options;
    const running = startSample({
      RT_SMS_LOGIN: login,
      RT_SMS_PASSWORD: password,
      RT_SMS_URL: gateway.url,
      RT_SMS_SHORTCODE: 'SHOP',
    });
    const url = await running.url();
    expect(running.stdout).toMatch(/RT_SMS_LOGIN is set[^]*are paid for/);
    expect(running.stdout).not.toMatch(/simulated|Inbox/);
    await running.printed(new RegExp(`\n  Sample  ${url}/\n\n$`));
    await expect(post(url, '79270000001')).resolves.toMatchObject({ status: 201, body: { shortcode: 'SHOP' } });
    expect(gateway.messages).toMatchObject([{ msisdn: '79270000001', text: 'Hello' }]);
    await expect(running.end('SIGINT')).resolves.toBe(0);
    expect(gateway.requests.post).toBe(1);
  });

  it.each([
    ['REDIS_URL', 'localhost:6379', /REDIS_URL must be a URL that begins with redis:\/\/ or rediss:\/\//],
    [
      'DATABASE_URL',
      'postgres://me:password@127.0.0.1:1/db',
      /PostgreSQL of DATABASE_URL cannot be used: .*ECONNREFUSED/,
    ],
  ])('prints in one line what is wrong with %s %s', async (variable, value, what) => {
    const running = startSample({ [variable]: value });
    await expect(running.end()).resolves.toBe(1);
    expect(running.stderr).toMatch(what);
    expect(running.stderr.trim()).not.toMatch(/\n|password/);
    expect(running.stdout).toBe('');
  });

  it.each(['PORT', 'GATEWAY_PORT'])('says in one line that the port of %s is in use', async (variable) => {
    const port = await occupiedPort();
    const running = startSample({ [variable]: String(port) });
    await expect(running.end()).resolves.toBe(1);
    expect(running.stderr).toBe(`Port ${port} is in use. Set ${variable} to another one, or to 0 for any free one.\n`);
    expect(running.stdout).toBe('');
  });

  it.each(['nope.invalid', '192.0.2.1'])(
    'says in one line that nothing listens on BIND_ADDRESS %s',
    async (address) => {
      const running = startSample({ BIND_ADDRESS: address });
      await expect(running.end()).resolves.toBe(1);
      expect(running.stderr).toMatch(
        /^\S+ cannot be listened on \((ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL)\)\. Set BIND_ADDRESS to an address of this machine\.\n$/,
      );
      expect(running.stderr).toMatch(address);
      expect(running.stdout).toBe('');
    },
  );

  it('prints an invalid port in one line', async () => {
    const running = startSample({ PORT: '70000' });
    await expect(running.end()).resolves.toBe(1);
    expect(running.stderr).toBe("PORT must be a port, 0 to 65535 (0: any free one), not '70000'\n");
  });

  it('prints the problems of the options, without a stack trace', async () => {
    const running = startSample({ RT_SMS_LOGIN: 'shop', RT_SMS_RATE_PER_SECOND: 'many' });
    await expect(running.end()).resolves.toBe(1);
    expect(running.stderr).toMatch(/cannot start:/);
    for (const option of ['password', 'rate.perSecond']) expect(running.stderr).toMatch(`- ${option}: `);
    expect(running.stderr).not.toMatch(/ at .*\.js:/);
    expect(running.stdout).toBe('');
  });
});

describe('a page of another origin', () => {
  async function startPaid(variables: Record<string, string> = {}) {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const { login, password } = gateway.options;
    const account = { RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: gateway.url };
    const running = startSample({
      ...account,
      RT_SMS_SHORTCODE: 'SHOP',
      RT_SMS_CALLBACK_SECRETS: SECRET,
      ...variables,
    });
    const url = new URL(await running.url());
    // fetch does not allow setting the Host header.
    const call = async (path: string, headers: Record<string, string> = {}, body?: string): Promise<number> => {
      const calling = request(new URL(path, url), {
        method: body === undefined ? 'GET' : 'POST',
        headers,
        agent: false,
      });
      const [answer] = (await once(calling.end(body), 'response')) as [IncomingMessage];
      // Does not wait for the rest of the body, because event streams do not end.
      answer.destroy();
      return answer.statusCode!;
    };
    // Each to another number, because the sample limits the messages to one.
    let orders = 0;
    const order = (headers: Record<string, string> = {}) => {
      const body = JSON.stringify({ msisdn: `7927000${String(++orders).padStart(4, '0')}`, text: 'Hello' });
      return call('/messages', { 'content-type': 'application/json', ...headers }, body);
    };
    return { gateway, host: url.host, port: url.port, call, order };
  }
  const GETS = ['/', '/page/app.js', '/messages', '/messages/changes', '/events', '/docs', '/health', '/metrics'];
  const FOREIGN = [
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:1' },
    { host: 'evil.example' },
    { host: 'localhost.evil.example' },
    { host: '127.0.0.1.evil.example' },
    { host: 'a b' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
  ];

  it('cannot send or read anything', async () => {
    const { gateway, call, order } = await startPaid();
    for (const headers of FOREIGN) {
      const codes = [await order(headers)];
      for (const path of GETS) codes.push(await call(path, headers));
      expect({ headers, codes }).toEqual({ headers, codes: codes.map(() => 403) });
    }
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    await expect(order(link)).resolves.toBe(403);
    expect(gateway.requests.post).toBe(0);
  });

  it.each(['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x'])(
    'has no form to send: %s',
    async (type) => {
      const { gateway, call } = await startPaid();
      for (const body of ['msisdn=%2B79270000001&text=x', '{"msisdn":"79270000001","text":"x"}'])
        await expect(call('/messages', { 'content-type': type }, body)).resolves.toBe(422);
      expect(gateway.requests.post).toBe(0);
    },
  );

  it('may link here; the own page, programs and the provider go on', async () => {
    const { gateway, host, port, call, order } = await startPaid();
    await expect(order()).resolves.toBe(201);
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    for (const path of GETS) {
      await expect(call(path)).resolves.toBe(200);
      await expect(call(path, { 'sec-fetch-site': 'same-origin' })).resolves.toBe(200);
      await expect(call(path, link)).resolves.toBe(200);
    }
    for (const own of [host, `localhost:${port}`, `sample.localhost:${port}`, `[::1]:${port}`, '192.168.0.7'])
      await expect(order({ host: own, origin: `http://${own}`, 'sec-fetch-site': 'same-origin' })).resolves.toBe(201);

    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    const callback = `/rt-sms/callback/${SECRET}?id=${uid}&status=delivered`;
    await expect(call(callback, { host: 'shop.example' })).resolves.toBe(200);
    await expect(call(`/messages/${uid}`)).resolves.toBe(200);
  });

  it('is none under a name that ALLOWED_HOSTS has, whatever BIND_ADDRESS is', async () => {
    const { order } = await startPaid({ BIND_ADDRESS: '0.0.0.0', ALLOWED_HOSTS: 'sms.test, Shop.Test' });
    await expect(order({ host: 'shop.test', origin: 'https://shop.test' })).resolves.toBe(201);
    await expect(order({ host: 'SMS.test:8443' })).resolves.toBe(201);
    await expect(order({ host: 'sms.test', origin: 'https://shop.test' })).resolves.toBe(403);
    await expect(order({ host: 'other.test' })).resolves.toBe(403);
    await expect(order()).resolves.toBe(201);
  });
});
