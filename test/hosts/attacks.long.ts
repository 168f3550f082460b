// Applications with settings that could break a callback, or reveal its route.
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ApiExcludeController, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { Test } from '@nestjs/testing';
import type { INestApplication } from '@nestjs/common';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { atEnd, PLATFORMS } from '../platforms.js';
import { answerTo, bytesOf } from './pipeline.js';

const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const WRONG = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
const PATH = '/rt-sms/callback';
const ACCOUNT = { login: 'shop', password: 'p', url: 'http://127.0.0.1:9/api/v2/send_message' };

/** Starts an application on this platform with the module, and one without it. */
async function start(
  platform: () => ExpressAdapter | FastifyAdapter,
  setUp: (app: INestApplication) => void = () => undefined,
) {
  const sms = [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...ACCOUNT, callback: { secrets: SECRET } })];
  const [app, blank] = await Promise.all(
    [sms, []].map(async (imports) => {
      const module = await Test.createTestingModule({ imports }).compile();
      const app = module.createNestApplication(platform(), { logger: false });
      setUp(app);
      atEnd(() => app.close());
      await app.listen(0, '127.0.0.1');
      return app;
    }),
  );
  const heard: string[] = [];
  app!.get(RtSmsService).statuses$.subscribe(({ id }) => heard.push(id));
  const [url, blankUrl] = [await app!.getUrl(), await blank!.getUrl()];
  /** The bytes of both answers without their dates. */
  const answers = (target: string) =>
    Promise.all(
      [url, blankUrl].map(async (base) => {
        const answer = await answerTo(base, bytesOf({ method: 'GET', target, headers: 'Connection: close\r\n' }));
        return answer.replace(/^date: .*\r\n/im, '');
      }),
    );
  return { url, heard, answers };
}

describe('Fastify that takes a slash at the end, two slashes or another case for the same path', () => {
  it.each([
    { ignoreTrailingSlash: true },
    { ignoreDuplicateSlashes: true },
    { caseSensitive: false },
    { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false },
  ])('%j: starts, takes callbacks and hides', async (routerOptions) => {
    const { url, heard, answers } = await start(() => new FastifyAdapter({ routerOptions }));
    for (const [number, slash] of ['', '/'].entries()) {
      const answer = await fetch(`${url}${PATH}/${SECRET}${slash}?id=${number}&status=delivered`);
      expect([answer.status, await answer.text()]).toEqual([200, 'ok']);
    }
    expect(heard).toEqual(['default:message-id-0:delivered', 'default:message-id-1:delivered']);
    for (const rest of ['', '/', `/${WRONG}`, `/${WRONG}/`, `/${SECRET}/x`, `/${SECRET}/x/`]) {
      const [answer, unknown] = await answers(`${PATH}${rest}?id=2&status=delivered`);
      expect([rest, answer]).toEqual([rest, unknown]);
    }
    expect(heard).toHaveLength(2);
  });
});

describe('Express with a query parser that throws', () => {
  const strict = (query: string) => {
    if (query.includes('[')) throw new RangeError('too deep');
    return Object.fromEntries(new URLSearchParams(query));
  };
  const express = () =>
    start(
      () => new ExpressAdapter(),
      (app) => void (app as NestExpressApplication).set('query parser', strict),
    );

  it('tells nobody that the route is there', async () => {
    const { answers } = await express();
    const [answer, unknown] = await answers(`${PATH}/${WRONG}?id[x]=1&status=delivered`);
    expect(answer).toBe(unknown);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('costs no more than what it throws at', async () => {
    const { url, heard } = await express();
    expect((await fetch(`${url}${PATH}/${SECRET}?id[x]=1&status=delivered`)).status).toBe(200);
    expect(heard).toEqual([]);
    expect((await fetch(`${url}${PATH}/${SECRET}?id=1&status=delivered`)).status).toBe(200);
    expect(heard).toEqual(['default:message-id-1:delivered']);
  });
});

describe.each(PLATFORMS)('what the application shows of the callback on %s', (platform) => {
  async function running(callbackDecorators: ClassDecorator[] = []) {
    const lines: string[] = [];
    const keep = (...words: unknown[]) => void lines.push(words.map(String).join(' '));
    const imports = [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({ ...ACCOUNT, callback: { secrets: SECRET }, callbackDecorators }),
    ];
    const module = await Test.createTestingModule({ imports }).compile();
    const app = module.createNestApplication(platform === 'express' ? new ExpressAdapter() : new FastifyAdapter(), {
      logger: { verbose: keep, debug: keep, log: keep, warn: keep, error: keep, fatal: keep },
    });
    atEnd(() => app.close());
    await app.listen(0, '127.0.0.1');
    return {
      url: await app.getUrl(),
      lines,
      document: SwaggerModule.createDocument(app, new DocumentBuilder().build()),
    };
  }

  it('the secret is in no line of its log, from the start to a callback that is refused', async () => {
    const { url, lines } = await running();
    for (const method of ['GET', 'HEAD', 'POST']) {
      for (const secret of [SECRET, WRONG, '%FF', `${SECRET}/x`]) {
        await fetch(`${url}${PATH}/${secret}?id=1&status=delivered`, { method });
      }
    }
    expect(lines.join('\n')).toContain(`${PATH}/***`);
    expect(lines.filter((line) => line.includes(SECRET))).toEqual([]);
  });

  it('the secret is not in its OpenAPI document, and the path need not be', async () => {
    expect(JSON.stringify((await running()).document)).not.toContain(SECRET);
    expect((await running([ApiExcludeController()])).document.paths).toEqual({});
  });
});
