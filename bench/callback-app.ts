// One way to receive a callback, in a separate process, started by callback.ts with the platform, the way and the secret.
// It sends its address, and its CPU time for each message that it gets.
import 'reflect-metadata';
import { Controller, Get, Inject, Module, Query, ValidationPipe, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule, OnEvent } from '@nestjs/event-emitter';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { IsIn, IsNumberString, IsOptional, IsString, Length } from 'class-validator';
import { RtSmsModule } from 'nestjs-rt-sms';

export type Way = 'module' | 'bare' | 'dto';
const [platform, way, secret] = process.argv.slice(2) as [string, Way, string];

/** Listens to both events, as an application does. */
class Listener {
  static received = 0;
  @OnEvent('rt-sms.status')
  @OnEvent('rt-sms.status.delivered')
  on(): void {
    Listener.received++;
  }
}

class CallbackQuery {
  @IsString() @Length(1, 140) id!: string;
  @IsIn(['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'rejected']) status!: string;
  @IsOptional() @IsNumberString() parts?: string;
  @IsOptional() @IsString() err?: string;
}

@Controller('rt-sms/callback')
class BareController {
  @Get(secret)
  receive(): string {
    return 'ok';
  }
}

@Controller('rt-sms/callback')
class DtoController {
  constructor(@Inject(EventEmitter2) private readonly emitter: EventEmitter2) {}

  @Get(secret)
  receive(@Query() query: CallbackQuery): string {
    this.emitter.emit('rt-sms.status', query);
    this.emitter.emit(`rt-sms.status.${query.status}`, query);
    return 'ok';
  }
}

const events = EventEmitterModule.forRoot();
const METADATA: Record<Way, ModuleMetadata> = {
  module: {
    imports: [events, RtSmsModule.forRoot({ login: 'shop', password: 'p', callback: { secrets: secret } })],
    providers: [Listener],
  },
  bare: { controllers: [BareController] },
  dto: { imports: [events], controllers: [DtoController], providers: [Listener] },
};

@Module(METADATA[way])
class AppModule {}
const adapter = platform === 'express' ? new ExpressAdapter() : new FastifyAdapter();
const app = await NestFactory.create(AppModule, adapter, { logger: ['error'] });
if (way === 'dto') app.useGlobalPipes(new ValidationPipe({ whitelist: true, transform: true }));
await app.listen(0, '127.0.0.1');
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send!({ cpuMicros: user + system, received: Listener.received });
});
process.once('disconnect', () => process.exit());
process.send!(await app.getUrl());
