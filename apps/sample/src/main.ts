import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { isRtSmsError } from 'nestjs-rt-sms';
import { connectCallbacks, demonstrate, startGateway } from './demo.js';
import { listening, portFrom, StartError } from './ports.js';
import { rejectOtherOrigins } from './other-origins.js';

async function start(): Promise<void> {
  // Imported first, because it reads the .env file; the account is read later, when the application is created.
  const { AppModule } = await import('./app.module.js');
  const port = portFrom('PORT', 3000);
  const address = process.env.BIND_ADDRESS?.trim() || '127.0.0.1';
  const gateway = process.env.RT_SMS_LOGIN ? undefined : await startGateway(portFrom('GATEWAY_PORT', 4010));

  const app = await NestFactory.create<NestExpressApplication>(AppModule, {
    bodyParser: false,
    // Keep-alive connections and clients of /events must not delay the shutdown.
    forceCloseConnections: true,
    abortOnError: false,
    // A failed start prints only its error, a successful one its warnings.
    bufferLogs: true,
    autoFlushLogs: false,
  });
  // Registered before all routes.
  app.use(rejectOtherOrigins([address, ...(process.env.ALLOWED_HOSTS ?? '').split(',')]));
  // Forms are not parsed: a page of another origin can send a form without permission, but not JSON.
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
    // Otherwise the shutdown would wait for the messages in flight.
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
    `  Sign in   ${url}/sign-in`,
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

/** The last lines of the output, with the addresses to open. */
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
