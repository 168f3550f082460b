// The main job with @nestjs/observe, as `nest new` sets it up, and a test collector in place of its vendor's.
import 'reflect-metadata';
import { deepStrictEqual, strictEqual } from 'node:assert';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { Controller, Get, Module } from '@nestjs/common';
import { createObserveModule } from '@nestjs/observe';
import { AppModule } from './app.module.js';
import { EXPECTED, mainJob, SECRET } from './main-job.js';

type Ignore = { ignore: RegExp[] };
/** The setting that docs/going-live.md shows. */
const DOCUMENTED: Ignore = { ignore: [/\/rt-sms\//] };

@Controller('a-marker')
class MarkerController {
  @Get()
  marker(): string {
    return 'ok';
  }
}

/** Runs the main job, and returns everything that the collector has received until then. */
async function reported(platform: 'express' | 'fastify', http: Ignore | undefined): Promise<string> {
  let text = '';
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      text += request.headers['content-encoding'] === 'gzip' ? gunzipSync(body).toString() : body.toString();
      response.end('{}');
      collector.emit('told');
    });
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const { ObserveModule, ObserveInstrument } = createObserveModule();
  @Module({
    imports: [
      AppModule,
      ObserveModule.forRoot({
        appKey: 'key',
        appSecret: 'secret',
        serviceId: 'shop',
        endpoint,
        flushInterval: 1_000,
        ...(http && { http }),
      }),
    ],
    controllers: [MarkerController],
  })
  class ObservedModule {}
  const done = await mainJob(platform, ObservedModule, { instrument: ObserveInstrument }, async (url) => {
    // The marker is reported after the callback, because it was requested later.
    await fetch(`${url}/a-marker`);
    while (!text.includes('/a-marker')) await once(collector, 'told');
  });
  deepStrictEqual(done, EXPECTED);
  collector.closeAllConnections();
  collector.close();
  return text;
}

async function main(): Promise<void> {
  for (const platform of ['express', 'fastify'] as const) {
    strictEqual((await reported(platform, undefined)).includes(SECRET), true, 'it reports the secret no more');
    strictEqual((await reported(platform, DOCUMENTED)).includes(SECRET), false, 'it reports the secret all the same');
  }
}

void main();
