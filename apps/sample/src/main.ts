import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { isRtSmsError } from 'nestjs-rt-sms';
import { connectCallbacks, demonstrate, startGateway } from './demo.js';
import { listening, portFrom, StartError } from './ports.js';
import { keepStrangersOut } from './strangers.js';

async function start(): Promise<void> {
  // First of all, for it reads the .env file; the account is read when the application is created, below.
  const { AppModule } = await import('./app.module.js');
  const port = portFrom('PORT', 3000);
  const address = process.env.BIND_ADDRESS?.trim() || '127.0.0.1';
  const gateway = process.env.RT_SMS_LOGIN ? undefined : await startGateway(portFrom('GATEWAY_PORT', 4010));

  const app = await NestFactory.create<NestExpressApplication>(AppModule, {
    bodyParser: false,
    // Neither keep-alive connections nor clients of /events delay the end.
    forceCloseConnections: true,
    abortOnError: false,
    // Of a start that fails one line is shown, of one that succeeds the warnings.
    bufferLogs: true,
    autoFlushLogs: false,
  });
  // Before all that is served.
  app.use(keepStrangersOut([address, ...(process.env.ALLOWED_HOSTS ?? '').split(',')]));
  // A form is what a foreign page can send unasked, JSON is not.
  app.useBodyParser('json');
  const docs = new DocumentBuilder().setTitle('nestjs-rt-sms sample').build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, docs));
  app.enableShutdownHooks(['SIGINT', 'SIGTERM'], { useProcessExit: true });
  await listening('PORT', port, () => app.listen(port, address), address);
  app.useLogger(['fatal', 'error', 'warn']);
  app.flushLogs();
  app.useLogger(['fatal', 'error', 'warn', 'log']);

  const url = await app.getUrl();
  process.stdout.write(introduction(url, gateway !== undefined));
  if (gateway) {
    // Else the messages on their way would be waited for.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void gateway.close());
    await connectCallbacks(gateway, app);
    await demonstrate(app);
  }
  process.stdout.write(invitation(url, gateway?.inboxUrl));
}

function introduction(url: string, simulated: boolean): string {
  return [
    simulated
      ? 'RT_SMS_LOGIN is not set: the gateway is simulated in this process, no SMS leaves it.'
      : 'RT_SMS_LOGIN is set: messages go out through its account, and are paid for.',
    '',
    `  Messages  ${url}/messages`,
    `  Events    ${url}/events`,
    `  Docs      ${url}/docs`,
    `  Health    ${url}/health`,
    `  Metrics   ${url}/metrics`,
    `  Gateway   ${process.env.RT_SMS_URL || "the provider's"}`,
    '',
    'Send one:',
    `  curl ${url}/messages -H 'content-type: application/json' -d '{"msisdn":"+79270000001","text":"Hello"}'`,
    '',
    ...(simulated ? ['This is one, from here to its delivery:'] : []),
    '',
  ].join('\n');
}

/** The last words, with what a person wants to open. */
function invitation(url: string, inbox: string | undefined): string {
  return [
    '',
    `Open ${inbox === undefined ? 'it' : 'the two side by side'} (Ctrl-C ends the sample):`,
    '',
    `  Sample  ${url}/`,
    ...(inbox === undefined ? [] : [`  Inbox   ${inbox}`]),
    '',
    '',
  ].join('\n');
}

try {
  await start();
} catch (error) {
  if (!(error instanceof StartError) && !isRtSmsError(error)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
