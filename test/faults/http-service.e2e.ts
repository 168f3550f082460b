import { inspect } from 'node:util';
import { HttpService } from '@nestjs/axios';
import type { TestingModule } from '@nestjs/testing';
import axios, { AxiosError, type InternalAxiosRequestConfig } from 'axios';
import { getRtSmsHttpToken, type RtSmsError, type RtSmsService } from 'nestjs-rt-sms';
import {
  failureOf,
  LOGIN,
  msisdnOf,
  PASSWORD,
  startAccount,
  startFault,
  TEXT,
  type AccountOptions,
} from './account.js';
import type { ReadRequest } from './fault-server.js';

const UID = 'message-id-VvkmLHkfhCX9';
const BASIC = `Basic ${Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64')}`;
const MESSAGE = { msisdn: msisdnOf(1), text: TEXT };

async function start(options?: AccountOptions, fault: Parameters<typeof startFault>[0] = 'healthy') {
  const server = await startFault(fault, { record: true });
  const { sms, app } = await startAccount(server, options);
  const http = app.get<HttpService>(getRtSmsHttpToken());
  return { server, sms, app, http };
}

/** Headers by name; a repeated header fails the test. */
function headersOf(request: ReadRequest | undefined): Record<string, string> {
  const entries = request!.headers.map(([name, value]) => [name.toLowerCase(), value] as const);
  expect(new Set(entries.map(([name]) => name)).size).toBe(entries.length);
  return Object.fromEntries(entries);
}

describe.each(['header', 'body', 'both'] as const)('with credentials in the %s', (credentials) => {
  it('both ways write the same bytes: past axios, and through it once somebody has taken hold of it', async () => {
    const { server, sms, http } = await start({ credentials });
    const { uid } = await sms.send(MESSAGE);
    await sms.getStatus(uid);
    expect(http.axiosRef).toBeDefined();
    await sms.send(MESSAGE);
    await sms.getStatus(uid);
    const [post, get, axiosPost, axiosGet] = server.requests.map(({ raw }) => raw.toString());
    expect([axiosPost, axiosGet]).toEqual([post, get]);
  });

  it('writes what is needed and nothing else', async () => {
    const { server, sms } = await start({ credentials });
    const { uid } = await sms.send(MESSAGE);
    await sms.getStatus(uid);
    const [post, get] = server.requests;
    const inBody = { login: LOGIN, pass: PASSWORD };
    expect(JSON.parse(post!.body)).toEqual({
      ...MESSAGE,
      shortcode: 'SHOP',
      ...(credentials === 'header' ? {} : inBody),
    });
    const common = {
      host: new URL(server.url).host,
      connection: 'keep-alive',
      accept: 'application/json',
      'accept-encoding': 'identity',
    };
    expect(headersOf(post)).toEqual({
      ...common,
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(Buffer.byteLength(post!.body)),
      ...(credentials === 'body' ? {} : { authorization: BASIC }),
    });
    // A GET cannot carry them in a body.
    expect(headersOf(get)).toEqual({ ...common, authorization: BASIC });
    expect(get!.path).toBe(`/api/v2/send_message/${uid}`);
  });

  it('an interceptor sees no credentials, neither before nor after', async () => {
    const { sms, http } = await start({ credentials });
    const seen: unknown[] = [];
    http.axiosRef.interceptors.request.use((config) => {
      seen.push(structuredClone({ ...config.headers.toJSON(), data: config.data as unknown, url: config.url }));
      return config;
    });
    http.axiosRef.interceptors.response.use((response) => {
      seen.push(response);
      return response;
    });
    const { uid } = await sms.send(MESSAGE);
    await sms.getStatus(uid);
    expect(seen).toHaveLength(4);
    const shown = inspect(seen, { depth: 10, showHidden: true });
    expect(shown).toContain(MESSAGE.msisdn);
    for (const secret of [PASSWORD, inspect(PASSWORD), BASIC.slice(6), 'xyzzy']) expect(shown).not.toContain(secret);
  });

  it('an interceptor cannot put others in their place', async () => {
    const { server, sms, http } = await start({ credentials });
    http.axiosRef.interceptors.request.use((config) => {
      config.headers.set('Authorization', 'Basic bWFsbG9yeTptYWxsb3J5');
      config.auth = { username: 'mallory', password: 'mallory' };
      config.data = {
        ...(config.data as object),
        ...(credentials === 'header' ? {} : { login: 'mallory', pass: 'mallory' }),
      };
      return config;
    });
    await sms.send(MESSAGE);
    expect(headersOf(server.requests[0])['authorization']).toBe(credentials === 'body' ? undefined : BASIC);
    expect(server.requests[0]!.raw.toString()).not.toContain('mallory');
  });
});

describe('a request interceptor', () => {
  it('adds a header', async () => {
    const { server, sms, http } = await start();
    http.axiosRef.interceptors.request.use((config) => {
      config.headers.set('X-Trace', 'abc');
      return config;
    });
    await sms.send(MESSAGE);
    expect(headersOf(server.requests[0])).toMatchObject({ 'x-trace': 'abc' });
  });

  it('cannot take what the transport sets', async () => {
    const { server, sms, http } = await start();
    http.axiosRef.interceptors.request.use((config) => {
      config.headers.set({
        'Content-Length': '1',
        Host: 'elsewhere',
        'Accept-Encoding': 'gzip',
        'Transfer-Encoding': 'chunked',
      });
      return config;
    });
    await sms.send(MESSAGE);
    const headers = headersOf(server.requests[0]);
    expect(headers).toMatchObject({ host: new URL(server.url).host, 'accept-encoding': 'identity' });
    expect(headers).not.toHaveProperty('transfer-encoding');
    expect(server.reads.get(MESSAGE.msisdn)).toBe(1);
  });

  it.each([
    ['throws', () => Promise.reject(new Error(`no, not ${TEXT} to ${MESSAGE.msisdn}`))],
    [
      'throws what has no text',
      () => {
        throw Object.create(null);
      },
    ],
    [
      'throws what cannot be looked at',
      () => {
        const fail = (): never => {
          throw new Error(TEXT);
        };
        throw Object.defineProperty(new Error('x'), 'code', { get: fail });
      },
    ],
    ['leaves no JSON', (config) => ({ ...config, data: TEXT })],
    ['points to another origin', (config) => ({ ...config, url: 'http://127.0.0.1:9/api/v2/send_message' })],
  ] as [string, (config: InternalAxiosRequestConfig) => InternalAxiosRequestConfig][])(
    'that %s is reported as not sent',
    async (_, interceptor) => {
      const { server, sms, http } = await start();
      http.axiosRef.interceptors.request.use(interceptor);
      const error = await failureOf(sms.send(MESSAGE));
      expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable: false, attempts: 1 });
      expect(server.postsRead).toBe(0);
      const shown = inspect(error, { depth: 10 }) + JSON.stringify(error);
      for (const secret of [TEXT, 'Код', MESSAGE.msisdn]) expect(shown).not.toContain(secret);
    },
  );

  it('that failed does not cost the place of a connection', async () => {
    const { sms, http } = await start({ connections: 1, queueLimit: 0 });
    const id = http.axiosRef.interceptors.request.use((config) => ({ ...config, data: TEXT }));
    for (let i = 0; i < 3; i++) await failureOf(sms.send(MESSAGE));
    http.axiosRef.interceptors.request.eject(id);
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });
});

describe('a response interceptor', () => {
  it('that throws after the answer makes the outcome unknown', async () => {
    const { server, sms, http } = await start();
    http.axiosRef.interceptors.response.use(() => {
      throw new AxiosError(`of ${TEXT}`);
    });
    const error = await failureOf(sms.send(MESSAGE));
    expect(error).toMatchObject({ name: 'RtSmsUnexpectedResponseError', outcome: 'unknown', attempts: 1 });
    expect(server.postsRead).toBe(1);
    expect(inspect(error, { depth: 10 })).not.toContain('Код');
  });

  it('may parse the answer', async () => {
    const { sms, http } = await start();
    http.axiosRef.interceptors.response.use((response) => ({ ...response, data: JSON.parse(response.data as string) }));
    const { uid } = await sms.send(MESSAGE);
    await expect(sms.getStatus(uid)).resolves.toMatchObject({ status: 'delivered', text: TEXT });
  });

  it('that repeats the request does not have it written twice', async () => {
    const { server, sms, http } = await start({}, '503');
    http.axiosRef.interceptors.response.use((response) =>
      response.status === 503 ? http.axiosRef.request(response.config) : response,
    );
    expect(await failureOf(sms.send(MESSAGE))).toMatchObject({ outcome: 'unknown' });
    expect(server.postsRead).toBe(1);
  });
});

describe('a stand-in', () => {
  type Adapter = (config: InternalAxiosRequestConfig) => Promise<unknown>;
  const answer = (config: InternalAxiosRequestConfig, data: unknown) => ({
    status: 200,
    statusText: 'OK',
    headers: {},
    config,
    data,
  });
  const sent = { status: 'ok', result: { uid: UID } };

  async function standIn(adapter: Adapter): Promise<{ sms: RtSmsService; app: TestingModule }> {
    const http = new HttpService(axios.create({ adapter: adapter as never }));
    return startAccount({ url: 'http://127.0.0.1:9/api/v2/send_message' }, {}, (builder) =>
      builder.overrideProvider(getRtSmsHttpToken()).useValue(http),
    );
  }

  it('for the HttpService gets the message and no credentials', async () => {
    const configs: InternalAxiosRequestConfig[] = [];
    const { sms } = await standIn(async (config) => {
      configs.push(config);
      return answer(config, sent);
    });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ uid: UID, attempts: 1 });
    const [{ data, method, url, headers }] = configs as [InternalAxiosRequestConfig];
    expect([method, url]).toEqual(['post', 'http://127.0.0.1:9/api/v2/send_message']);
    expect(data).toEqual({ ...MESSAGE, shortcode: 'SHOP' });
    expect(headers.has('authorization')).toBe(false);
  });

  it.each([
    ['for the HttpService', false],
    ['for the adapter', true],
    ['around the adapter', true],
  ])('%s that fails makes the outcome unknown, whatever it fails with', async (what, replaced) => {
    const failing: Adapter = () => Promise.reject(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
    let sms: RtSmsService;
    if (replaced) {
      const account = await start({}, 'refused');
      const { defaults } = account.app.get<HttpService>(getRtSmsHttpToken()).axiosRef;
      const own = defaults.adapter as Adapter;
      defaults.adapter = (
        what === 'around the adapter' ? (config: InternalAxiosRequestConfig) => own(config) : failing
      ) as never;
      sms = account.sms;
    } else {
      sms = (await standIn(failing)).sms;
    }
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsUnexpectedResponseError', outcome: 'unknown', attempts: 1 });
  });

  it('around the adapter may let everything through', async () => {
    const { server, sms, http } = await start();
    const { defaults } = http.axiosRef;
    const own = defaults.adapter as Adapter;
    let calls = 0;
    defaults.adapter = ((config: InternalAxiosRequestConfig) => {
      calls++;
      return own(config);
    }) as never;
    const { uid } = await sms.send(MESSAGE);
    await expect(sms.getStatus(uid)).resolves.toMatchObject({ status: 'delivered' });
    expect([calls, server.postsRead]).toEqual([2, 1]);
  });

  it('stays where all interceptors are cleared', async () => {
    const { sms, http } = await start();
    http.axiosRef.defaults.adapter = () => Promise.reject(new Error('no'));
    http.axiosRef.interceptors.request.clear();
    expect(await failureOf(sms.send(MESSAGE))).toMatchObject({ outcome: 'unknown' });
  });
});
