import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { TerminusModule } from '@nestjs/terminus';
import { RtSmsModule, rtSmsConfig } from 'nestjs-rt-sms';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';
import { OrdersService } from './orders.service.js';

@Module({
  imports: [
    ConfigModule.forRoot(),
    EventEmitterModule.forRoot(),
    TerminusModule,
    RtSmsModule.forRootAsync(rtSmsConfig.asProvider()),
  ],
  providers: [OrdersService, RtSmsHealthIndicator],
})
export class AppModule {}
