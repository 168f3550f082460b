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

/** The account that the flags and the environment describe. */
export interface Account {
  /** Value of `--account`. */
  readonly name: string | undefined;
  readonly options: RtSmsOptions;
  readonly sms: RtSmsService;
  readonly http: HttpService;
}

/**
 * Runs `work` with the account that flags and environment describe. It starts the module itself, so deadlines, rate and
 * protection against double sends are the same as in an application. Callbacks do not arrive here: `tracking` polls.
 * @throws UsageError that names the missing or invalid variables
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
  // Names the variable instead of the option, if the option was read from one.
  const inEnvironment = (problem: string) => problem.replace(/^[\w.]+: (RT_SMS_\w+):? /, '$1: ');
  const module = RtSmsModule.forRootAsync({ useFactory: () => options, ...extras });
  const app = await NestFactory.createApplicationContext(
    { ...module, imports: [EventEmitterModule.forRoot(), ...(module.imports ?? [])] },
    { logger: false, abortOnError: false },
  ).catch((error: unknown) => {
    if (!(error instanceof RtSmsConfigError)) throw error;
    const hint = 'The .env file of this folder is not read automatically: add --env .env';
    const hints = flags.env === undefined && existsSync('.env') ? [hint] : [];
    throw new UsageError([['The account:', ...error.problems.map(inEnvironment)].join('\n  '), ...hints].join('\n'));
  });
  try {
    return await work({ name, options, sms: app.get(getRtSmsToken(name)), http: app.get(getRtSmsHttpToken(name)) });
  } finally {
    await app.close();
  }
}

/** Name of the variable of an option: `RT_SMS_CALLBACK_SECRETS` for `callback.secrets`. */
export function variableOf(option: string, account?: string): string {
  const words = option
    .replace(/^policy\./, '')
    .replace(/^timeouts\.(\w+)Ms$/, '$1TimeoutMs')
    .replace(/\.?(?=[A-Z])|\./g, '_');
  return ['RT_SMS', account?.replaceAll('-', '_'), words].filter(Boolean).join('_').toUpperCase();
}
