// Sends one message with the options of its argument, and prints the result as JSON on one line. With the argument `plainly`
// it sends a request to the same address by Node itself.
import 'reflect-metadata';
import https from 'node:https';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, RtSmsService, type RtSmsError, type RtSmsOptions } from 'nestjs-rt-sms';

const [json = '{}', how] = process.argv.slice(2);
const options = JSON.parse(json) as RtSmsOptions;

async function plainly(): Promise<object> {
  return new Promise((resolve) => {
    https
      .get(options.url!, ({ statusCode }) => resolve({ statusCode }))
      .on('error', ({ message }) => resolve({ message }));
  });
}

async function send(): Promise<object> {
  const account = RtSmsModule.forRoot({ ...options, callbackPath: false, tracking: false });
  const app = await NestFactory.createApplicationContext(
    { ...account, imports: [EventEmitterModule.forRoot()] },
    { logger: false },
  );
  const { name, outcome, message, uid } = await app
    .get(RtSmsService)
    .send({ msisdn: '79270000001', text: 'Код 5829' })
    .then(
      (sent): Partial<RtSmsError & { uid: string }> => sent,
      (error: RtSmsError): Partial<RtSmsError & { uid: string }> => error,
    );
  await app.close();
  return { name, outcome, message, uid };
}

process.stdout.write(`${JSON.stringify(how === 'plainly' ? await plainly() : await send())}\n`);
// A kept-alive connection would keep the process running.
process.exit();
