// The callback's route in applications with prefixes, exclusions and versions.
import { createRequire } from 'node:module';
import { EventEmitterModule } from '@nestjs/event-emitter';
import {
  Controller,
  Get,
  Module,
  RequestMethod,
  VersioningType,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import { NestFactory, RouterModule } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { getRtSmsToken, RtSmsModule, type RtSmsExtras, type RtSmsOptions, type RtSmsService } from 'nestjs-rt-sms';
import { atEnd, PLATFORMS, type Platform } from './platforms.js';
import { answerTo, bytesOf } from './hosts/pipeline.js';

const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const WRONG = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
const ACCOUNT = { login: 'shop', password: 'p', url: 'http://127.0.0.1:9/api/v2/send_message' };
const WITH_SECRET = { callback: { secrets: SECRET } };
const PATH = '/rt-sms/callback';

interface SetUp {
  /** Expected path in the application. */
  at: string;
  app?: (app: INestApplication) => unknown;
  imports?: object[];
  /** Modules that are imported after the one under test. */
  after?: object[];
  /** Options of the module. */
  sms?: Partial<RtSmsOptions & RtSmsExtras>;
  controllers?: Type[];
  /** Makes Express treat a trailing slash as another path, as Fastify does. */
  strict?: boolean;
}
const under = (path: string) => RouterModule.register([{ path, module: RtSmsModule }]);
const prefix =
  (name: string, ...exclude: (string | { path: string; method: RequestMethod })[]) =>
  (app: INestApplication) =>
    app.setGlobalPrefix(name, { exclude });

@Controller('elsewhere/rt-sms/callback')
class OtherController {
  @Get(':page')
  page(): string {
    return 'other';
  }
}

const { GET, POST, ALL } = RequestMethod;
const SET_UPS: Record<string, SetUp> = {
  'no prefix': { at: PATH },
  'a path of its own': { at: '/hooks/sms', sms: { callbackPath: '/hooks/sms/' } },
  'a global prefix': { at: `/api/v0${PATH}`, app: prefix('/api/v0/') },
  'an excluded string': { at: PATH, app: prefix('api', 'rt-sms/callback/:secret') },
  'an excluded string with another name': { at: PATH, app: prefix('api', '/rt-sms/callback/:any') },
  'an excluded GET': { at: PATH, app: prefix('api', { path: 'rt-sms/callback/:secret', method: GET }) },
  'an exclusion of all methods': { at: PATH, app: prefix('api', { path: 'rt-sms/callback/:secret', method: ALL }) },
  'an excluded POST': { at: `/api${PATH}`, app: prefix('api', { path: 'rt-sms/callback/:secret', method: POST }) },
  'an exclusion of the path without a secret': { at: `/api${PATH}`, app: prefix('api', 'rt-sms/callback') },
  'an excluded folder': { at: PATH, app: prefix('api', 'rt-sms/{*rest}') },
  'an exclusion of something else': { at: `/api${PATH}`, app: prefix('api', 'health', 'rt-sms') },
  RouterModule: { at: `/hooks${PATH}`, imports: [under('hooks')] },
  'RouterModule and a global prefix': { at: `/api/hooks${PATH}`, imports: [under('hooks')], app: prefix('api') },
  'RouterModule and an exclusion': {
    at: `/hooks${PATH}`,
    imports: [under('/hooks/')],
    app: prefix('api', 'hooks/rt-sms/callback/:secret'),
  },
  'URI versioning': {
    at: `/api${PATH}`,
    app: (app) => prefix('api')(app).enableVersioning({ type: VersioningType.URI, defaultVersion: '1' }),
  },
  'header versioning': {
    at: PATH,
    app: (app) => app.enableVersioning({ type: VersioningType.HEADER, header: 'x-version', defaultVersion: '1' }),
  },
  'a route of the application with the same end, before it': { at: PATH, controllers: [OtherController] },
  'another account whose path ends like it': {
    at: PATH,
    imports: [RtSmsModule.forRoot({ ...ACCOUNT, ...WITH_SECRET, name: 'otp', callbackPath: 'a/rt-sms/callback' })],
  },
  'strict routing': {
    at: `/api${PATH}`,
    app: prefix('api'),
    strict: true,
  },
  'strict routing, without a secret': { at: PATH, sms: { callback: {} }, strict: true },
  'no secret': { at: PATH, sms: { callback: {} } },
  'no secret, and an exclusion': { at: PATH, sms: { callback: {} }, app: prefix('api', 'rt-sms/callback') },
};

/** Express creates its router with its current settings, so they are set before Nest's adapter exists. */
function expressOf(strict = false): object {
  const nest = createRequire(import.meta.url).resolve('@nestjs/platform-express');
  const express = createRequire(nest)('express') as () => { set(name: string, value: boolean): object };
  return express().set('strict routing', strict);
}

/** Starts the application with and without the module, and records both logs. */
async function start(
  platform: Platform,
  { app: setUp, imports = [], after = [], sms, controllers = [], strict }: SetUp,
) {
  const logged: string[] = [];
  const keep = (message: unknown) => void logged.push(String(message));
  const logger = { log: keep, warn: keep, error: keep, debug: () => undefined };
  const run = async (modules: object[]) => {
    const module = await Test.createTestingModule({ imports: modules as Type[], controllers }).compile();
    const adapter = platform === 'express' ? new ExpressAdapter(expressOf(strict)) : new FastifyAdapter();
    const app = module.createNestApplication(adapter, { logger });
    await setUp?.(app);
    atEnd(() => app.close());
    await app.listen(0, '127.0.0.1');
    return app;
  };
  const app = await run([
    EventEmitterModule.forRoot(),
    ...imports,
    RtSmsModule.forRoot({ ...ACCOUNT, ...WITH_SECRET, ...sms }),
    ...after,
  ]);
  const path = logged
    .filter((line) => line.startsWith('Receiving callbacks at GET '))
    .map((line) => line.replace('Receiving callbacks at GET ', ''));
  const mapped = logged.filter((line) => line.startsWith('Mapped {') && line.includes('callback'));
  const heard: string[] = [];
  app.get<RtSmsService>(getRtSmsToken(sms?.name), { strict: false }).statuses$.subscribe(({ uid }) => heard.push(uid));
  const blank = await run([]);
  /** The bytes of an answer without its date. */
  const bytes = async (from: INestApplication, target: string) =>
    (await answerTo(await from.getUrl(), bytesOf({ method: 'GET', target, headers: 'Connection: close\r\n' }))).replace(
      /^date: .*\r\n/im,
      '',
    );
  return { url: await app.getUrl(), path, mapped, heard, app, blank, bytes };
}

describe.each(PLATFORMS)('the route of the callback on %s', (platform) => {
  it.each(Object.entries(SET_UPS))('has the logged path, with and without a trailing slash: %s', async (_, setUp) => {
    const { url, path, heard, app, blank, bytes } = await start(platform, setUp);
    const hasSecret = setUp.sms?.callback?.secrets !== undefined || setUp.sms?.callback === undefined;
    const secret = hasSecret ? `/${SECRET}` : '';
    expect(path).toContain(`${setUp.at}${hasSecret ? '/***' : ', as hints, because no secret is configured'}`);
    const target = `${setUp.at}${secret}`;
    for (const [n, form] of [target, `${target}/`].entries()) {
      const answer = await fetch(`${url}${form}?id=${n}&status=delivered`);
      expect([form, answer.status, await answer.text()]).toEqual([form, 200, 'ok']);
    }
    expect(heard).toEqual(hasSecret ? ['message-id-0', 'message-id-1'] : []);
    // Other paths do not answer.
    const base = setUp.sms?.callbackPath ?? PATH;
    for (const other of ['', '/api', '/hooks', '/api/hooks', '/v1', '/api/v1'].map((start) => `${start}${base}`)) {
      if (other !== setUp.at) expect((await fetch(`${url}${other}${secret}?id=2&status=delivered`)).status).toBe(404);
    }
    const wrongs = [`/${WRONG}`, `/${WRONG}/`, `${secret}/x`, `${secret}//`, ...(hasSecret ? ['', '/'] : [])];
    for (const rest of wrongs) {
      const wrong = `${setUp.at}${rest}?id=3&status=delivered`;
      expect([rest, await bytes(app, wrong)]).toEqual([rest, await bytes(blank, wrong)]);
    }
    expect(heard).toHaveLength(hasSecret ? 2 : 0);
  });

  it.each<[string, Partial<RtSmsOptions & RtSmsExtras>]>([
    ['with a secret', WITH_SECRET],
    ['without a secret', { callback: {} }],
  ])('is one route without conflicts, %s', async (_, options) => {
    const adapter = platform === 'express' ? new ExpressAdapter() : new FastifyAdapter();
    const mapped: string[] = [];
    const keep = (message: unknown) => void mapped.push(String(message));
    @Module({
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...ACCOUNT, ...options }),
        RtSmsModule.forRoot({ ...ACCOUNT, ...options, name: 'otp' }),
      ],
    })
    class AppModule {}
    const app = await NestFactory.create(AppModule, adapter, {
      logger: { log: keep, warn: keep, error: keep },
      abortOnError: false,
      routeConflictPolicy: { shadow: 'error', duplicate: 'error' },
    });
    atEnd(() => app.close());
    await app.listen(0, '127.0.0.1');
    expect(mapped.filter((line) => line.startsWith('Mapped {') && line.includes('rt-sms'))).toHaveLength(2);
    const url = await app.getUrl();
    for (const path of [PATH, '/rt-sms/otp/callback']) {
      for (const slash of ['', '/']) {
        const target = `${path}${options.callback?.secrets === undefined ? '' : `/${SECRET}`}${slash}`;
        expect([target, (await fetch(`${url}${target}?id=1&status=delivered`)).status]).toEqual([target, 200]);
      }
    }
  });

  it('leaves rejected requests to a later route of the application', async () => {
    @Controller('rt-sms')
    class PagesController {
      @Get(platform === 'express' ? '{*page}' : '*')
      page(): string {
        return 'a page';
      }
    }
    @Module({ controllers: [PagesController] })
    class PagesModule {}
    const { url, heard } = await start(platform, { at: PATH, after: [PagesModule] });
    expect(await (await fetch(`${url}/rt-sms/x`)).text()).toBe('a page');
    expect(await (await fetch(`${url}${PATH}/${SECRET}?id=1&status=delivered`)).text()).toBe('ok');
    const answer = await fetch(`${url}${PATH}/${WRONG}?id=2&status=delivered`);
    // Fastify has one route for a path; Express continues with the next one.
    expect(answer.status).toBe(platform === 'express' ? 200 : 404);
    expect(heard).toEqual(['message-id-1']);
  });
});
