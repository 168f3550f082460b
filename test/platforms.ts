import { Test, type TestingModuleBuilder } from '@nestjs/testing';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { INestApplication, ModuleMetadata } from '@nestjs/common';

/** Both platforms; each HTTP spec runs on both. */
export const PLATFORMS = ['express', 'fastify'] as const;
export type Platform = (typeof PLATFORMS)[number];

const endings: (() => unknown)[] = [];

/** Runs `end` after the test, passed or failed, in reverse order, so that a failed test does not block the run. */
export function atEnd(end: () => unknown): void {
  endings.push(end);
}

afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

export interface Running {
  app: INestApplication;
  /** Its address, on a free port of the loopback interface. */
  url: string;
}

/** Starts an application of these modules on the platform; `setUp` runs before it listens. */
export async function start(
  platform: Platform,
  metadata: ModuleMetadata,
  setUp: (app: INestApplication) => void | Promise<void> = () => undefined,
  override: (builder: TestingModuleBuilder) => TestingModuleBuilder = (builder) => builder,
): Promise<Running> {
  const module = await override(Test.createTestingModule(metadata)).compile();
  const app =
    platform === 'express'
      ? module.createNestApplication<NestExpressApplication>(new ExpressAdapter(), { logger: false })
      : module.createNestApplication<NestFastifyApplication>(new FastifyAdapter(), { logger: false });
  await setUp(app);
  atEnd(() => app.close());
  await app.listen(0, '127.0.0.1');
  return { app, url: await app.getUrl() };
}
