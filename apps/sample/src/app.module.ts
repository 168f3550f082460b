import { Module, ValidationPipe } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ApiExcludeController } from '@nestjs/swagger';
import { TerminusModule } from '@nestjs/terminus';
import { RtSmsModule, rtSmsConfig, RtSmsValidationError, type RtSmsOptions } from 'nestjs-rt-sms';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';
import { HealthController } from './health.controller.js';
import { JournalModule } from './messages/in-memory-journal.js';
import { MessageJournal } from './messages/message-journal.js';
import { MessagesController } from './messages/messages.controller.js';
import { MessagesService } from './messages/messages.service.js';
import { StatusListener } from './messages/status.listener.js';
import { RtSmsErrorFilter } from './rt-sms-error.filter.js';

@Module({
  imports: [
    ConfigModule.forRoot({ isGlobal: true, load: [rtSmsConfig] }),
    EventEmitterModule.forRoot(),
    // With nothing to add, RtSmsModule.forRootAsync(rtSmsConfig.asProvider()) is enough.
    RtSmsModule.forRootAsync({
      imports: [JournalModule],
      callbackDecorators: [ApiExcludeController()],
      inject: [rtSmsConfig.KEY, MessageJournal],
      useFactory: (options: RtSmsOptions, journal: MessageJournal) => ({
        ...options,
        tracking: { open: () => journal.open() },
      }),
    }),
    JournalModule,
    TerminusModule,
  ],
  controllers: [MessagesController, HealthController],
  providers: [
    MessagesService,
    StatusListener,
    RtSmsHealthIndicator,
    { provide: APP_FILTER, useClass: RtSmsErrorFilter },
    {
      provide: APP_PIPE,
      useValue: new ValidationPipe({
        transform: true,
        whitelist: true,
        forbidNonWhitelisted: true,
        // A wrong message gets the same answer whoever finds it, this pipe or the service.
        exceptionFactory: (errors) =>
          new RtSmsValidationError(errors.flatMap(({ constraints }) => Object.values(constraints ?? {}))),
      }),
    },
  ],
})
export class AppModule {}
