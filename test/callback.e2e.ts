import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import {
  BadRequestException,
  Controller,
  Get,
  Injectable,
  SetMetadata,
  ValidationPipe,
  VersioningType,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import { APP_GUARD, Reflector } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import {
  getRtSmsToken,
  OnRtSmsStatus,
  RtSmsConfigError,
  RtSmsModule,
  RtSmsService,
  type RtSmsExtras,
  type RtSmsOptions,
  type RtSmsStatusEvent,
} from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { firstValueFrom, take, toArray } from 'rxjs';
import { atEnd, PLATFORMS, start, type Platform } from './platforms.js';
import { lateBy } from './timing.js';

const SECRET = 'a-secret-of-sixteen';
const OTHER = 'another-secret-of-mine';
const PATH = '/rt-sms/callback';
const WITH_SECRET = { callback: { secrets: SECRET } };
const SMS = { msisdn: '79270000001', text: 'Ваш заказ готов', shortcode: 'SHOP' };
/** A uid that was not sent by this process. */
const FOREIGN = 'message-id-VvkmLHkfhCX9';

/** The fields of an event that a handler uses for decisions. */
const words = ({ uid, status, source, confirmed }: RtSmsStatusEvent) => ({ uid, status, source, confirmed });
const query = (fields: Record<string, string>) => `?${new URLSearchParams(fields).toString()}`;

async function gatewayOf(options: Parameters<typeof RtSmsSimulator.start>[0] = {}): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
  atEnd(() => gateway.close());
  return gateway;
}

/** An application with the module, its gateway, and all events that its listeners receive. */
async function running(
  platform: Platform,
  options: Partial<RtSmsOptions> & RtSmsExtras = WITH_SECRET,
  setUp?: (app: INestApplication) => void,
  others: { providers?: object[]; controllers?: (new () => object)[]; gateway?: RtSmsSimulator } = {},
) {
  const gateway = others.gateway ?? (await gatewayOf());
  const events: RtSmsStatusEvent[] = [];
  @Injectable()
  class Listener {
    @OnRtSmsStatus()
    on(event: RtSmsStatusEvent): void {
      events.push(event);
    }
  }
  const { app, url } = await start(
    platform,
    {
      imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...gateway.options, ...options })],
      controllers: others.controllers ?? [],
      providers: [Listener, ...((others.providers ?? []) as [])],
    },
    setUp,
  );
  return { app, url, gateway, events, sms: app.get<RtSmsService>(getRtSmsToken(options.name)) };
}

/** Sends the bytes of a request and returns all bytes until the server closes the connection. */
async function raw(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('latin1').on('data', (data: string) => (answer += data));
  socket.write(request, 'latin1');
  await once(socket, 'close');
  return answer;
}
const rawGet = (url: string, target: string, method = 'GET') =>
  raw(url, `${method} ${target} HTTP/1.1\r\nHost: host.example\r\nConnection: close\r\n\r\n`);
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
const timeless = (answer: string) => answer.replace(/^date: .*\r\n/im, '');

describe.each(PLATFORMS)('the callback on %s', (platform) => {
  describe('its path', () => {
    it('is believed with the secret, with and without a trailing slash', async () => {
      const { url, events, gateway } = await running(platform);
      for (const [number, slash] of ['', '/'].entries()) {
        const target = `${url}${PATH}/${SECRET}${slash}${query({ id: `${FOREIGN}${number}`, status: 'delivered', parts: '2' })}`;
        const answer = await fetch(target);
        expect(answer.status).toBe(200);
        expect(await answer.text()).toBe('ok');
        expect(answer.headers.get('cache-control')).toBe('no-store');
        expect(events).toHaveLength(number + 1);
        expect(events[number]).toMatchObject({
          id: `default:${FOREIGN}${number}:delivered`,
          account: 'default',
          uid: `${FOREIGN}${number}`,
          status: 'delivered',
          gatewayStatus: 'delivered',
          final: true,
          parts: 2,
          source: 'callback',
          confirmed: false,
          receivedAt: expect.any(Date),
        });
      }
      expect(gateway.requests).toEqual({ post: 0, get: 0 });
    });

    it('without a secret configured is the bare one', async () => {
      const { url } = await running(platform, {});
      for (const slash of ['', '/']) {
        const answer = await fetch(`${url}${PATH}${slash}${query({ id: FOREIGN, status: 'delivered' })}`);
        expect(answer.status).toBe(200);
        expect(await answer.text()).toBe('ok');
        expect(answer.headers.get('cache-control')).toBe('no-store');
      }
    });

    it('accepts authenticated callbacks, readable or not', async () => {
      const { url, events } = await running(platform);
      for (const bad of ['', '?', '?x=1', '?id=', '?status=delivered', query({ id: 'a b', status: 'delivered' })]) {
        expect((await fetch(`${url}${PATH}/${SECRET}${bad}`)).status).toBe(200);
      }
      expect(events).toEqual([]);
    });

    // An application without the route must return the same bytes.
    it.each<[string, Partial<RtSmsOptions>, Record<string, string>]>([
      [
        'with a secret configured',
        WITH_SECRET,
        {
          'a wrong secret': `/${OTHER}`,
          'a wrong secret and a slash': `/${OTHER}/`,
          'a part of the secret': `/${SECRET.slice(0, -1)}`,
          'more than the secret': `/${SECRET}x`,
          'the secret in upper case': `/${SECRET.toUpperCase()}`,
          'a secret as long as one may be': `/${'x'.repeat(100)}`,
          'a secret of markup': '/%3Cscript%3E',
          'no secret': '',
          'no secret and a slash': '/',
          'the secret in the query': `?secret=${SECRET}`,
          'a longer path': `/${SECRET}/x`,
          'a longer path with a slash': `/${SECRET}/x/`,
          'two slashes': `/${SECRET}//`,
        },
      ],
      ['with none configured', {}, { 'a secret': `/${SECRET}`, 'any word': '/x', 'a longer path': '/x/y' }],
    ])(
      'unauthenticated callbacks are answered like an unknown route, byte for byte, %s',
      async (_, options, targets) => {
        const { url, events } = await running(platform, options);
        const { url: blank } = await start(platform, {});
        for (const [what, rest] of Object.entries(targets)) {
          const target = `${PATH}${rest}${rest.includes('?') ? '&' : '?'}status=delivered&id=${FOREIGN}`;
          const answer = await rawGet(url, target);
          expect([what, statusOf(answer)]).toEqual([what, 404]);
          expect(timeless(answer)).toBe(timeless(await rawGet(blank, target)));
        }
        expect(events).toEqual([]);
      },
    );

    it('a secret above the maximum length is not accepted, regardless of the platform', async () => {
      const { url, events } = await running(platform);
      const status = statusOf(await rawGet(url, `${PATH}/${'x'.repeat(101)}?id=${FOREIGN}&status=delivered`));
      expect([404, 414]).toContain(status);
      expect(events).toEqual([]);
    });

    it('another method does not cause an event or an error, with the secret and without', async () => {
      const { url, events } = await running(platform);
      for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']) {
        for (const rest of [`/${SECRET}`, `/${SECRET}/`, '']) {
          const status = statusOf(await rawGet(url, `${PATH}${rest}?id=${FOREIGN}&status=delivered`, method));
          expect(status).toBeGreaterThanOrEqual(200);
          expect(status).toBeLessThan(500);
          expect([method, rest, events.length]).toEqual([method, rest, 0]);
        }
      }
    });

    it('HEAD is answered like an unknown route', async () => {
      const { url } = await running(platform);
      const { url: blank } = await start(platform, {});
      const target = `${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`;
      expect(timeless(await rawGet(url, target, 'HEAD'))).toBe(timeless(await rawGet(blank, target, 'HEAD')));
    });

    it('accepts HTTP/1.0 without a Host', async () => {
      const { url, events } = await running(platform);
      const answer = await raw(url, `GET ${PATH}/${SECRET}?id=${FOREIGN}&status=failed HTTP/1.0\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.[01] 200 /);
      expect(answer).toMatch(/\r\n\r\nok$/);
      expect(events.map(words)).toEqual([{ uid: FOREIGN, status: 'failed', source: 'callback', confirmed: false }]);
    });

    it('may be one of your own', async () => {
      const { url, events } = await running(platform, { ...WITH_SECRET, callbackPath: '/hooks/sms/' });
      expect((await fetch(`${url}/hooks/sms/${SECRET}?id=${FOREIGN}&status=delivered`)).status).toBe(200);
      expect((await fetch(`${url}${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`)).status).toBe(404);
      expect(events).toHaveLength(1);
    });
  });

  describe('its content (§3.1.1)', () => {
    it.each([
      [
        'the whole uid',
        { id: 'message-id-mw4ZQfV2JTFc', parts: '2', status: 'delivered' },
        { status: 'delivered', parts: 2 },
      ],
      [
        'a bare id',
        { id: 'mw4ZQfV2JTFc', parts: '1', status: 'awaiting_report' },
        { status: 'awaiting_report', parts: 1 },
      ],
      ['failed', { id: 'mw4ZQfV2JTFc', status: 'failed', parts: '0' }, { status: 'failed' }],
      ['no balance', { id: 'mw4ZQfV2JTFc', status: 'insufficient_balance' }, { status: 'insufficient_balance' }],
      ['rejected', { id: 'mw4ZQfV2JTFc', status: 'rejected', err: 'E17' }, { status: 'rejected', errorCode: 'E17' }],
      ['err without rejected', { id: 'mw4ZQfV2JTFc', status: 'failed', err: 'E17' }, { status: 'failed' }],
      [
        'an unknown word',
        { id: 'mw4ZQfV2JTFc', status: 'на складе' },
        { status: 'unknown', gatewayStatus: 'на складе', id: 'default:message-id-mw4ZQfV2JTFc:unknown:на складе' },
      ],
    ])('%s', async (_, fields, expected) => {
      const { url, events } = await running(platform);
      await fetch(`${url}${PATH}/${SECRET}${query(fields)}`);
      expect(events).toHaveLength(1);
      expect(events[0]).toMatchObject({ uid: 'message-id-mw4ZQfV2JTFc', ...expected });
      for (const field of ['parts', 'errorCode'] as const) {
        expect(field in events[0]!).toBe(field in expected);
      }
    });

    const long = 'x'.repeat(5_000);
    // The raw query.
    it('rubbish does not cause an event or an error', async () => {
      const { url, events, gateway } = await running(platform);
      const rubbish = {
        'a repeated id': `id=${FOREIGN}&id=message-id-1&status=delivered`,
        'the same id twice': `id=${FOREIGN}&id=${FOREIGN}&status=delivered`,
        'an id in brackets': `id[]=${FOREIGN}&status=delivered`,
        'an id as an object': `id[x]=${FOREIGN}&status=delivered`,
        'no id': 'status=delivered',
        'an empty id': 'id=&status=delivered',
        'a long id': `id=${long}&status=delivered`,
        'an id that is no UTF-8': 'id=%FF%FE&status=delivered',
        'an id with a cut off escape': 'id=abc%&status=delivered',
        'an id with CR and LF': 'id=abc%0D%0AInjected:%20line&status=delivered',
        'an id with NUL': 'id=abc%00&status=delivered',
        'an id that leaves its place': 'id=../../etc/passwd&status=delivered',
        'an id of a prototype': '__proto__[id]=abc&__proto__[status]=delivered',
        'a repeated status': `id=${FOREIGN}&status=delivered&status=failed`,
        'a status in brackets': `id=${FOREIGN}&status[]=delivered`,
        'no status': `id=${FOREIGN}`,
        'an empty status': `id=${FOREIGN}&status=`,
        'a blank status': `id=${FOREIGN}&status=%20+`,
        'a long status': `id=${FOREIGN}&status=${'x'.repeat(65)}`,
        'a very long status': `id=${FOREIGN}&status=${long}`,
        'a status that is no UTF-8': `id=${FOREIGN}&status=%FF`,
        'a status that is partly no UTF-8': `id=${FOREIGN}&status=deliv%E9red`,
        'a status with a cut off escape': `id=${FOREIGN}&status=deliver%E`,
        'a status with CR and LF': `id=${FOREIGN}&status=delivered%0D%0AInjected:%20line`,
        'a status with NUL': `id=${FOREIGN}&status=delivered%00`,
        'a status with an escape sequence': `id=${FOREIGN}&status=%1B[31mdelivered`,
      };
      for (const [what, query] of Object.entries(rubbish)) {
        const status = statusOf(await rawGet(url, `${PATH}/${SECRET}?${query}`));
        expect([what, status, events]).toEqual([what, 200, []]);
      }
      expect(gateway.requests.post).toBe(0);
    });

    it('a readable status is believed in spite of rubbish in other fields', async () => {
      const { url, events } = await running(platform);
      const rows = [
        ['repeated parts', 'parts=1&parts=2', 'err=E17', { errorCode: 'E17' }],
        ['parts of another kind', 'parts=two', 'err=E17', { errorCode: 'E17' }],
        ['parts that are no UTF-8', 'parts=%FF', 'err=E17', { errorCode: 'E17' }],
        ['a repeated err', 'parts=3', 'err=1&err=2', { parts: 3 }],
        ['a long err', 'parts=3', `err=${long}`, { parts: 3 }],
        ['an err that is no UTF-8', 'parts=3', 'err=%FF', { parts: 3 }],
        ['an err with CR and LF', 'parts=3', 'err=a%0D%0Ab', { parts: 3 }],
        ['an err with NUL', 'parts=3', 'err=%00', { parts: 3 }],
        ['more parameters than documented', 'parts=3', 'err=E17&x=1&__proto__=2', { parts: 3, errorCode: 'E17' }],
      ] as const;
      for (const [number, [what, parts, err, expected]] of rows.entries()) {
        const target = `${PATH}/${SECRET}?id=${number}&status=rejected&${parts}&${err}`;
        expect(statusOf(await rawGet(url, target))).toBe(200);
        const { uid, status, parts: read, errorCode } = events[number]!;
        const believed = { ...(read && { parts: read }), ...(errorCode && { errorCode }) };
        expect([what, uid, status, believed]).toEqual([what, `message-id-${number}`, 'rejected', expected]);
      }
    });

    it('a rubbish secret does not cause an error', async () => {
      const { url, events } = await running(platform);
      for (const secret of ['%FF', '%C0%AF', '%', '%00', '%0D%0A', '%2F', '..%2F', '%E0%A4%A']) {
        const status = statusOf(await rawGet(url, `${PATH}/${secret}?id=${FOREIGN}&status=delivered`));
        expect(status).toBeGreaterThanOrEqual(400);
        expect(status).toBeLessThan(500);
        expect([secret, events.length]).toEqual([secret, 0]);
      }
    });

    it('a callback with an unreadable status is a hint: the gateway is polled', async () => {
      const { url, gateway, events, sms } = await running(platform);
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'delivered');
      const [event] = await Promise.all([
        firstValueFrom(sms.statuses$),
        fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=delivered&status=failed`),
      ]);
      expect(words(event)).toEqual({ uid, status: 'delivered', source: 'callback', confirmed: true });
      expect(events).toHaveLength(1);
    });
  });

  describe('its authentication', () => {
    it('each of several secrets, while they are changed', async () => {
      const { url, events } = await running(platform, { callback: { secrets: [SECRET, OTHER] } });
      for (const [number, secret] of [SECRET, OTHER, 'a-third-secret-not-mine'].entries()) {
        const answer = await fetch(`${url}${PATH}/${secret}?id=${number}&status=delivered`);
        expect(answer.status).toBe(number < 2 ? 200 : 404);
      }
      expect(events.map(({ uid }) => uid)).toEqual(['message-id-0', 'message-id-1']);
    });

    it('nobody without a secret: what is tracked is asked for within a second, and the gateway is believed', async () => {
      const { url, gateway, events, sms } = await running(platform, {});
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'failed');
      const asked = gateway.requests.get;
      const status = firstValueFrom(sms.statuses$);
      const late = lateBy(500, status);
      const [event] = await Promise.all([status, fetch(`${url}${PATH}?id=${uid}&status=delivered&parts=7`)]);
      expect(await late).toBeLessThan(500);
      expect(words(event)).toEqual({ uid, status: 'failed', source: 'callback', confirmed: true });
      expect(event.parts).toBe(1);
      expect(events).toHaveLength(1);
      expect(gateway.requests.get).toBe(asked + 1);
    });

    it('a second hint right after an answer leads to a poll within about a second', async () => {
      const { url, gateway, sms } = await running(platform, {});
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'awaiting_report');
      const both = firstValueFrom(sms.statuses$.pipe(take(2), toArray()));
      const first = firstValueFrom(sms.statuses$);
      await fetch(`${url}${PATH}?id=${uid}&status=awaiting_report`);
      await first;
      await gateway.report(uid, 'delivered');
      const late = lateBy(1_000, both);
      await fetch(`${url}${PATH}?id=${uid}&status=delivered`);
      expect((await both).map(({ status }) => status)).toEqual(['awaiting_report', 'delivered']);
      expect(await late).toBeLessThan(500);
      expect(gateway.requests.get).toBe(2);
    });

    it('hints about untracked messages do not cost a request', async () => {
      const { url, gateway, events, sms } = await running(platform, {});
      const { uid } = await sms.send(SMS);
      for (let n = 0; n < 50; n++) {
        expect((await fetch(`${url}${PATH}?id=nobodys${n}&status=delivered`)).status).toBe(200);
      }
      expect(gateway.requests).toEqual({ post: 1, get: 0 });
      // Any request that they had caused would come before this one.
      await gateway.report(uid, 'delivered');
      await Promise.all([firstValueFrom(sms.statuses$), fetch(`${url}${PATH}?id=${uid}&status=x`)]);
      expect(gateway.requests).toEqual({ post: 1, get: 1 });
      expect(events).toHaveLength(1);
    });

    it("confirm: 'always' asks even with the secret", async () => {
      const { url, gateway, events, sms } = await running(platform, {
        callback: { secrets: SECRET, confirm: 'always' },
      });
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'failed');
      const [event] = await Promise.all([
        firstValueFrom(sms.statuses$),
        fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=delivered`),
      ]);
      expect(words(event)).toEqual({ uid, status: 'failed', source: 'callback', confirmed: true });
      expect(events).toHaveLength(1);
      expect(gateway.requests.get).toBe(1);
    });

    it("confirm: 'always' also polls for a message of another process", async () => {
      const { url, gateway, sms, events } = await running(platform, {
        callback: { secrets: SECRET, confirm: 'always' },
      });
      const { url: elsewhere, sms: other } = await running(platform, WITH_SECRET, undefined, { gateway });
      expect(elsewhere).not.toBe(url);
      const { uid } = await other.send(SMS);
      await gateway.report(uid, 'delivered');
      const [event] = await Promise.all([
        firstValueFrom(sms.statuses$),
        fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=delivered`),
      ]);
      expect(words(event)).toEqual({ uid, status: 'delivered', source: 'callback', confirmed: true });
      expect(events).toHaveLength(1);
    });
  });

  describe('allowFrom', () => {
    /** Listens again on an address that is reachable by IPv4 and IPv6. */
    async function dualStack(app: INestApplication): Promise<number> {
      const server = createServer((request: IncomingMessage, response: ServerResponse) => {
        (app.getHttpServer() as ReturnType<typeof createServer>).emit('request', request, response);
      });
      server.listen(0, '::');
      await once(server, 'listening');
      atEnd(() => server.close().closeAllConnections());
      return (server.address() as AddressInfo).port;
    }

    it.each([
      [['127.0.0.1'], true, false],
      [['127.0.0.0/8'], true, false],
      [['::ffff:127.0.0.1'], true, false],
      [['::ffff:127.0.0.0/104'], true, false],
      [['::1'], false, true],
      [['::/64'], false, true],
      [['10.0.0.0/8', '2001:db8::/32'], false, false],
      [['10.0.0.1', '127.0.0.1', '::1'], true, true],
      [[], true, true],
    ])('%j: by IPv4 %s, by IPv6 %s', async (allowFrom, four, six) => {
      const { app, url, events } = await running(platform, { callback: { secrets: SECRET, allowFrom } });
      const { url: blank } = await start(platform, {});
      const port = await dualStack(app);
      let expected = 0;
      for (const [base, allowed] of [
        [url, four],
        [`http://127.0.0.1:${port}`, four],
        [`http://[::1]:${port}`, six],
      ] as const) {
        const target = `${PATH}/${SECRET}?id=${expected}&status=delivered`;
        const answer = await fetch(base + target);
        expect(answer.status).toBe(allowed ? 200 : 404);
        if (!allowed) expect(await answer.text()).toBe(await (await fetch(blank + target)).text());
        if (allowed) expected++;
        expect(events).toHaveLength(expected);
      }
    });

    it('never makes one believed', async () => {
      const allowFrom = ['127.0.0.1'];
      const { url, events } = await running(platform, { callback: { secrets: SECRET, allowFrom } });
      expect((await fetch(`${url}${PATH}?id=${FOREIGN}&status=delivered`)).status).toBe(404);
      expect((await fetch(`${url}${PATH}/${OTHER}?id=${FOREIGN}&status=delivered`)).status).toBe(404);
      expect(events).toEqual([]);

      const { url: open, sms, gateway, events: said } = await running(platform, { callback: { allowFrom } });
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'awaiting_report');
      const [event] = await Promise.all([
        firstValueFrom(sms.statuses$),
        fetch(`${open}${PATH}?id=${uid}&status=delivered`),
      ]);
      expect(event).toMatchObject({ status: 'awaiting_report', confirmed: true });
      expect(said).toHaveLength(1);
    });

    it('does not believe a header that names an address', async () => {
      const { url, events } = await running(platform, { callback: { secrets: SECRET, allowFrom: ['10.0.0.1'] } });
      const headers = { 'x-forwarded-for': '10.0.0.1', forwarded: 'for=10.0.0.1', 'x-real-ip': '10.0.0.1' };
      const answer = await fetch(`${url}${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`, { headers });
      expect(answer.status).toBe(404);
      expect(events).toEqual([]);
    });
  });

  describe('its order', () => {
    it('a callback that overtakes the answer to its POST waits for it', async () => {
      const { url, gateway, sms, app } = await running(platform);
      gateway.nextSend({ delayMs: 500 });
      const order: string[] = [];
      app.get(EventEmitter2).on('rt-sms.status', ({ status, ref }: RtSmsStatusEvent) => order.push(`${status} ${ref}`));
      const delivered = app.get(EventEmitter2).waitFor('rt-sms.status.delivered');
      gateway.once('exchange', () => order.push('answered'));
      const sending = sms.send({ ...SMS, ref: 'order 1' });
      const { uid } = await gateway.waitForMessage();
      for (const status of ['awaiting_report', 'delivered']) {
        expect((await fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=${status}`)).status).toBe(200);
      }
      // The callback is answered without waiting for the event.
      expect(order).toEqual([]);
      await expect(sending).resolves.toMatchObject({ uid });
      await delivered;
      expect(order).toEqual(['answered', 'awaiting_report order 1', 'delivered order 1']);
      expect(gateway.requests.get).toBe(0);
    });

    it('a process that stalls finds the answer first, as it does without a stall', async () => {
      const { url, gateway, sms, app } = await running(platform);
      gateway.nextSend({ delayMs: 500 });
      const delivered = app.get(EventEmitter2).waitFor('rt-sms.status.delivered');
      const sending = sms.send({ ...SMS, ref: 'order 1' });
      const { uid } = await gateway.waitForMessage();
      expect((await fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=delivered`)).status).toBe(200);
      // Longer than a callback waits for pending sends, as a container without CPU time does.
      const until = performance.now() + 2_500;
      while (performance.now() < until);
      expect(await delivered).toMatchObject([{ ref: 'order 1' }]);
      await sending;
    });

    it('of an enqueued message: accepted comes first', async () => {
      const { url, gateway, sms, app } = await running(platform);
      gateway.nextSend({ delayMs: 500 });
      const order: string[] = [];
      const emitter = app.get(EventEmitter2);
      emitter.on('rt-sms.status', ({ status }: RtSmsStatusEvent) => order.push(status));
      emitter.on('rt-sms.accepted', ({ uid }: { uid: string }) => order.push(`accepted ${uid}`));
      await sms.enqueue(SMS);
      const { uid } = await gateway.waitForMessage();
      const final = firstValueFrom(sms.statuses$);
      await fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=delivered`);
      expect(order).toEqual([]);
      await final;
      expect(order).toEqual([`accepted ${uid}`, 'delivered']);
    });

    it('a hint that overtakes is not lost, and other hints do not cost a request', async () => {
      const { url, gateway, sms } = await running(platform, {});
      gateway.nextSend({ delayMs: 500 });
      const sending = sms.send(SMS);
      const { uid } = await gateway.waitForMessage();
      const reported = gateway.report(uid, 'delivered');
      const event = firstValueFrom(sms.statuses$);
      const late = lateBy(1_000, event);
      for (const id of [uid, FOREIGN]) await fetch(`${url}${PATH}?id=${id}&status=delivered`);
      await Promise.all([sending, reported]);
      expect(words(await event)).toEqual({ uid, status: 'delivered', source: 'callback', confirmed: true });
      expect(await late).toBeLessThan(500);
      expect(gateway.requests.get).toBe(1);
    });

    it('a duplicate and a step back emit nothing', async () => {
      const { url, gateway, events } = await running(platform);
      for (const status of [
        'awaiting_report',
        'awaiting_report',
        'delivered',
        'delivered',
        'awaiting_report',
        'sent',
      ]) {
        expect((await fetch(`${url}${PATH}/${SECRET}?id=${FOREIGN}&status=${status}`)).status).toBe(200);
      }
      expect(events.map(({ status }) => status)).toEqual(['awaiting_report', 'delivered']);
      expect(gateway.requests.get).toBe(0);
    });

    it('the bare and the prefixed id are the same message', async () => {
      const { url, events } = await running(platform);
      for (const id of [FOREIGN, FOREIGN.replace('message-id-', '')]) {
        await fetch(`${url}${PATH}/${SECRET}?id=${id}&status=delivered`);
      }
      expect(events).toHaveLength(1);
    });

    it('of two final ones that contradict each other the second counts once the gateway says so', async () => {
      const { url, gateway, sms, events } = await running(platform);
      const { uid } = await sms.send(SMS);
      await gateway.report(uid, 'delivered');
      const call = (status: string) => fetch(`${url}${PATH}/${SECRET}?id=${uid}&status=${status}`);
      await call('delivered');
      expect(events.map(words)).toEqual([{ uid, status: 'delivered', source: 'callback', confirmed: false }]);
      // The gateway does not confirm it.
      const asked = new Promise((resolve) => gateway.once('exchange', resolve));
      await call('rejected');
      await asked;
      expect(gateway.requests.get).toBe(1);
      // Now the gateway confirms it.
      await gateway.report(uid, 'failed');
      const [event] = await Promise.all([firstValueFrom(sms.statuses$), call('failed')]);
      expect(event).toMatchObject({ uid, status: 'failed', corrects: 'delivered', confirmed: true });
      await call('failed');
      await call('delivered');
      expect(events).toHaveLength(2);
      expect(events[0]).not.toHaveProperty('corrects');
    });
  });

  describe('an application with global enhancers', () => {
    const strict = () => new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true });

    it('a global pipe, a prefix and versions do not lose a status', async () => {
      @Controller({ path: 'other', version: '2' })
      class OtherController {
        @Get()
        other(): string {
          return 'other';
        }
      }
      const { url, events } = await running(
        platform,
        WITH_SECRET,
        (app) => {
          app.setGlobalPrefix('api');
          app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
          app.useGlobalPipes(strict());
        },
        { controllers: [OtherController] },
      );
      expect((await fetch(`${url}/api/v2/other`)).status).toBe(200);
      for (const slash of ['', '/']) {
        const answer = await fetch(
          `${url}/api${PATH}/${SECRET}${slash}?id=${FOREIGN}&status=delivered&parts=1&err=E17&x=1`,
        );
        expect(answer.status).toBe(200);
        expect(await answer.text()).toBe('ok');
      }
      expect(events).toHaveLength(1);
      expect((await fetch(`${url}${PATH}/${SECRET}?id=1&status=delivered`)).status).toBe(404);
    });

    it('a global interceptor that throws costs no status', async () => {
      const { url, events } = await running(platform, WITH_SECRET, (app) =>
        app.useGlobalInterceptors({
          intercept: () => {
            throw new BadRequestException('no tenant');
          },
        }),
      );
      expect((await fetch(`${url}${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`)).status).toBe(400);
      expect(events).toHaveLength(1);
      // The interceptor does not run for an unauthenticated callback.
      expect((await fetch(`${url}${PATH}/${OTHER}?id=1&status=delivered`)).status).toBe(404);
    });

    @Injectable()
    class Locked implements CanActivate {
      constructor(private readonly reflector: Reflector) {}

      canActivate(context: ExecutionContext): boolean {
        return this.reflector.getAllAndOverride<boolean>('public', [context.getHandler(), context.getClass()]) ?? false;
      }
    }

    it('callbackDecorators open it to a global guard', async () => {
      const guard = {
        provide: APP_GUARD,
        useFactory: (reflector: Reflector) => new Locked(reflector),
        inject: [Reflector],
      };
      const target = `${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`;
      const locked = await running(platform, WITH_SECRET, undefined, { providers: [guard] });
      expect((await fetch(locked.url + target)).status).toBe(403);
      expect(locked.events).toEqual([]);
      const callbackDecorators = [SetMetadata('public', true)];
      const open = await running(platform, { ...WITH_SECRET, callbackDecorators }, undefined, { providers: [guard] });
      expect((await fetch(open.url + target)).status).toBe(200);
      expect(open.events).toHaveLength(1);
    });
  });

  describe('when the application starts', () => {
    const STRONG = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
    const account = { login: 'shop', password: 'p', url: 'http://127.0.0.1:9/api/v2/send_message' };

    type Trust = boolean | string | ((address: string, hop: number) => boolean);
    /** Starts an application whose platform trusts these proxies, and records its log. */
    async function starting(
      options: Partial<RtSmsOptions & RtSmsExtras>,
      trust: Trust = false,
      setUp: (app: INestApplication) => void = () => undefined,
    ) {
      const logged: string[] = [];
      const keep = (level: string) => (message: unknown, context: unknown) => {
        if (String(context).startsWith('RtSms')) logged.push(`${level} ${String(context)}: ${String(message)}`);
      };
      const logger = { log: keep('log'), warn: keep('warn'), error: keep('error'), debug: () => undefined };
      const imports = [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...account, ...options })];
      const module = await Test.createTestingModule({ imports }).compile();
      const adapter = platform === 'express' ? new ExpressAdapter() : new FastifyAdapter({ trustProxy: trust });
      const app = module.createNestApplication<NestExpressApplication>(adapter, { logger });
      if (platform === 'express') app.set('trust proxy', trust);
      setUp(app);
      atEnd(() => app.close());
      await app.listen(0, '127.0.0.1');
      return { url: await app.getUrl(), logged };
    }
    const ALLOW = { callback: { secrets: STRONG, allowFrom: ['203.0.113.0/24'] } };

    it.each<[string, Trust]>([
      ['everybody', true],
      ['whatever address there is', '0.0.0.0/1, 128.0.0.0/1'],
      ['whatever IPv6 address there is', '2000::/3'],
      ['a thousand proxies', (_, hop) => hop < 1_000],
    ])('allowFrom where the platform trusts %s stops it', async (_, trust) => {
      const started = starting(ALLOW, trust);
      await expect(started).rejects.toThrow(RtSmsConfigError);
      await expect(started).rejects.toThrow(/callback\.allowFrom: .* addresses can be forged/);
    });

    it.each<[string, Trust]>([
      ['nobody', false],
      ['one proxy', (_, hop) => hop < 1],
      ['three proxies', (_, hop) => hop < 3],
      ['one of its own host', '127.0.0.1'],
      ['those of its own network', 'loopback, 10.0.0.0/8, 2001:db8:1::/48'],
    ])('allowFrom where it trusts %s does not stop it', async (_, trust) => {
      const { logged } = await starting(ALLOW, trust);
      expect(logged).toEqual(['log RtSms: Receiving callbacks at GET /rt-sms/callback/***']);
    });

    it('without allowFrom the setting does not matter', async () => {
      const { url } = await starting({ callback: { secrets: STRONG } }, true);
      expect((await fetch(`${url}${PATH}/${STRONG}?id=1&status=delivered`)).status).toBe(200);
    });

    it('allowFrom also stops it with your own controller', async () => {
      await expect(starting({ ...ALLOW, callbackPath: false }, true)).rejects.toThrow(/addresses can be forged/);
    });

    it.each([
      ['a-secret-of-sixteen', 1],
      [STRONG.slice(1), 1],
      ['0123456789abcdef0123456789abcdef', 1],
      ['0123456789abcdef'.repeat(3), 0],
      [STRONG, 0],
      [[STRONG, OTHER, SECRET], 1],
    ])('warns of a short secret once, and never shows one: %j', async (secrets, warnings) => {
      const { logged } = await starting({ callback: { secrets } });
      expect(
        logged.filter((line) => line.startsWith('warn RtSms: callback.secrets: a secret is shorter')),
      ).toHaveLength(warnings);
      for (const secret of [secrets].flat()) expect(logged.join('\n')).not.toContain(secret);
    });

    it.each<[string, Partial<RtSmsOptions & RtSmsExtras>, ((app: INestApplication) => void) | undefined]>([
      ['/rt-sms/callback/***', { callback: { secrets: STRONG } }, undefined],
      ['/rt-sms/callback, as hints, because no secret is configured', {}, undefined],
      [
        '/api/v0/hooks/sms/***',
        { callback: { secrets: STRONG }, callbackPath: '/hooks/sms' },
        (app) => app.setGlobalPrefix('api/v0'),
      ],
      [
        '/rt-sms/callback/***',
        { callback: { secrets: STRONG } },
        (app) => app.setGlobalPrefix('api', { exclude: ['rt-sms/callback/:secret', 'rt-sms/callback'] }),
      ],
      [
        '/api/rt-sms/callback/***',
        { callback: { secrets: STRONG } },
        (app) => {
          app.setGlobalPrefix('/api/');
          app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
        },
      ],
    ])('logs the path of callbacks: %s', async (path, options, setUp) => {
      const { url, logged } = await starting(options, undefined, setUp);
      expect(logged).toEqual([`log RtSms: Receiving callbacks at GET ${path}`]);
      // The logged path answers.
      const target = path.replace('***', STRONG).replace(/,.*/, '');
      expect((await fetch(`${url}${target}?id=1&status=delivered`)).status).toBe(200);
    });

    it('does not log a path if none is mounted, or if nothing listens', async () => {
      const own = { callback: { secrets: STRONG }, callbackPath: false as const };
      expect((await starting(own)).logged).toEqual([]);
    });

    it.each([
      ['sms', 'sms/otp'],
      ['rt-sms/callback', 'rt-sms/callback/otp/x'],
      ['SMS', 'sms/otp'],
    ])('two accounts, of which one path lies under the other, stop it: %s and %s', async (one, other) => {
      const imports = (first: string, second: string) => [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...account, callbackPath: first }),
        RtSmsModule.forRoot({ ...account, name: 'otp', callbackPath: second }),
      ];
      for (const order of [imports(one, other), imports(other, one)]) {
        await expect(start(platform, { imports: order })).rejects.toThrow(/callbackPath: .* starts with '/);
      }
      await start(platform, { imports: imports(one, `${one}-otp`) });
    });
  });

  it('of one account is not seen by the other', async () => {
    const [gateway, otherGateway] = [await gatewayOf(), await gatewayOf()];
    const heard: string[] = [];
    @Injectable()
    class Listener {
      @OnRtSmsStatus('delivered', { account: 'default' })
      onDefault({ uid }: RtSmsStatusEvent): void {
        heard.push(`default ${uid}`);
      }
      @OnRtSmsStatus('delivered', { account: 'otp' })
      onOtp({ uid }: RtSmsStatusEvent): void {
        heard.push(`otp ${uid}`);
      }
    }
    const { app, url } = await start(platform, {
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...gateway.options, callback: { secrets: SECRET } }),
        RtSmsModule.forRoot({ ...otherGateway.options, name: 'otp', callback: { secrets: OTHER } }),
      ],
      providers: [Listener],
    });
    const sms = app.get(RtSmsService);
    const otp = app.get<RtSmsService>(getRtSmsToken('otp'));
    const seen: string[] = [];
    sms.statuses$.subscribe(({ account, uid }) => seen.push(`default sees ${account} ${uid}`));
    otp.statuses$.subscribe(({ account, uid }) => seen.push(`otp sees ${account} ${uid}`));
    const call = async (path: string, secret: string, id: string) =>
      (await fetch(`${url}${path}/${secret}?id=${id}&status=delivered`)).status;
    expect(await call('/rt-sms/callback', SECRET, '1')).toBe(200);
    expect(await call('/rt-sms/otp/callback', OTHER, '2')).toBe(200);
    // The same uid in the other account is a different message.
    expect(await call('/rt-sms/otp/callback', OTHER, '1')).toBe(200);
    expect(await call('/rt-sms/callback', OTHER, '3')).toBe(404);
    expect(await call('/rt-sms/otp/callback', SECRET, '3')).toBe(404);
    expect(heard).toEqual(['default message-id-1', 'otp message-id-2', 'otp message-id-1']);
    expect(seen).toEqual([
      'default sees default message-id-1',
      'otp sees otp message-id-2',
      'otp sees otp message-id-1',
    ]);
  });

  it('a message that another account sent is not reported, also while its POST is in flight', async () => {
    const gateway = await gatewayOf();
    const { app, url } = await start(platform, {
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...gateway.options, callback: { secrets: SECRET } }),
        RtSmsModule.forRoot({ ...gateway.options, name: 'otp', callback: { secrets: OTHER } }),
      ],
    });
    const sms = app.get(RtSmsService);
    const heard: string[] = [];
    app.get(EventEmitter2).on('rt-sms.status', ({ account, uid }: RtSmsStatusEvent) => heard.push(`${account} ${uid}`));
    const call = async (path: string, secret: string, id: string) =>
      (await fetch(`${url}${path}/${secret}?id=${id}&status=delivered`)).status;
    const { uid } = await sms.send(SMS);
    expect(await call('/rt-sms/otp/callback', OTHER, uid)).toBe(200);
    expect(await call('/rt-sms/callback', SECRET, uid)).toBe(200);
    // It is final by now, and still recognised.
    expect(await call('/rt-sms/otp/callback', OTHER, uid)).toBe(200);
    gateway.nextSend({ delayMs: 300 });
    const sending = sms.send(SMS);
    const { uid: early } = gateway.messages[1] ?? (await gateway.waitForMessage(({ uid: other }) => other !== uid));
    const answered = call('/rt-sms/otp/callback', OTHER, early);
    await sending;
    expect(await answered).toBe(200);
    expect(await call('/rt-sms/otp/callback', OTHER, 'nobodys')).toBe(200);
    expect(heard).toEqual([`default ${uid}`, 'otp message-id-nobodys']);
  });

  it('handleCallback serves a controller of your own', async () => {
    const { url, sms, events } = await running(platform, { ...WITH_SECRET, callbackPath: false });
    expect((await fetch(`${url}${PATH}/${SECRET}?id=${FOREIGN}&status=delivered`)).status).toBe(404);
    const fields = { id: FOREIGN, status: 'delivered' };
    await expect(sms.handleCallback(fields, { secret: OTHER })).resolves.toBe('refused');
    await expect(sms.handleCallback(fields)).resolves.toBe('refused');
    await expect(sms.handleCallback({}, { secret: SECRET })).resolves.toBe('accepted');
    expect(events).toEqual([]);
    await expect(sms.handleCallback(fields, { secret: SECRET })).resolves.toBe('accepted');
    expect(events).toHaveLength(1);
  });
});
