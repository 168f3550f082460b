import { Module, ValidationPipe } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ApiExcludeController } from '@nestjs/swagger';
import { TerminusModule } from '@nestjs/terminus';
import { RtSmsModule, rtSmsConfig, RtSmsValidationError, type RtSmsOptions } from 'nestjs-rt-sms';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';
import { BulkController } from './bulk/bulk.controller.js';
import { BulkService } from './bulk/bulk.service.js';
import { HealthController } from './health.controller.js';
import { JournalModule } from './messages/journal.module.js';
import { MessageJournal } from './messages/message-journal.js';
import { MessagesController } from './messages/messages.controller.js';
import { MessagesService } from './messages/messages.service.js';
import { StatusListener } from './messages/status.listener.js';
import { MetricsController } from './metrics.controller.js';
import { PageController } from './page.controller.js';
import { policyOf } from './policy.js';
import { RtSmsErrorFilter } from './rt-sms-error.filter.js';
import { SignInModule } from './sign-in/sign-in.module.js';
import { Store } from './store.js';

// This also reads the .env file.
const configuration = ConfigModule.forRoot({ isGlobal: true, load: [rtSmsConfig] });
const store = new Store(process.env);
const journal = await JournalModule.forRoot(store.journal);
// BullMQ and its dashboard are loaded only if a store is configured.
const durable = store.queue && {
  engine: (await import('nestjs-rt-sms-bullmq')).bullMq({ ...store.queue, role: store.role }),
  queues: (await import('./queues.module.js')).QueuesModule.forRoot(store),
};

@Module({
  imports: [
    configuration,
    EventEmitterModule.forRoot(),
    // Without further options, RtSmsModule.forRootAsync(rtSmsConfig.asProvider()) is enough.
    RtSmsModule.forRootAsync({
      isGlobal: true,
      imports: [journal],
      callbackDecorators: [ApiExcludeController()],
      inject: [rtSmsConfig.KEY, MessageJournal],
      useFactory: (options: RtSmsOptions, journal: MessageJournal) => ({
        ...options,
        policy: policyOf(options),
        tracking: { open: () => journal.open() },
        ...(durable && { engine: durable.engine }),
      }),
    }),
    journal,
    TerminusModule,
    SignInModule.forRoot(store),
    ...(durable ? [durable.queues] : []),
  ],
  controllers: [PageController, MessagesController, BulkController, HealthController, MetricsController],
  providers: [
    { provide: Store, useValue: store },
    MessagesService,
    BulkService,
    StatusListener,
    RtSmsHealthIndicator,
    { provide: APP_FILTER, useClass: RtSmsErrorFilter },
    {
      provide: APP_PIPE,
      useValue: new ValidationPipe({
        transform: true,
        whitelist: true,
        forbidNonWhitelisted: true,
        // An invalid message gets the same answer from this pipe as from the service.
        exceptionFactory: (errors) =>
          new RtSmsValidationError(errors.flatMap(({ constraints }) => Object.values(constraints ?? {}))),
      }),
    },
  ],
})
export class AppModule {}
