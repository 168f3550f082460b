// A replica with one-time codes in a separate process. Its argument has the settings. It counts the codes that it compares.
import 'reflect-metadata';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule } from 'nestjs-rt-sms';
import type { OtpVerification } from 'nestjs-rt-sms-otp';

export interface OtpSetting {
  gateway: { login: string; password: string; url: string };
  secret: string;
  store: { connection: string } | { postgres: string };
}
export type OtpCommand = { verify: { challengeId: string; codes: string[] } } | { start: string[] };
export type OtpAnswer = { ready: true } | { results: OtpVerification[]; compared: number };

// Replaced before the package is loaded: the only function that compares.
const crypto = createRequire(import.meta.url)('node:crypto') as { timingSafeEqual: (...all: unknown[]) => boolean };
const { timingSafeEqual } = crypto;
let compared = 0;
crypto.timingSafeEqual = (...all) => {
  compared++;
  return timingSafeEqual(...all);
};
syncBuiltinESMExports();
const { RtSmsOtpModule, RtSmsOtpService, postgresOtpStore, redisOtpStore } = await import('nestjs-rt-sms-otp');

const { gateway, store, secret } = JSON.parse(process.argv[2]!) as OtpSetting;
const tell = (answer: OtpAnswer) => void process.send!(answer);

@Module({
  imports: [
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({ ...gateway, shortcode: 'SHOP', isGlobal: true, connections: 50, callbackPath: false }),
    RtSmsOtpModule.forRoot({
      secret,
      text: ({ code }) => `Code ${code}`,
      store: 'connection' in store ? redisOtpStore(store) : postgresOtpStore(store),
    }),
  ],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'], abortOnError: false });
const otp = app.get(RtSmsOtpService);
const purpose = 'login';

process.once('disconnect', () => process.exit());
process.on('message', (command: OtpCommand) => {
  if ('start' in command) {
    for (const msisdn of command.start) void otp.start(msisdn, { purpose });
    return;
  }
  const { challengeId, codes } = command.verify;
  compared = 0;
  void Promise.all(codes.map((code) => otp.verify(challengeId, code, { purpose }))).then((results) =>
    tell({ results, compared }),
  );
});
tell({ ready: true });
