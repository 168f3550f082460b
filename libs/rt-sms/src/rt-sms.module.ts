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
import { callbackPathOf } from './callback/callback-url.js';
import { checkCallbackAtStart } from './callback/start-checks.js';
import { AccountHttp } from './gateway/account-http.js';
import { Transport } from './gateway/transport.js';
import { hideFields } from './hide-fields.js';
import { RtSmsConfigError } from './rt-sms.errors.js';
import { EXTRAS, resolveOptions, type ResolvedOptions } from './options/resolve-options.js';
import { DEFAULT_ACCOUNT, type RtSmsExtras, type RtSmsOptions } from './options/rt-sms.options.js';
import { RtSmsService } from './rt-sms.service.js';
import { getRtSmsHttpToken, getRtSmsToken } from './rt-sms.tokens.js';

const OPTIONS = Symbol.for('nestjs-rt-sms:options');
const RESOLVED = Symbol.for('nestjs-rt-sms:resolved-options');
const REGISTRATION = Symbol.for('nestjs-rt-sms:registration');
const TRANSPORT = Symbol.for('nestjs-rt-sms:transport');

/** What one `forRoot` or `forRootAsync` has claimed. */
interface Registration {
  account: string;
  /** Without slashes at its ends; `false` for none. */
  path: string | false;
  /** What the controller's decorator holds before the secret and the platform are known; see `configure`. */
  routes: string[];
}

/** `beside` are the keys of what is given beside a factory. */
function registration(extras: RtSmsExtras, beside: string[]): Registration {
  const { name: account = DEFAULT_ACCOUNT } = extras;
  const problems = beside
    .filter((key) => !EXTRAS.includes(key))
    .map(
      (key) =>
        `${key}: is none of ${EXTRAS.join(', ')}, which alone stand beside the factory; return it from the factory`,
    );
  if (typeof account !== 'string' || !/^[a-z][a-z0-9-]*$/.test(account)) {
    problems.push(`name: must be of a-z, 0-9 and "-" and begin with a letter, not '${String(account)}'`);
  }
  const given = callbackPathOf(extras);
  const path = typeof given === 'string' ? given.replace(/^\/+|\/+$/g, '') : given;
  if (
    path !== false &&
    (typeof path !== 'string' || !/^(?!\.{1,2}(\/|$))[\w.~-]+(\/(?!\.{1,2}(\/|$))[\w.~-]+)*$/.test(path))
  ) {
    problems.push(`callbackPath: must be a plain path such as 'rt-sms/callback', or false, not '${String(given)}'`);
  }
  const { callbackDecorators = [], isGlobal = false } = extras;
  if (typeof isGlobal !== 'boolean') problems.push('isGlobal: must be true or false');
  if (
    !Array.isArray(callbackDecorators) ||
    Array.from(callbackDecorators).some((decorate) => typeof decorate !== 'function')
  ) {
    problems.push('callbackDecorators: must be a list of class decorators, such as [Public()]');
  }
  if (problems.length > 0) throw new RtSmsConfigError(problems, String(account));
  return { account, path, routes: path === false ? [] : [path] };
}

const loggerOf = (account: string) => new Logger(account === DEFAULT_ACCOUNT ? 'RtSms' : `RtSms:${account}`);

const NO_EVENTS =
  'the events have nowhere to go: import EventEmitterModule.forRoot() (@nestjs/event-emitter) in the root module of the application, and leave its option "global" on';

const REQUEST_SCOPED =
  'the options: their factory depends on something that exists only during a request (REQUEST, or a provider with Scope.REQUEST), but an account is made once, at the start; inject only singletons, and register one account for each login';

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
      useFactory: (transport: Transport, options: ResolvedOptions) => new AccountHttp(transport, options.url.href),
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
      useFactory: (
        options: ResolvedOptions,
        httpService: HttpService,
        transport: Transport,
        emitter?: EventEmitter2,
        watcher?: EventEmitterReadinessWatcher,
      ) => {
        if (!emitter || !watcher) throw new RtSmsConfigError([NO_EVENTS], account);
        return new RtSmsService(options, httpService, transport, emitter, watcher.waitUntilReady(), loggerOf(account));
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
      const claimed = registration(extras, isAsync ? Object.keys(extras) : []);
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
 * once for each account; `name`, `isGlobal`, `callbackPath` and `callbackDecorators` stand beside the options.
 * @throws RtSmsConfigError at the start, with every problem of the options
 */
@Module({})
export class RtSmsModule extends ConfigurableModuleClass implements NestModule, OnModuleInit, OnApplicationBootstrap {
  // Not a plain field: a logger that is given this module would show all that Nest knows, the password too.
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
    // The container of the application holds the options as they were given.
    hideFields(this);
    // Express would shadow a second controller of one path in silence, and one of two equal tokens would win by chance.
    const all = [...modules.values()]
      .map(({ providers }) => providers.get(REGISTRATION)?.instance as Registration | undefined)
      .filter((claimed) => claimed !== undefined);
    const problems: string[] = [];
    if (all.filter(({ account }) => account === own.account).length > 1) {
      problems.push(
        'name: this account is registered twice; register it once, in the root module, and set isGlobal, or give the other one a name',
      );
    }
    // Express takes paths for one whatever their case.
    const lower = ({ path }: Registration) => (path === false ? [] : [path.toLowerCase()]);
    const paths = all.flatMap(lower);
    for (const path of lower(own)) {
      if (paths.filter((other) => other === path).length > 1) {
        problems.push(`callbackPath: '${own.path}' is that of two accounts; give each its own`);
      }
      // What follows the one would be its secret.
      if (paths.some((other) => other.startsWith(`${path}/`))) {
        problems.push(`callbackPath: that of another account lies under '${own.path}'; give it one beside it`);
      }
    }
    if (problems.length > 0) throw new RtSmsConfigError(problems, own.account);
    if (own.path !== false)
      this.others = all.flatMap(({ path }) => (path === false || path === own.path ? [] : [path]));
  }

  /**
   * The options are not injected: if they lived for one request, Nest would never create this module, and would log nothing.
   */
  private get options(): ResolvedOptions {
    try {
      return this.#module.get<ResolvedOptions>(RESOLVED);
    } catch {
      // The provider exists, so its scope is what Nest refuses.
      throw new RtSmsConfigError([REQUEST_SCOPED], this.own.account);
    }
  }

  /** Called by Nest when the platform is known, before it maps routes. */
  configure(): void {
    const { path, routes } = this.own;
    if (path === false) return;
    this.route = new CallbackRoute(path, this.options.callback.secrets.length > 0, this.others);
    routes.splice(0, 1, this.route.prepare(this.host.httpAdapter));
  }

  /** Called by Nest, in applications without HTTP as well. */
  onModuleInit(): void {
    // Refuses options that live for one request.
    void this.options;
  }

  onApplicationBootstrap(): void {
    const { httpAdapter } = this.host;
    const logger = loggerOf(this.own.account);
    for (const warning of this.options.warnings) logger.warn(warning);
    if (httpAdapter) this.route?.locate(httpAdapter);
    checkCallbackAtStart(this.options, this.route?.path, httpAdapter, logger);
  }
}
