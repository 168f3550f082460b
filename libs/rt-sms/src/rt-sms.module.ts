import {
  ConfigurableModuleBuilder,
  Inject,
  Logger,
  Module,
  type DynamicModule,
  type NestModule,
  type OnApplicationBootstrap,
  type OnModuleInit,
  type Provider,
} from '@nestjs/common';
import { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { EventEmitter2, EventEmitterReadinessWatcher } from '@nestjs/event-emitter';
import type { HttpService } from '@nestjs/axios';
import { callbackController } from './callback/callback.controller.js';
import { CallbackRoute } from './callback/callback-route.js';
import { checkCallbackAtStart } from './callback/startup-checks.js';
import { AccountHttp } from './gateway/account-http.js';
import { Transport } from './gateway/transport.js';
import { hideFields } from './hide-fields.js';
import { RtSmsConfigError } from './rt-sms.errors.js';
import { resolveOptions, type ResolvedOptions } from './options/resolve-options.js';
import { DEFAULT_ACCOUNT, type RtSmsExtras, type RtSmsOptions } from './options/rt-sms.options.js';
import { describePolicy } from './policy/describe-policy.js';
import { RtSmsAccount } from './rt-sms.account.js';
import { conflicts, readRegistration, type Registration } from './rt-sms.registration.js';
import { RtSmsService } from './rt-sms.service.js';
import { getRtSmsHttpToken, getRtSmsToken } from './rt-sms.tokens.js';

const OPTIONS = Symbol.for('nestjs-rt-sms:options');
const RESOLVED = Symbol.for('nestjs-rt-sms:resolved-options');
const REGISTRATION = Symbol.for('nestjs-rt-sms:registration');
const TRANSPORT = Symbol.for('nestjs-rt-sms:transport');

const loggerOf = (account: string) => new Logger(account === DEFAULT_ACCOUNT ? 'RtSms' : `RtSms:${account}`);

const NO_EVENTS =
  'EventEmitterModule is not registered globally: import EventEmitterModule.forRoot() (@nestjs/event-emitter) in the root module, without global: false';

const REQUEST_SCOPED =
  'the options: their factory depends on a request-scoped provider (REQUEST or Scope.REQUEST), but an account is created once, at the start; inject only singletons, and register one account for each login';

function provide(registration: Registration): Provider[] {
  const { account, path } = registration;
  const token = getRtSmsToken(account);
  const http = getRtSmsHttpToken(account);
  return [
    { provide: REGISTRATION, useValue: registration },
    {
      provide: RESOLVED,
      inject: [OPTIONS],
      useFactory: (options: RtSmsOptions) => resolveOptions(options, account, path !== false),
    },
    {
      provide: TRANSPORT,
      inject: [RESOLVED],
      useFactory: ({ timeouts, ...options }: ResolvedOptions) =>
        new Transport({ ...options, connectMs: timeouts.connectMs }),
    },
    {
      provide: http,
      inject: [TRANSPORT, RESOLVED],
      useFactory: (transport: Transport, options: ResolvedOptions) => new AccountHttp(transport, options.url),
    },
    {
      provide: token,
      inject: [
        RESOLVED,
        http,
        TRANSPORT,
        { token: EventEmitter2, optional: true },
        { token: EventEmitterReadinessWatcher, optional: true },
      ],
      useFactory: async (
        options: ResolvedOptions,
        httpService: HttpService,
        transport: Transport,
        emitter?: EventEmitter2,
        watcher?: EventEmitterReadinessWatcher,
      ) => {
        if (!emitter || !watcher) throw new RtSmsConfigError([NO_EVENTS], account);
        const logger = loggerOf(account);
        // Here and not with the transport: a test that replaces the service does not read the password.
        await transport.password.open(logger);
        const ready = watcher.waitUntilReady();
        return new RtSmsService(new RtSmsAccount(options, httpService, transport, emitter, ready, logger));
      },
    },
    ...(account === DEFAULT_ACCOUNT ? [{ provide: RtSmsService, useExisting: token }] : []),
  ];
}

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<RtSmsOptions>({ optionsInjectionToken: OPTIONS })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createRtSmsOptions')
  .setExtras<RtSmsExtras>(
    { name: undefined, isGlobal: false, callbackPath: undefined, callbackDecorators: [] } as unknown as RtSmsExtras,
    (definition, extras): DynamicModule => {
      const isAsync = definition.providers?.some((provider) => 'useFactory' in provider);
      const claimed = readRegistration(extras, isAsync ? Object.keys(extras) : []);
      const tokens = [getRtSmsToken(claimed.account), getRtSmsHttpToken(claimed.account)];
      return {
        ...definition,
        global: extras.isGlobal ?? false,
        controllers:
          claimed.path === false
            ? []
            : [callbackController(claimed.account, claimed.routes, extras.callbackDecorators ?? [])],
        providers: [...(definition.providers ?? []), ...provide(claimed)],
        exports: claimed.account === DEFAULT_ACCOUNT ? [...tokens, RtSmsService] : tokens,
      };
    },
  )
  .build();

/**
 * SMS through Rostelecom's "Бизнес-информирование". `forRoot(options)` or `forRootAsync({ useFactory | useClass | useExisting })`,
 * once for each account; you can also pass `name` (an additional account), `isGlobal`, `callbackPath` and `callbackDecorators`.
 * @throws RtSmsConfigError at the start, with every problem of the options
 */
@Module({})
export class RtSmsModule extends ConfigurableModuleClass implements NestModule, OnModuleInit, OnApplicationBootstrap {
  // A private name, because a logger that receives this module would otherwise print Nest's container with the password.
  readonly #module: ModuleRef;
  private route: CallbackRoute | undefined;
  /** Callback paths of the application's other accounts. */
  private others: readonly string[] = [];

  constructor(
    @Inject(ModulesContainer) modules: ModulesContainer,
    @Inject(REGISTRATION) private readonly own: Registration,
    @Inject(ModuleRef) module: ModuleRef,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {
    super();
    this.#module = module;
    // The application's container holds the raw options.
    hideFields(this);
    // Nest would accept both: Express hides the second controller of a path, and one of two equal tokens wins by chance.
    const all = [...modules.values()]
      .map(({ providers }) => providers.get(REGISTRATION)?.instance as Registration | undefined)
      .filter((registration) => registration !== undefined);
    const problems = conflicts(own, all);
    if (problems.length > 0) throw new RtSmsConfigError(problems, own.account);
    if (own.path !== false)
      this.others = all.flatMap(({ path }) => (path === false || path === own.path ? [] : [path]));
  }

  /** Not injected: with request-scoped options Nest would never create this module, and would log nothing. */
  private get options(): ResolvedOptions {
    try {
      return this.#module.get<ResolvedOptions>(RESOLVED);
    } catch {
      // The provider exists, so Nest rejects its scope.
      throw new RtSmsConfigError([REQUEST_SCOPED], this.own.account);
    }
  }

  /** Called by Nest once the platform is known, before it maps routes. */
  configure(): void {
    const { path, routes } = this.own;
    if (path === false) return;
    this.route = new CallbackRoute(path, this.options.callback.secrets.length > 0, this.others);
    routes.splice(0, 1, this.route.prepare(this.host.httpAdapter));
  }

  /** Called by Nest, in applications without HTTP as well. */
  onModuleInit(): void {
    // Throws for request-scoped options.
    void this.options;
  }

  onApplicationBootstrap(): void {
    const { httpAdapter } = this.host;
    const logger = loggerOf(this.own.account);
    for (const warning of this.options.warnings) logger.warn(warning);
    const policy = describePolicy(this.options.policy);
    // A system that reaches only its team must be noticed, in particular where it should reach everyone.
    if (policy.length > 0) logger[this.options.policy?.onlyTo ? 'warn' : 'log'](`Send policy: ${policy.join('; ')}`);
    if (httpAdapter) this.route?.locate(httpAdapter);
    checkCallbackAtStart(this.options, this.route?.path, httpAdapter, logger);
  }
}
