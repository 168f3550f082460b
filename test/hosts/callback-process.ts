// An application on one platform that receives callbacks: node --import ./test/child/ts.mjs <this> <platform> <secret>.
// It sends its address, and on each message what it has emitted and logged since the last one.
import 'reflect-metadata';
import { Module, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { getRtSmsToken, OnRtSmsStatus, RtSmsModule, type RtSmsService, type RtSmsStatusEvent } from 'nestjs-rt-sms';

export type Emitted = Pick<RtSmsStatusEvent, 'uid' | 'status' | 'gatewayStatus' | 'parts' | 'errorCode' | 'confirmed'>;
export interface Told {
  emitted: Emitted[];
  /** All messages to Nest's logger, at all levels. */
  logged: string[];
  /** Lines of their stack traces. */
  frames: string[];
}

const [platform, secrets = ''] = process.argv.slice(2);
let told: Told = { emitted: [], logged: [], frames: [] };

const log = (message: unknown) => void told.logged.push(String(message));
const error = (message: unknown, stack?: string) => {
  log(message);
  if (stack !== undefined) told.frames.push(...stack.split('\n'));
};
const logger: LoggerService = { log, error, warn: log, debug: log, verbose: log, fatal: log };

class Listener {
  @OnRtSmsStatus()
  on({ uid, status, gatewayStatus, parts, errorCode, confirmed }: RtSmsStatusEvent): void {
    told.emitted.push({
      uid,
      status,
      gatewayStatus,
      confirmed,
      ...(parts === undefined ? {} : { parts }),
      ...(errorCode === undefined ? {} : { errorCode }),
    });
    // Its failure is logged with the id of the event, which contains data from the callback.
    if (status === 'unknown') throw new Error('a handler that fails');
  }
}

const account = { login: 'shop', password: 'p', url: 'http://127.0.0.1:9/api/v2/send_message' };
@Module({
  imports: [
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({ ...account, callback: { secrets } }),
    RtSmsModule.forRoot({ ...account, name: 'open' }),
  ],
  providers: [Listener],
})
class AppModule {}

const app = await NestFactory.create(AppModule, platform === 'express' ? new ExpressAdapter() : new FastifyAdapter(), {
  logger,
});
await app.listen(0, '127.0.0.1');
// Both accounts exist, so that a mistake of one can show at the other.
app.get<RtSmsService>(getRtSmsToken('open'));
process.on('message', () => {
  process.send!(told);
  told = { emitted: [], logged: [], frames: [] };
});
process.once('disconnect', () => process.exit());
process.send!(await app.getUrl());
