import 'reflect-metadata';
import { existsSync } from 'node:fs';
import type { HttpService } from '@nestjs/axios';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import {
  getRtSmsHttpToken,
  getRtSmsToken,
  RtSmsConfigError,
  RtSmsModule,
  rtSmsConfig,
  rtSmsConfigFor,
  type RtSmsOptions,
  type RtSmsService,
} from 'nestjs-rt-sms';
import { UsageError } from './answer.js';
import type { Flags } from './command-line.js';

/** The account of the environment, as an application has it. */
export interface Account {
  /** Of `--account`. */
  readonly name: string | undefined;
  readonly options: RtSmsOptions;
  readonly sms: RtSmsService;
  readonly http: HttpService;
}

/**
 * Runs `work` with the account that flags and environment describe. It is the module itself, so deadlines, rate and "never
 * twice" are those of an application. Callbacks do not arrive here: `tracking` polls.
 * @throws UsageError that names the variables that are missing or wrong
 */
export async function withAccount<T>(
  flags: Flags,
  tracking: NonNullable<RtSmsOptions['tracking']>,
  work: (account: Account) => Promise<T>,
): Promise<T> {
  const { account: name, shortcode } = flags;
  const read = await (name === undefined ? rtSmsConfig : rtSmsConfigFor(name))();
  const options: RtSmsOptions = { ...read, ...(shortcode === undefined ? {} : { shortcode }), tracking };
  const extras = { callbackPath: false as const, ...(name === undefined ? {} : { name }) };
  // By the name of the variable, where the option was read from one.
  const inEnvironment = (problem: string) => problem.replace(/^[\w.]+: (RT_SMS_\w+) /, '$1: ');
  const module = RtSmsModule.forRootAsync({ useFactory: () => options, ...extras });
  const app = await NestFactory.createApplicationContext(
    { ...module, imports: [EventEmitterModule.forRoot(), ...(module.imports ?? [])] },
    { logger: false, abortOnError: false },
  ).catch((error: unknown) => {
    if (!(error instanceof RtSmsConfigError)) throw error;
    const hint = 'The .env file of this folder is not read by itself: add --env .env';
    const hints = flags.env === undefined && existsSync('.env') ? [hint] : [];
    throw new UsageError([['The account:', ...error.problems.map(inEnvironment)].join('\n  '), ...hints].join('\n'));
  });
  try {
    return await work({ name, options, sms: app.get(getRtSmsToken(name)), http: app.get(getRtSmsHttpToken(name)) });
  } finally {
    await app.close();
  }
}

/** The variable that an option is read from: `callback.secrets` from `RT_SMS_CALLBACK_SECRETS`. */
export function variableOf(option: string, account?: string): string {
  const words = option.replace(/^timeouts\.(\w+)Ms$/, '$1TimeoutMs').replace(/\.?(?=[A-Z])|\./g, '_');
  return ['RT_SMS', account?.replaceAll('-', '_'), words].filter(Boolean).join('_').toUpperCase();
}

/** `7927*****01`; of fewer than 10 digits, none is shown. */
export function mask(msisdn: string): string {
  const shown = msisdn.length < 10 ? 0 : 2;
  return msisdn.replace(/\d/g, (digit, at: number) => (at < 2 * shown || at >= msisdn.length - shown ? digit : '*'));
}
