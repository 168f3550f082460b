import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test, type TestingModule, type TestingModuleBuilder } from '@nestjs/testing';
import { RtSmsModule, RtSmsService, type RtSmsExtras, type RtSmsOptions } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { FaultServer, type FaultName, type FaultServerOptions } from './fault-server.js';

/** Too long to occur by chance, with characters that JSON, URLs and Base64 change. */
export const LOGIN = 'shop-login';
export const PASSWORD = 'p@ss "wörd" xyzzy';
export const TEXT = 'Код 5829: никому\n"не" говорите';

export type AccountOptions = Partial<RtSmsOptions & RtSmsExtras>;

/** Starts a fault server that ends with the test. */
export async function startFault(name: FaultName, options?: FaultServerOptions): Promise<FaultServer> {
  const server = await FaultServer.start(name, options);
  atEnd(() => server.close());
  return server;
}

/** Starts a real application with one account at this address. It ends with the test and does not poll. */
export async function startAccount(
  at: { url: string; ca?: string },
  options: AccountOptions = {},
  override: (builder: TestingModuleBuilder) => TestingModuleBuilder = (builder) => builder,
): Promise<{ app: TestingModule; sms: RtSmsService }> {
  const account = RtSmsModule.forRoot({
    login: LOGIN,
    password: PASSWORD,
    shortcode: 'SHOP',
    callbackPath: false,
    tracking: false,
    // A name that does not resolve is not a loopback address.
    allowHttp: true,
    url: at.url,
    ...(at.ca === undefined ? {} : { tls: { ca: at.ca } }),
    ...options,
  });
  const builder = Test.createTestingModule({ imports: [EventEmitterModule.forRoot(), account] });
  const app = await override(builder).compile();
  app.useLogger(false);
  atEnd(() => app.close());
  await app.init();
  return { app, sms: app.get(RtSmsService) };
}

/** The n-th number; all of them differ. */
export const msisdnOf = (n: number): string => String(79_270_000_000 + n);

/** Returns the rejection of a promise; a promise that resolves fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it should have failed');
}
