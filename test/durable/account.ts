import { Module, type INestApplication, type ModuleMetadata, type Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, RtSmsService, type RtSmsOptions } from 'nestjs-rt-sms';
import { bullMq, type BullMqOptions } from 'nestjs-rt-sms-bullmq';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { SECRET } from './replica.js';
import type { Service } from './services.js';

export interface Seen {
  event: string;
  id: string;
  uid?: string;
  ref?: string;
  status?: string;
  receivedAt?: Date;
}

export interface Running {
  app: INestApplication;
  sms: RtSmsService;
  url: string;
  events: Seen[];
  /** Resolves with the first event of this name, past or future. */
  heard(name: string, id?: string): Promise<Seen>;
}

export interface Setting {
  engine?: Partial<BullMqOptions>;
  options?: Partial<RtSmsOptions>;
  providers?: Provider[];
  /** Further modules, such as another account. */
  imports?: NonNullable<ModuleMetadata['imports']>;
}

/** A gateway whose statuses are set by the test. */
export async function gatewayOf(options: RtSmsSimulatorOptions = {}): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
  atEnd(() => gateway.close());
  return gateway;
}

/** Starts an application in this process, with one account on `gateway` and its queue in `store`. */
export async function run(
  gateway: RtSmsSimulator,
  store: Service['options'],
  { engine, options, providers = [], imports = [] }: Setting = {},
): Promise<Running> {
  const { login, password, url } = gateway.options;
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({
        login,
        password,
        url,
        shortcode: 'SHOP',
        callback: { secrets: SECRET },
        engine: bullMq({ ...store, ...engine }),
        ...options,
      }),
      ...imports,
    ],
    providers,
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
  atEnd(() => app.close());
  const events: Seen[] = [];
  const waiting = new Set<() => void>();
  app.get(EventEmitter2).onAny((event, payload) => {
    events.push({ ...(payload as Seen), event: String(event).replace('rt-sms.', '') });
    for (const look of waiting) look();
  });
  await app.listen(0, '127.0.0.1');
  const heard = (name: string, id?: string) =>
    new Promise<Seen>((resolve) => {
      const look = () => {
        const found = events.find((seen) => seen.event === name && (id === undefined || seen.id === id));
        if (!found) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
    });
  return { app, sms: app.get(RtSmsService), url: await app.getUrl(), events, heard };
}

export const callback = (url: string, uid: string, status: string) =>
  fetch(`${url}/rt-sms/callback/${SECRET}?id=${uid}&status=${status}`).then((answer) => answer.status);
