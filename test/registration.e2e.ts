import { HttpService } from '@nestjs/axios';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { REQUEST } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Inject, Injectable, Module, Scope, type DynamicModule, type ModuleMetadata, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  getRtSmsHttpToken,
  getRtSmsToken,
  InjectRtSms,
  InjectRtSmsHttp,
  OnRtSmsStatus,
  RtSmsConfigError,
  RtSmsModule,
  RtSmsService,
  rtSmsConfig,
  rtSmsConfigFor,
  type RtSmsExtras,
  type RtSmsOptions,
  type RtSmsOptionsFactory,
  type RtSmsStatusEvent,
  type SmsEngineFactory,
} from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, PLATFORMS, start } from './platforms.js';

const SECRET = 'a-secret-of-sixteen';
const OTHER = 'another-secret-of-mine';
const SMS = { msisdn: '79270000001', text: 'Ваш код 1234' };
const GOOD = { login: 'shop', password: 'pass-word-of-the-shop' };

const environment = { ...process.env };
afterEach(() => {
  process.env = { ...environment };
});

async function gatewayOf(login: string): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, login, password: `${login}-password` });
  atEnd(() => gateway.close());
  return gateway;
}

/** Sets the options as environment variables, as a deployment would. */
function deploy(prefix: string, { login, password, url }: RtSmsOptions): void {
  const variables = {
    LOGIN: login,
    PASSWORD: password as string,
    URL: url,
    SHORTCODE: 'SHOP',
    CALLBACK_SECRETS: SECRET,
  };
  for (const [name, value] of Object.entries(variables)) process.env[`${prefix}_${name}`] = value;
}

/** A module of the application. */
function moduleOf(metadata: ModuleMetadata): Type {
  class OwnModule {
    readonly own = true;
  }
  Module(metadata)(OwnModule);
  return OwnModule;
}

type Register = (options: RtSmsOptions, extras: RtSmsExtras, prefix: string) => NonNullable<ModuleMetadata['imports']>;

/** A provider that has the options from elsewhere. */
const factoryOf = (options: RtSmsOptions) => {
  @Injectable()
  class SmsSettings implements RtSmsOptionsFactory {
    createRtSmsOptions(): RtSmsOptions {
      return options;
    }
  }
  return SmsSettings;
};
const namespaceOf = ({ name }: RtSmsExtras) => (name === undefined ? rtSmsConfig : rtSmsConfigFor(name));

const STYLES: [string, Register][] = [
  ['forRoot', (options, extras) => [RtSmsModule.forRoot({ ...options, ...extras })]],
  ['useFactory', (options, extras) => [RtSmsModule.forRootAsync({ useFactory: () => options, ...extras })]],
  [
    'an async useFactory',
    (options, extras) => [
      RtSmsModule.forRootAsync({
        useFactory: async () => {
          await new Promise(setImmediate);
          return options;
        },
        ...extras,
      }),
    ],
  ],
  [
    'useFactory with ConfigService',
    (options, extras, prefix) => {
      deploy(prefix, options);
      return [
        ConfigModule.forRoot({ ignoreEnvFile: true }),
        RtSmsModule.forRootAsync({
          imports: [ConfigModule],
          inject: [ConfigService],
          useFactory: (config: ConfigService) => ({
            login: config.getOrThrow<string>(`${prefix}_LOGIN`),
            password: config.getOrThrow<string>(`${prefix}_PASSWORD`),
            url: config.getOrThrow<string>(`${prefix}_URL`),
            shortcode: config.getOrThrow<string>(`${prefix}_SHORTCODE`),
            callback: { secrets: config.getOrThrow<string>(`${prefix}_CALLBACK_SECRETS`) },
          }),
          ...extras,
        }),
      ];
    },
  ],
  ['useClass', (options, extras) => [RtSmsModule.forRootAsync({ useClass: factoryOf(options), ...extras })]],
  [
    'useExisting',
    (options, extras) => {
      const SmsSettings = factoryOf(options);
      const settings = moduleOf({ providers: [SmsSettings], exports: [SmsSettings] });
      return [RtSmsModule.forRootAsync({ imports: [settings], useExisting: SmsSettings, ...extras })];
    },
  ],
  [
    'asProvider() of the configuration',
    (options, extras, prefix) => {
      deploy(prefix, options);
      return [RtSmsModule.forRootAsync({ ...namespaceOf(extras).asProvider(), ...extras })];
    },
  ],
  [
    'the KEY of the configuration',
    (options, extras, prefix) => {
      deploy(prefix, options);
      const namespace = namespaceOf(extras);
      return [
        ConfigModule.forRoot({ ignoreEnvFile: true, isGlobal: true, load: [namespace] }),
        RtSmsModule.forRootAsync({
          inject: [namespace.KEY],
          useFactory: (config: RtSmsOptions) => ({ ...config, connections: 2 }),
          ...extras,
        }),
      ];
    },
  ],
];
const ACCOUNTS: [string, RtSmsExtras, string, string][] = [
  ['the default account', {}, 'RT_SMS', '/rt-sms/callback'],
  ['a named account', { name: 'otp' }, 'RT_SMS_OTP', '/rt-sms/otp/callback'],
];

describe.each(STYLES)('registered by %s', (_, register) => {
  it.each(ACCOUNTS)('%s sends, and receives the events', async (_, extras, prefix, path) => {
    const gateway = await gatewayOf('shop');
    const account = extras.name ?? 'default';
    const heard: RtSmsStatusEvent[] = [];
    @Injectable()
    class Shop {
      constructor(
        @InjectRtSms(extras.name) readonly sms: RtSmsService,
        @InjectRtSmsHttp(extras.name) readonly http: HttpService,
      ) {}

      @OnRtSmsStatus(undefined, { account })
      on(event: RtSmsStatusEvent): void {
        heard.push(event);
      }
    }
    const options: RtSmsOptions = { ...gateway.options, shortcode: 'SHOP', callback: { secrets: SECRET } };
    const { app, url } = await start('express', {
      imports: [EventEmitterModule.forRoot(), ...register(options, extras, prefix)],
      providers: [Shop],
    });
    gateway.callTo(`${url}${path}/${SECRET}`);
    const { sms, http } = app.get(Shop);
    expect(sms).toBeInstanceOf(RtSmsService);
    expect(sms.account).toBe(account);
    expect(app.get(getRtSmsToken(extras.name))).toBe(sms);
    expect(http).toBeInstanceOf(HttpService);
    expect(app.get(getRtSmsHttpToken(extras.name))).toBe(http);

    const { uid } = await sms.send(SMS);
    expect(gateway.messages).toMatchObject([{ uid, shortcode: 'SHOP', credentials: 'header' }]);
    await gateway.report(uid, 'delivered');
    expect(heard).toMatchObject([{ account, uid, status: 'delivered', source: 'callback' }]);
  });

  it.each(ACCOUNTS)('%s with wrong options: the start stops with all of them', async (_, extras, prefix) => {
    const imports = () => [
      EventEmitterModule.forRoot(),
      ...register({ login: 'a:b', password: '', url: 'ftp://hunter:hunter@x/' }, extras, prefix),
    ];
    const error = await refusal({ imports: imports() });
    expect(error.account).toBe(extras.name ?? 'default');
    expect(error.problems.map((problem) => problem.split(':')[0])).toEqual(['login', 'password', 'url']);
    expect(error.message).not.toMatch(/hunter|a:b/);
  });
});

/** The error with which an application of these modules fails to start. */
async function refusal(metadata: ModuleMetadata): Promise<RtSmsConfigError> {
  const made = Test.createTestingModule(metadata).compile();
  const error = await made.then(
    async (module) => {
      await module.close();
      throw new Error('It was made all the same');
    },
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(RtSmsConfigError);
  return error as RtSmsConfigError;
}
const register = (options: Partial<RtSmsOptions> & RtSmsExtras = {}): DynamicModule =>
  RtSmsModule.forRoot({ ...GOOD, ...options });
const application = (...modules: DynamicModule[]) => ({ imports: [EventEmitterModule.forRoot(), ...modules] });

describe('the start fails with', () => {
  it('a factory that returns nothing, or extras', async () => {
    const nothing = await refusal(application(RtSmsModule.forRootAsync({ useFactory: () => undefined as never })));
    expect(nothing.message).toMatch(/did the factory return nothing\?/);
    for (const extra of [{ name: 'otp' }, { isGlobal: true }, { callbackPath: 'x' }, { callbackDecorators: [] }]) {
      const error = await refusal(application(RtSmsModule.forRootAsync({ useFactory: () => ({ ...GOOD, ...extra }) })));
      expect(error.problems).toEqual([expect.stringMatching(/^\w+: belongs next to the factory, in forRootAsync/)]);
    }
  });

  it('an unknown option, also next to the extras', async () => {
    const error = await refusal(application(RtSmsModule.forRoot({ ...GOOD, callbackUrl: 'x' } as RtSmsOptions)));
    expect(error.problems).toEqual(['callbackUrl: unknown option']);
    const beside = { callbackUrl: 'x', shortcode: 'SHOP', isGlobal: true };
    for (const given of [{ useFactory: () => GOOD }, { useClass: factoryOf(GOOD) }])
      expect(() => RtSmsModule.forRootAsync({ ...given, ...beside })).toThrow(
        expect.objectContaining({
          problems: ['callbackUrl', 'shortcode'].map((key) =>
            expect.stringMatching(`^${key}: must be returned by the factory; only name, .* stand next to it$`),
          ),
        }),
      );
  });

  it('the error of a factory that throws', async () => {
    const useFactory = () => {
      throw new Error('the vault is shut');
    };
    const made = Test.createTestingModule(application(RtSmsModule.forRootAsync({ useFactory }))).compile();
    await expect(made).rejects.toThrow('the vault is shut');
  });

  it('a callback without effect', async () => {
    const error = await refusal(application(register({ tracking: false })));
    expect(error.message).toMatch(/callback\.secrets: .*callbackPath: false/);
    const module = await Test.createTestingModule(
      application(register({ tracking: false, callbackPath: false })),
    ).compile();
    await module.close();
  });

  it.each([[[]], [[EventEmitterModule.forRoot({ global: false })]]])(
    'events without EventEmitterModule: %#',
    async (imports) => {
      const error = await refusal({ imports: [...imports, register({ name: 'otp' })] });
      expect(error.message).toMatch(
        /^RtSmsModule \(account 'otp'\) cannot start: .*import EventEmitterModule\.forRoot\(\) \(@nestjs\/event-emitter\) in the root module, without global: false$/,
      );
    },
  );

  it.each([
    ['the default one', {}, { callbackPath: 'other' }],
    ['a named one', { name: 'otp' }, { name: 'otp', callbackPath: 'other' }],
    ['without controllers', { callbackPath: false as const }, { callbackPath: false as const }],
  ])('an account that is registered twice: %s', async (_, first, second) => {
    const error = await refusal(application(register(first), register(second)));
    expect(error.problems).toEqual([
      expect.stringMatching(/^name: this account is registered twice; register it once/),
    ]);
  });

  it.each([
    ['hooks', 'hooks'],
    ['/hooks/', 'hooks'],
    ['rt-sms/callback', undefined],
    ['Hooks', 'hooks'],
  ])('a path that two accounts share: %s and %s', async (one, other) => {
    const error = await refusal(
      application(
        register({ name: 'otp', callbackPath: one }),
        register(other === undefined ? {} : { callbackPath: other }),
      ),
    );
    expect(error.problems).toEqual([
      expect.stringMatching(/^callbackPath: '[\w/-]+' is used by two accounts; give each/),
    ]);
  });

  it.each(['OTP', '1otp', 'o_t_p', 'o t p', '', '-otp', 'отп', '__proto__', 7, null])('the name %j', (name) => {
    expect(() => register({ name: name as string })).toThrow(RtSmsConfigError);
    expect(() => register({ name: name as string })).toThrow(/name: must consist of a-z, 0-9 and "-"/);
  });

  it.each([
    '',
    '/',
    'a//b',
    'a b',
    ':secret',
    'a/*',
    'a/(b)',
    'a?b',
    'https://x',
    true,
    7,
    null,
    ['a', 'b'],
    '.',
    'a/..',
    '../a',
    'a/./b',
  ])('the callback path %j', (callbackPath) => {
    expect(() => register({ callbackPath: callbackPath as string })).toThrow(RtSmsConfigError);
    expect(() => register({ callbackPath: callbackPath as string })).toThrow(/callbackPath: must be a plain path/);
  });
});

it.each(['true', 1, null, {}])('isGlobal: %j', (isGlobal) => {
  expect(() => register({ isGlobal: isGlobal as boolean })).toThrow(/isGlobal: must be true or false/);
});

it.each([
  ['nothing', () => undefined],
  ['a promise', async () => ({})],
  ['half of one', () => ({ enqueue: () => undefined })],
])('an invalid engine: %s', async (_, engine) => {
  const error = await refusal(application(register({ engine: engine as unknown as SmsEngineFactory })));
  expect(error.problems).toEqual([expect.stringMatching(/^engine: must return an engine/)]);
});

it.each(['Public', () => undefined, [undefined], [SECRET], Object.assign([], { length: 1 })])(
  'the decorators %j',
  (callbackDecorators) => {
    const given = callbackDecorators as unknown as ClassDecorator[];
    expect(() => register({ callbackDecorators: given })).toThrow(
      /callbackDecorators: must be a list of class decorators/,
    );
  },
);

describe('what may be injected', () => {
  it('the class stands for the default account, and only for it', async () => {
    @Injectable()
    class Shop {
      constructor(
        @Inject(RtSmsService) readonly byClass: RtSmsService,
        @InjectRtSms() readonly byDecorator: RtSmsService,
        @Inject(getRtSmsToken()) readonly byToken: RtSmsService,
        @InjectRtSms('otp') readonly otp: RtSmsService,
      ) {}
    }
    const module = await Test.createTestingModule({
      imports: [EventEmitterModule.forRoot(), register(), register({ name: 'otp' })],
      providers: [Shop],
    }).compile();
    atEnd(() => module.close());
    const { byClass, byDecorator, byToken, otp } = module.get(Shop);
    expect(byClass.account).toBe('default');
    expect(byDecorator).toBe(byClass);
    expect(byToken).toBe(byClass);
    expect(otp.account).toBe('otp');
    expect(getRtSmsToken()).toBe(getRtSmsToken('default'));
    expect(getRtSmsToken('otp')).toBe(Symbol.for('nestjs-rt-sms:service:otp'));
    expect(new Set([getRtSmsToken(), getRtSmsToken('otp'), getRtSmsHttpToken(), getRtSmsHttpToken('otp')]).size).toBe(
      4,
    );
  });

  it('an account that is not registered is named in the error', async () => {
    @Injectable()
    class Shop {
      constructor(@InjectRtSms('otp') readonly sms: RtSmsService) {}
    }
    @Injectable()
    class Other {
      constructor(@InjectRtSmsHttp('otp') readonly http: HttpService) {}
    }
    for (const [provider, token] of [
      [Shop, 'Symbol(nestjs-rt-sms:service:otp)'],
      [Other, 'Symbol(nestjs-rt-sms:http:otp)'],
    ] as const) {
      const made = Test.createTestingModule({ ...application(register()), providers: [provider] }).compile();
      await expect(made).rejects.toThrow(token);
    }
  });

  it('a missing dependency of the factory: its error does not have a random token', async () => {
    const made = Test.createTestingModule(
      application(RtSmsModule.forRootAsync({ inject: ['SETTINGS'], useFactory: (settings: RtSmsOptions) => settings })),
    ).compile();
    await expect(made).rejects.toThrow(/Symbol\(nestjs-rt-sms:options\).*"SETTINGS"/s);
  });

  describe('a factory that needs a request', () => {
    @Injectable({ scope: Scope.REQUEST })
    class Tenant {
      readonly login = 'tenant';
    }
    @Injectable({ scope: Scope.REQUEST })
    class TenantSettings implements RtSmsOptionsFactory {
      createRtSmsOptions() {
        return GOOD;
      }
    }
    @Injectable()
    class Between {
      constructor(@Inject(Tenant) readonly tenant: Tenant) {}
    }
    const tenants = moduleOf({ providers: [Tenant, Between], exports: [Tenant, Between] });
    const useFactory = () => GOOD;
    it.each([
      ['REQUEST', RtSmsModule.forRootAsync({ inject: [REQUEST], useFactory })],
      ['a provider of a request', RtSmsModule.forRootAsync({ imports: [tenants], inject: [Tenant], useFactory })],
      ['what depends on one', RtSmsModule.forRootAsync({ imports: [tenants], inject: [Between], useFactory })],
      ['a class of a request', RtSmsModule.forRootAsync({ useClass: TenantSettings })],
      ['no callback', RtSmsModule.forRootAsync({ inject: [REQUEST], useFactory, callbackPath: false })],
      ['a named account', RtSmsModule.forRootAsync({ name: 'otp', inject: [REQUEST], useFactory })],
    ])('stops the start: %s', async (what, account) => {
      const name = what === 'a named account' ? 'otp' : 'default';
      for (const platform of PLATFORMS) {
        const error = await start(platform, application(account)).catch((error: unknown) => error);
        expect(error).toBeInstanceOf(RtSmsConfigError);
        expect(error).toMatchObject({ account: name, problems: [expect.stringMatching(/^the options: .*REQUEST/)] });
      }
      // The same without HTTP.
      const context = await Test.createTestingModule(application(account)).compile();
      await expect(context.init()).rejects.toThrow('REQUEST');
    });

    it('a factory with a transient provider is accepted', async () => {
      @Injectable({ scope: Scope.TRANSIENT })
      class Fresh {
        readonly options = GOOD;
      }
      const fresh = moduleOf({ providers: [Fresh], exports: [Fresh] });
      const account = RtSmsModule.forRootAsync({
        imports: [fresh],
        inject: [Fresh],
        useFactory: ({ options }: Fresh) => options,
      });
      const { app } = await start('express', application(account));
      expect(app.get(RtSmsService)).toBeInstanceOf(RtSmsService);
    });
  });

  it('isGlobal: everywhere; otherwise only where the module is imported', async () => {
    @Injectable()
    class Shop {
      constructor(@Inject(RtSmsService) readonly sms: RtSmsService) {}
    }
    const made = (isGlobal: boolean) =>
      Test.createTestingModule({
        imports: [EventEmitterModule.forRoot(), register({ isGlobal }), moduleOf({ providers: [Shop] })],
      }).compile();
    const module = await made(true);
    atEnd(() => module.close());
    expect(module.get(Shop, { strict: false }).sms).toBeInstanceOf(RtSmsService);
    await expect(made(false)).rejects.toThrow(/RtSmsService/);
  });

  it('may be replaced in a test by its token', async () => {
    const standIn = { send: async () => ({ uid: 'message-id-1' }) };
    const module = await Test.createTestingModule(application(register()))
      .overrideProvider(getRtSmsToken())
      .useValue(standIn)
      .compile();
    atEnd(() => module.close());
    expect(module.get(RtSmsService)).toBe(standIn);
  });
});

describe.each(PLATFORMS)('two accounts side by side on %s', (platform) => {
  it('each has its own gateway, login, HttpService, options and callback', async () => {
    const [shop, otp] = [await gatewayOf('shop'), await gatewayOf('otp')];
    const { app, url } = await start(platform, {
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...shop.options, shortcode: 'SHOP', callback: { secrets: SECRET } }),
        RtSmsModule.forRootAsync({
          name: 'otp',
          callbackPath: 'hooks/otp',
          useFactory: () => ({
            ...otp.options,
            shortcode: 'OTP',
            credentials: 'body' as const,
            callback: { secrets: OTHER },
          }),
        }),
      ],
    });
    const http = app.get<HttpService>(getRtSmsHttpToken());
    const otpHttp = app.get<HttpService>(getRtSmsHttpToken('otp'));
    expect(otpHttp).not.toBe(http);
    const seen: string[] = [];
    for (const [name, { axiosRef }] of [
      ['shop', http],
      ['otp', otpHttp],
    ] as const) {
      axiosRef.interceptors.request.use((config) => {
        seen.push(`${name}: ${config.method} ${config.url}`);
        expect(JSON.stringify(config.headers)).not.toMatch(/authorization/i);
        return config;
      });
    }
    const first = await app.get(RtSmsService).send(SMS);
    const second = await app.get<RtSmsService>(getRtSmsToken('otp')).send(SMS);
    expect(seen).toEqual([`shop: post ${shop.url}`, `otp: post ${otp.url}`]);
    expect(shop.messages).toMatchObject([{ uid: first.uid, shortcode: 'SHOP', credentials: 'header' }]);
    expect(otp.messages).toMatchObject([{ uid: second.uid, shortcode: 'OTP', credentials: 'body' }]);

    const status = async (path: string) => (await fetch(`${url}${path}?id=1&status=delivered`)).status;
    expect(await status(`/rt-sms/callback/${SECRET}`)).toBe(200);
    expect(await status(`/hooks/otp/${OTHER}`)).toBe(200);
    expect(await status(`/rt-sms/otp/callback/${OTHER}`)).toBe(404);
    expect(await status(`/rt-sms/callback/${OTHER}`)).toBe(404);
    expect(await status(`/hooks/otp/${SECRET}`)).toBe(404);
  });

  it('callbackPath: false mounts nothing, for this account', async () => {
    const { url } = await start(
      platform,
      application(
        register({ callback: { secrets: SECRET }, callbackPath: false }),
        register({ name: 'otp', callback: { secrets: SECRET } }),
      ),
    );
    const status = async (path: string) => (await fetch(`${url}${path}?id=1&status=delivered`)).status;
    expect(await status(`/rt-sms/callback/${SECRET}`)).toBe(404);
    expect(await status(`/rt-sms/otp/callback/${SECRET}`)).toBe(200);
  });
});
