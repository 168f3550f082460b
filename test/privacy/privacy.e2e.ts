import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import type { HttpService } from '@nestjs/axios';
import { metrics, trace } from '@opentelemetry/api';
import * as fc from 'fast-check';
import { getRtSmsHttpToken, isRtSmsError, RtSmsEvents, RtSmsModule } from 'nestjs-rt-sms';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { LOGIN, PASSWORD, startAccount, startFault, TEXT, type AccountOptions } from '../faults/account.js';
import { atEnd } from '../platforms.js';
import { forbiddenForms, leaksIn, show, Watch } from './watch.js';

const MSISDN = '79271234567';
/** The number as a person types it. */
const TYPED = '8 (927) 123-45-67';
const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const UID = 'message-id-VvkmLHkfhCX9';
const MESSAGE = { msisdn: TYPED, text: TEXT };
const BASIC = Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64').replace(/=+$/, '');

const FORMS = forbiddenForms({ login: LOGIN, password: PASSWORD, msisdn: MSISDN, text: TEXT, secret: SECRET });
const FORBIDDEN = { ...FORMS, number: [...FORMS['number']!, TYPED], text: [...FORMS['text']!, 'Код 5829'] };

let watch: Watch;
beforeEach(() => {
  watch = new Watch();
});
afterEach(() => watch.close());

async function account(at: { url: string; ca?: string }, options: AccountOptions = {}) {
  const started = await startAccount(at, { callback: { secrets: SECRET }, retry: { send: 1, status: 1 }, ...options });
  watch.takeLog();
  return started;
}

/** Expects that logs, spans, metrics and the given values do not leak anything. */
async function expectNoLeak(...seen: unknown[]) {
  const { text, ...amounts } = await watch.take();
  expect(leaksIn([text, ...seen.map(show)].join('\n'), FORBIDDEN)).toEqual([]);
  return amounts;
}
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('the grep', () => {
  it.each([
    ['the password in a log line', 'password', () => new Logger('x').warn(`login with ${PASSWORD}`)],
    ['its base64', 'password', () => new Logger('x').debug(Buffer.from(PASSWORD).toString('base64'))],
    [
      'the header in a span',
      'Basic header',
      () =>
        trace
          .getTracer('x')
          .startSpan('send', { attributes: { authorization: `Basic ${BASIC}` } })
          .end(),
    ],
    ['the number in the name of a span', 'number', () => trace.getTracer('x').startSpan(`send to ${MSISDN}`).end()],
    ['the number with +7', 'number', () => new Logger('x').log(`+${MSISDN}`)],
    ['the number with 8', 'number', () => new Logger('x').error('no answer', `for 8${MSISDN.slice(1)}`)],
    [
      'the number in an exception of a span',
      'number',
      () => {
        const span = trace.getTracer('x').startSpan('send');
        span.recordException(new Error(`no answer for ${TYPED}`));
        span.end();
      },
    ],
    [
      'the number as an attribute of a metric',
      'number',
      () => metrics.getMeter('x').createCounter('sends').add(1, { msisdn: MSISDN }),
    ],
    ['the text in a logged object', 'text', () => new Logger('x').log({ body: { deep: { deeper: [TEXT] } } })],
    ['the text as JSON', 'text', () => new Logger('x').log(JSON.stringify(MESSAGE.text))],
    ['the secret in a path', 'secret', () => new Logger('x').verbose(`GET /rt-sms/callback/${SECRET}`)],
  ])('finds %s', async (_, leak, plant) => {
    watch.takeLog();
    plant();
    const { text } = await watch.take();
    expect(leaksIn(text, FORBIDDEN)).toEqual([leak]);
  });

  it('finds what is deep in an error', () => {
    const deep = (value: unknown) => new Error('outer', { cause: new Error('inner', { cause: value }) });
    expect(leaksIn(show(deep(new Error(TEXT))), FORBIDDEN)).toEqual(['text']);
    expect(leaksIn(show(deep({ config: { headers: { a: { b: `Basic ${BASIC}` } } } })), FORBIDDEN)).toEqual([
      'Basic header',
    ]);
    expect(leaksIn(show(Object.defineProperty(new Error('x'), 'hidden', { value: SECRET })), FORBIDDEN)).toEqual([
      'secret',
    ]);
    expect(leaksIn(show(deep(new Error('nothing'))), FORBIDDEN)).toEqual([]);
  });
});

/** A gateway that echoes the request in all places that errors are built from. */
async function echo(
  answer: (request: IncomingMessage, body: string, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (data: string) => (body += data));
    request.once('end', () => answer(request, body, response));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2/send_message`;
}

describe('a gateway that says back what it was told', () => {
  type Say = (said: string, response: ServerResponse) => void;
  const json =
    (status: number, body: (said: string) => object): Say =>
    (said, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body(said)));
    };
  const ways: Record<string, Say> = {
    'as the reason': json(200, (reason) => ({ status: 'error', reason })),
    'as the reason of 403': json(403, (reason) => ({ status: 'error', reason })),
    'as the uid': json(200, (uid) => ({ status: 'ok', result: { uid } })),
    'as the status': json(200, (status) => ({ status, result: {} })),
    'in HTML': (said, response) => response.writeHead(502, { 'content-type': 'text/html' }).end(`<h1>${said}</h1>`),
    'in a header': (said, response) =>
      response
        .writeHead(200, { 'x-request-id': encodeURIComponent(said), location: encodeURIComponent(said) })
        .end('{'),
    'in the phrase of the status': (said, response) => response.writeHead(500, encodeURIComponent(said)).end(),
  };
  const texts: Record<string, (request: IncomingMessage, body: string) => string> = {
    number: () => MSISDN,
    'number as it was typed': () => TYPED,
    text: () => TEXT,
    'text in part': () => 'bad text: Код 5829',
    'text and number in a sentence': () => `no route for ${MSISDN}: ${TEXT}`,
    body: (_, body) => body,
    credentials: (request) => request.headers.authorization ?? '',
    password: () => PASSWORD,
  };
  const cases = Object.keys(ways).flatMap((way) => Object.keys(texts).map((what) => [what, way] as const));

  it.each(cases)('its %s %s', async (what, way) => {
    const url = await echo((request, body, response) => ways[way]!(texts[what]!(request, body), response));
    const { sms } = await account({ url });
    await expectNoLeak(await failureOf(sms.send(MESSAGE)), await failureOf(sms.getStatus(UID)));
  });

  /** Letters and digits only, which every form of an echo contains. */
  const bare = (text: string) =>
    text
      .normalize('NFKD')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]/gu, '');
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const values = { number: MSISDN, text: TEXT, password: PASSWORD, login: LOGIN, secret: SECRET };
  const mutations: Record<string, (value: string) => string> = {
    'as it is': (value) => value,
    'in upper case': (value) => value.toUpperCase(),
    'with other separators': (value) => [...value.replace(/[^\p{L}\p{N}]/gu, '')].join('-'),
    'without separators': (value) => value.replace(/[^\p{L}\p{N}]/gu, ''),
    'its beginning': (value) => value.slice(0, 8),
    'its end': (value) => value.slice(-7),
    'its middle': (value) => value.slice(3, 11),
    'in Base64': base64,
    'in Base64 for URLs': (value) => Buffer.from(value).toString('base64url'),
    'a part of its Base64': (value) => base64(value).slice(2, 14),
    'in Base64 with more': (value) => base64(`x${value}`).slice(2),
    'in hexadecimal form': (value) => Buffer.from(value).toString('hex').slice(0, 32),
    'percent-encoded': encodeURIComponent,
  };
  /** A status answer as in the document; only this answer has the message's data. */
  const RESULT = { uid: UID, msisdn: MSISDN, text: TEXT };
  const places: Record<string, (said: string) => { status?: number; reason?: string; result?: object; id?: string }> = {
    reason: (said) => ({ reason: said }),
    'reason of a 403': (said) => ({ status: 403, reason: said }),
    'request id of an answer': (said) => ({ id: said, result: { ...RESULT, status: 'delivered' } }),
    'request id of an error': (said) => ({ id: said, reason: 'invalid_field_text' }),
    status: (said) => ({ result: { ...RESULT, status: said } }),
    'error code': (said) => ({ result: { ...RESULT, status: 'rejected', error_code: said } }),
  };

  it('whatever was done to it, it is nowhere, not even in part', async () => {
    let answer: ReturnType<(typeof places)[string]> = {};
    const url = await echo((_, __, response) => {
      const { status = 200, reason, result, id } = answer;
      const headers = { 'content-type': 'application/json', ...(id === undefined ? {} : { 'x-request-id': id }) };
      response.writeHead(status, headers).end(JSON.stringify({ status: result ? 'ok' : 'error', reason, result }));
    });
    const { sms } = await account({ url }, { tracking: { schedule: [3_600_000] }, retry: { send: 0, status: 0 } });
    const affix = fc.constantFrom('', 'spam_', 'wrong-password ', 'x');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.values(values)),
        fc.constantFrom(...Object.keys(mutations)),
        fc.constantFrom(...Object.keys(places)),
        affix,
        affix,
        async (value, mutation, place, before, after) => {
          const mutated = mutations[mutation]!(value);
          fc.pre(bare(mutated).length >= 5);
          const said = before + mutated + after;
          answer = places[place]!(/id/.test(place) ? said.replace(/[^\x20-\x7e]/g, '') : said);
          // An error about a uid does not have data of the message to compare with.
          const isKnown = answer.result !== undefined || (value !== MSISDN && value !== TEXT);
          const status = isKnown ? await sms.getStatus(UID).catch((error: unknown) => error) : {};
          const { msisdn: _, text: __, ...told } = status as { msisdn?: string; text?: string };
          const sent = await sms.send(MESSAGE).catch((error: unknown) => error);
          const { requestId } = sent as { requestId?: string };
          const { text } = await watch.take();
          const seen = [
            text,
            show(status instanceof Error ? status : told),
            sent instanceof Error ? show(sent) : '',
            requestId,
          ];
          expect(bare(seen.join('\n'))).not.toContain(bare(mutated));
        },
      ),
      { numRuns: 400 },
    );
  }, 60_000);
});

describe('what is wrong before anything is sent', () => {
  const healthy = async (options?: AccountOptions) => account(await startFault('healthy'), options);

  it.each<[string, object]>([
    ['a number with a stray letter', { ...MESSAGE, msisdn: `${TYPED}x` }],
    ['a number that is too long', { ...MESSAGE, msisdn: `${MSISDN}${MSISDN}` }],
    ['a number with an extension', { ...MESSAGE, msisdn: `+${MSISDN}1234` }],
    ['a number in a number', { ...MESSAGE, msisdn: Number(`1${MSISDN}00000`) }],
    ['a number in an object', { ...MESSAGE, msisdn: { number: MSISDN } }],
    ['a number in an array', { ...MESSAGE, msisdn: [MSISDN] }],
    ['a text that is too long', { ...MESSAGE, text: TEXT.repeat(2_000) }],
    ['a text in an object', { ...MESSAGE, text: { text: TEXT } }],
    ['a text with half a character', { ...MESSAGE, text: `${TEXT}\uD800` }],
    ['a sender with a control character', { ...MESSAGE, shortcode: `${TEXT}\0` }],
    ['a reference that is too long', { ...MESSAGE, ref: TEXT.repeat(100) }],
    ['a message that is a string', Object(`${MSISDN} ${TEXT}`) as object],
    [
      'a message whose field throws',
      {
        ...MESSAGE,
        get text() {
          throw new Error(TEXT);
        },
      },
    ],
  ])('%s', async (_, message) => {
    const { sms } = await healthy();
    const wrong = message as typeof MESSAGE;
    const errors = [
      await failureOf(sms.send(wrong)),
      await failureOf(sms.enqueue(wrong)),
      await failureOf(sms.enqueueMany([{ message: MESSAGE }, { message: wrong }])),
    ];
    for (const error of errors) expect(isRtSmsError(error)).toBe(true);
    await expectNoLeak(...errors);
  });

  it('a uid that is none, and limits that are none', async () => {
    const { sms } = await healthy();
    const errors = [
      await failureOf(sms.getStatus(TEXT)),
      await failureOf(sms.getStatus(`/${TYPED}`)),
      await failureOf(sms.waitForFinal(`${PASSWORD} ${SECRET}`)),
      await failureOf(sms.track([TEXT])),
      await failureOf(sms.track(undefined as unknown as string)),
      await failureOf(sms.track([null as unknown as string])),
      await failureOf(sms.send(MESSAGE, null as unknown as object)),
      await failureOf(sms.getStatus(UID, null as unknown as object)),
      await failureOf(sms.waitForFinal(UID, TEXT as unknown as object)),
      await failureOf(sms.enqueueMany([null as unknown as { message: typeof MESSAGE }])),
      await failureOf(sms.enqueueMany(TEXT as unknown as [])),
      await failureOf(sms.send(MESSAGE, { timeoutMs: TYPED as unknown as number })),
      await failureOf(sms.send(MESSAGE, { signal: PASSWORD as unknown as AbortSignal })),
      await failureOf(sms.send(MESSAGE, { signal: AbortSignal.abort(new Error(`${TEXT} ${PASSWORD}`)) })),
      await failureOf(sms.enqueue(MESSAGE, { id: TEXT.repeat(10), priority: TEXT as 'otp' })),
    ];
    for (const error of errors) expect(isRtSmsError(error)).toBe(true);
    await expectNoLeak(...errors);
  });

  it('an id that stands for another message', async () => {
    const { sms } = await healthy();
    await sms.enqueue(MESSAGE, { id: 'order-1' });
    await expectNoLeak(await failureOf(sms.enqueue({ ...MESSAGE, text: `${TEXT}!` }, { id: 'order-1' })));
  });

  it.each<[string, object]>([
    ['a login with a colon', { login: `${LOGIN}:${PASSWORD}` }],
    ['a password with a control character', { password: `${PASSWORD}\n` }],
    ['a password in an object', { password: { is: PASSWORD } }],
    ['a password in the address', { url: `https://shop:${encodeURIComponent(PASSWORD)}@sms.example` }],
    [
      'an address with a query',
      { url: `https://sms.example/?operation=send&password=${encodeURIComponent(PASSWORD)}` },
    ],
    ['a secret that is too long', { callback: { secrets: SECRET.repeat(4) } }],
    ['secrets of which one is wrong', { callback: { secrets: [SECRET, `${SECRET}!`] } }],
    ['a secret under another name', { callback: { secret: SECRET } }],
    ['a proxy with a password', { proxy: `ftp://shop:${encodeURIComponent(PASSWORD)}@proxy.example` }],
    ['a secret in place of what holds it', { callback: SECRET, tracking: SECRET, engine: SECRET }],
    ['secrets that are no array', { callback: { secrets: [SECRET], allowFrom: SECRET, confirm: SECRET } }],
    ['login and password where only their place is named', { credentials: `${LOGIN}:${PASSWORD}` }],
    ['a key in place of what holds it', { tls: `-----BEGIN PRIVATE KEY-----\n${PASSWORD}` }],
    ['a key that is none', { tls: { key: 4711, passphrase: { is: PASSWORD } } }],
  ])('%s', async (_, options) => {
    watch.takeLog();
    const error = await failureOf(startAccount({ url: 'http://127.0.0.1:9' }, options));
    expect(error).toMatchObject({ code: 'RT_SMS_CONFIG' });
    await expectNoLeak(error);
  });
});

describe('what an application does', () => {
  it('an interceptor that throws all that it sees', async () => {
    const { app, sms } = await account(await startFault('healthy'));
    const { axiosRef } = app.get<HttpService>(getRtSmsHttpToken());
    axiosRef.interceptors.response.use((response) => {
      throw Object.assign(new Error(JSON.stringify(response.config.data)), { config: response.config, response });
    });
    await expectNoLeak(await failureOf(sms.send(MESSAGE)), await failureOf(sms.getStatus(UID)));
  });

  it('an interceptor that throws what its author wrote into it', async () => {
    const { app, sms } = await account(await startFault('healthy'));
    const { axiosRef } = app.get<HttpService>(getRtSmsHttpToken());
    axiosRef.interceptors.request.use(({ method }) => {
      // A status request has only the uid of its message.
      const text = method === 'post' ? TEXT : '';
      throw new TypeError(`${PASSWORD}, ${TYPED}, +${MSISDN}: ${text}`, { cause: MESSAGE });
    });
    await expectNoLeak(await failureOf(sms.send(MESSAGE)), await failureOf(sms.getStatus(UID)));
  });

  it.each(['healthy', 'rejected', '403-wrong-ip', 'fin-after-request'] as const)(
    'what becomes of an enqueued message under %s, and who hears of it and fails',
    async (name) => {
      const { app, sms } = await account(await startFault(name), { tracking: { schedule: [1_000] } });
      const heard: unknown[] = [];
      const emitter = app.get(EventEmitter2);
      const settled = new Promise<void>((resolve) => {
        emitter.onAny((_, payload: unknown) => {
          heard.push(payload);
          resolve();
          throw new Error(`cannot tell ${TYPED}, that is ${MSISDN}`);
        });
      });
      await sms.enqueue(MESSAGE, { id: 'order-1' });
      // A message that waits until the gateway accepts this process again does not have an event.
      if (name !== '403-wrong-ip') await settled;
      else await failureOf(sms.send(MESSAGE));
      const { lines } = await expectNoLeak(...heard);
      expect(lines).toBeGreaterThan(0);
    },
  );

  it.each<[string, Record<string, unknown>]>([
    ['a status of the text', { id: 'VvkmLHkfhCX9', status: TYPED }],
    ['a number for an id', { id: TYPED, status: 'delivered' }],
    ['an object', { id: { secret: SECRET }, status: [PASSWORD] }],
    ['the words of the document', { id: 'VvkmLHkfhCX9', status: 'delivered' }],
    ['a repetition', { id: 'VvkmLHkfhCX9', status: 'delivered' }],
  ])('a callback that is %s', async (_, query) => {
    const { app, sms } = await account(await startFault('healthy'), { tracking: { schedule: [60_000] } });
    app.get(EventEmitter2).on(RtSmsEvents.status, () => {
      throw new Error('a handler that fails');
    });
    for (const secret of [SECRET, `${SECRET}x`, SECRET]) await sms.handleCallback(query, { secret, ip: '203.0.113.7' });
    await expectNoLeak();
  });

  it('the service itself, given to a logger', async () => {
    const server = await startFault('healthy');
    const { sms } = await account(server);
    expect(inspect(sms, { depth: 10 })).toContain('default');
    new Logger('x').warn(sms);
    await expectNoLeak(sms);
  });

  it('its module and its HttpService, given to a logger', async () => {
    const { app } = await account(await startFault('healthy'), {
      proxy: `http://shop:${encodeURIComponent(PASSWORD)}@127.0.0.1:9`,
    });
    const http = app.get<HttpService>(getRtSmsHttpToken());
    const module = app.get(RtSmsModule);
    expect(inspect(module, { depth: 10 })).toContain('RtSmsModule');
    new Logger('x').warn(inspect(module, { depth: 10, showHidden: true }));
    for (const each of [http, http.axiosRef, http.axiosRef.defaults]) new Logger('x').warn(show(each));
    await expectNoLeak();
  });

  it('its service and its module, taken apart', async () => {
    const { app, sms } = await account(await startFault('healthy'));
    const apart = (holder: object) => [
      inspect({ ...holder }, { depth: Infinity }),
      inspect({ ...holder }, { depth: Infinity, customInspect: false }),
      inspect(holder, { depth: Infinity, customInspect: false }),
      Object.entries(holder),
    ];
    await expectNoLeak(...[sms, app.get(RtSmsModule)].flatMap(apart));
    expect({ ...sms }).toEqual({ account: 'default' });
  });

  it('a check of its health that fails', async () => {
    const { sms } = await account(await startFault('403-wrong-ip'));
    await expectNoLeak(await sms.checkHealth());
  });
});
