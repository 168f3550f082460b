import { ConfigurableModuleBuilder, Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { getRtSmsToken } from 'nestjs-rt-sms';
import { watchDelivery } from './otp.events.js';
import { resolveOtpOptions, type ResolvedOtpOptions, type RtSmsOtpOptions } from './otp.options.js';
import { RtSmsOtpService, type OtpSender } from './otp.service.js';

const OPTIONS = Symbol.for('nestjs-rt-sms-otp:options');
const RESOLVED = Symbol.for('nestjs-rt-sms-otp:resolved-options');

/** Settings that change the module graph, so they stand next to the factory of `forRootAsync`. */
export interface RtSmsOtpExtras {
  /** Name of the account that sends the codes. @default 'default' */
  account?: string;
  /** Modules that export the account, if `RtSmsModule` is not global. @default [] */
  imports?: ModuleMetadata['imports'];
  /** True to make `RtSmsOtpService` available to all modules. @default false */
  isGlobal?: boolean;
}

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<RtSmsOtpOptions>({ optionsInjectionToken: OPTIONS })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createRtSmsOtpOptions')
  .setExtras<RtSmsOtpExtras>(
    { account: 'default', imports: [], isGlobal: false },
    (definition, { account = 'default', imports = [], isGlobal = false }): DynamicModule => ({
      ...definition,
      global: isGlobal,
      imports: [...new Set([...(definition.imports ?? []), ...imports])],
      providers: [
        ...(definition.providers ?? []),
        {
          provide: RESOLVED,
          inject: [OPTIONS],
          useFactory: (options: RtSmsOtpOptions) => resolveOtpOptions(options, account),
        },
        {
          provide: RtSmsOtpService,
          inject: [RESOLVED, getRtSmsToken(account), EventEmitter2],
          useFactory: (options: ResolvedOtpOptions, sms: OtpSender, emitter: EventEmitter2) => {
            watchDelivery(emitter, account, options.store);
            return new RtSmsOtpService(options, sms);
          },
        },
      ],
      exports: [RtSmsOtpService],
    }),
  )
  .build();

/**
 * One-time codes by SMS. `forRoot(options)` or `forRootAsync({ useFactory | useClass | useExisting })`; next to them `account`,
 * `imports` and `isGlobal`. It sends through the account of an `RtSmsModule` that is global or among `imports`.
 * @throws RtSmsConfigError at the start, with every problem of the options
 */
@Module({})
export class RtSmsOtpModule extends ConfigurableModuleClass {}
