// All applications of hosts.ts on one platform, with the module and without it. A plain process instead of Jest: some of
// their imports cannot be loaded there. It sends their addresses, and on each message the events that each has received.
import 'reflect-metadata';
import { Module, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { getRtSmsToken, RtSmsModule, type RtSmsService } from 'nestjs-rt-sms';
import type { Platform } from '../platforms.js';
import { HOSTS, OrdersController, type Host, type HostName } from './hosts.js';

/** First message to the parent process. */
export type Addresses = Record<HostName, { url: string; blank: string }>;

const [platform, secret, otpSecret] = process.argv.slice(2) as [Platform, string, string];

async function start({ metadata, options, fastify, setUp }: Host, imports: NonNullable<ModuleMetadata['imports']>) {
  const { imports: others = [], providers = [] } = metadata?.() ?? {};
  @Module({ imports: [...others, ...imports], controllers: [OrdersController], providers })
  class AppModule {}
  const adapter = platform === 'express' ? new ExpressAdapter() : new FastifyAdapter(fastify);
  const app = await NestFactory.create(AppModule, adapter, { logger: false, ...options });
  await setUp?.(app, platform);
  await app.listen(0, '127.0.0.1');
  return { app, url: await app.getUrl() };
}

const heard: Partial<Record<HostName, string[]>> = {};
const addresses: Partial<Addresses> = {};
for (const [name, host] of Object.entries(HOSTS) as [HostName, Host][]) {
  // Nothing is sent, so nothing is polled.
  const account = { login: 'shop', password: 'p', url: 'http://127.0.0.1:9/api/v2/send_message', ...host.sms };
  const { app, url } = await start(host, [
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({ ...account, callback: { ...account.callback, secrets: secret } }),
    RtSmsModule.forRoot({ ...account, name: 'otp', callback: { ...account.callback, secrets: otpSecret } }),
  ]);
  const ids: string[] = (heard[name] = []);
  for (const account of [undefined, 'otp']) {
    app.get<RtSmsService>(getRtSmsToken(account)).statuses$.subscribe(({ id }) => ids.push(id));
  }
  addresses[name] = { url, blank: (await start(host, [])).url };
}
process.on('message', (name: HostName) => process.send!(heard[name]));
process.once('disconnect', () => process.exit());
process.send!(addresses);
