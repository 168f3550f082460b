import { jest } from '@jest/globals';
import { Injectable, Logger, Module, type INestApplicationContext, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from './platforms.js';

const hello = { msisdn: '79270000001', text: 'Hello' };
const later = { delayMs: 3_600_000 };
const NOT_INITIALISED = /^The application is not initialised: .* Fix: call app\.init\(\) or app\.listen\(\)/;

async function account() {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  const warnings: string[] = [];
  let warned: (() => void) | undefined;
  const warning = new Promise<void>((resolve) => (warned = resolve));
  const logger = jest.spyOn(Logger.prototype, 'warn').mockImplementation((message: unknown) => {
    if (!String(message).includes('not initialised')) return;
    warnings.push(String(message));
    warned!();
  });
  atEnd(() => logger.mockRestore());
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({ ...gateway.options, shortcode: 'SHOP', callbackPath: false }),
    ],
    exports: [RtSmsModule],
  })
  class App {}
  return { App, gateway, warnings, warning };
}

async function closing<T extends INestApplicationContext>(app: Promise<T>): Promise<T> {
  const opened = await app;
  atEnd(() => opened.close());
  return opened;
}

/** Replaces only the timer of the warning, so that Nest and the simulator continue to work. */
const withoutTime = () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'performance', 'Date'] });
  atEnd(() => void jest.useRealTimers());
};

describe('an application that is never initialised', () => {
  it.each([
    [
      'compile() without init()',
      (App: object) => Test.createTestingModule({ imports: [App as typeof Object] }).compile(),
    ],
    [
      'startAllMicroservices() alone',
      async (App: object) => (await NestFactory.create(App, { logger: false })).startAllMicroservices(),
    ],
  ])('warns once after its first message: %s', async (_, start) => {
    const { App, gateway, warnings, warning } = await account();
    const sms = (await closing<INestApplicationContext>(start(App))).get(RtSmsService);
    await sms.send(hello);
    await sms.send(hello);
    await warning;
    expect(gateway.messages).toHaveLength(2);
    await sms.send(hello);
    expect(warnings).toEqual([expect.stringMatching(NOT_INITIALISED)]);
  });

  it.each([
    ['send', (sms: RtSmsService) => sms.send(hello)],
    ['enqueue', (sms: RtSmsService) => sms.enqueue(hello, later)],
    ['enqueueMany', (sms: RtSmsService) => sms.enqueueMany([{ message: hello, ...later }])],
    ['track', (sms: RtSmsService) => sms.track('message-id-abcdefghijkl')],
    ['waitForFinal', (sms: RtSmsService) => void sms.waitForFinal('message-id-abcdefghijkl').catch(() => undefined)],
  ])('warns of %s', async (_, use) => {
    const { App, warnings } = await account();
    const sms = (await closing(Test.createTestingModule({ imports: [App] }).compile())).get(RtSmsService);
    withoutTime();
    // The send cannot settle without the timers of its deadline; the call alone is tested.
    void Promise.resolve(use(sms)).catch(() => undefined);
    await jest.advanceTimersByTimeAsync(3_000);
    expect(warnings).toHaveLength(1);
  });
});

describe('there is no warning', () => {
  it('if a module sends while the application starts', async () => {
    const { App, warnings } = await account();
    @Injectable()
    class Early implements OnModuleInit {
      constructor(private readonly sms: RtSmsService) {}
      async onModuleInit() {
        await this.sms.enqueue(hello, later);
      }
    }
    withoutTime();
    const module = await closing(Test.createTestingModule({ imports: [App], providers: [Early] }).compile());
    await module.init();
    await jest.advanceTimersByTimeAsync(60_000);
    await module.get(RtSmsService).enqueue(hello, later);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([]);
  });

  it('if it is not used, or after it has been closed', async () => {
    const { App, warnings } = await account();
    withoutTime();
    const module = await Test.createTestingModule({ imports: [App] }).compile();
    await jest.advanceTimersByTimeAsync(60_000);
    await module.get(RtSmsService).enqueue(hello, later);
    await module.close();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([]);
  });

  it('in a worker of createApplicationContext()', async () => {
    const { App, warnings } = await account();
    withoutTime();
    const app = await closing(NestFactory.createApplicationContext(App, { logger: false }));
    await app.get(RtSmsService).enqueue(hello, later);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([]);
  });
});
