import { randomBytes } from 'node:crypto';
import { Module, type DynamicModule } from '@nestjs/common';
import { postgresOtpStore, redisOtpStore, RtSmsOtpModule } from 'nestjs-rt-sms-otp';
import type { Store } from '../store.js';
import { SignInController } from './sign-in.controller.js';
import { UndeliveredCodes } from './undelivered.js';

/** Signing in by phone, with its challenges in the store of the queue. */
@Module({})
export class SignInModule {
  static forRoot({ queue }: Store): DynamicModule {
    const store = queue && ('connection' in queue ? redisOtpStore(queue) : postgresOtpStore(queue));
    const otp = RtSmsOtpModule.forRootAsync({
      useFactory: () => ({
        // Without the variable, codes are valid until a restart. Replicas have to share it.
        secret: process.env.OTP_SECRET || randomBytes(32),
        domain: process.env.OTP_DOMAIN || 'localhost',
        text: ({ code, minutes }) => `${code} is your code for the sample, for ${minutes} min. Do not share it.`,
        ...(store && { store }),
      }),
    });
    return { module: SignInModule, imports: [otp], controllers: [SignInController], providers: [UndeliveredCodes] };
  }
}
