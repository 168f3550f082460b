import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, rtSmsConfig, RtSmsService } from 'nestjs-rt-sms';
import { OrdersService } from './orders.service.js';

@Module({
  imports: [ConfigModule.forRoot(), EventEmitterModule.forRoot(), RtSmsModule.forRootAsync(rtSmsConfig.asProvider())],
  providers: [OrdersService],
})
class BundledModule {}

/** The application in one file: it sends a message and waits until the gateway reports the delivery. */
export async function main(): Promise<void> {
  const app = await NestFactory.create(BundledModule, { logger: ['error', 'warn'] });
  await app.listen(0, '127.0.0.1');
  const orders = app.get(OrdersService);
  const uid = await orders.shipped('8 927 000-00-01', '42');
  await app.get(RtSmsService).waitForFinal(uid);
  await app.close();
  console.log(orders.delivered.join());
}
