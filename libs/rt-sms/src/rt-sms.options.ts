import {
  ValidateBy,
  ValidateNested,
  validateSync,
  type ValidationArguments,
  type ValidationError,
} from 'class-validator';
import ipaddr from 'ipaddr.js';
import { isIP } from 'node:net';
import { inspect } from 'node:util';
import { defined } from './defined.js';
import type { SmsEngineFactory } from './delivery/engine.js';
import { RtSmsConfigError } from './rt-sms.errors.js';

/** The name of the account that is registered without one. */
export const DEFAULT_ACCOUNT = 'default';
/** The provider's address (§1.3). */
export const DEFAULT_URL = 'https://sms.rt.ru/api/v2/send_message';
/** The longest that a timer of Node's can take. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
const DAY_MS = 24 * 3_600_000;

export const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Checks a property; the message says what is accepted and, unless it may be a secret, what was given. */
const Is = (accepted: string, test: (value: unknown, options: object) => boolean, { required = false } = {}) =>
  ValidateBy({
    name: 'is',
    validator: {
      validate: (value, args) => (value === undefined && !required) || test(value, args!.object),
      defaultMessage: (args) =>
        args!.value === undefined
          ? `is missing; it must be ${accepted}`
          : `must be ${accepted}, not ${describe(args!)}`,
    },
  });
const REQUIRED = { required: true };
const Nested =
  (accepted = 'an object', test: (value: unknown) => boolean = isObject): PropertyDecorator =>
  (target, property) => {
    Is(accepted, test)(target, property);
    ValidateNested()(target, property);
  };

const CONFIDENTIAL = new Set(['login', 'password', 'secrets', 'proxy', 'url', 'ca', 'cert', 'key', 'passphrase']);
function describe({ property, value }: ValidationArguments): string {
  if (value === '') return 'empty';
  if (value === null) return 'null';
  if (CONFIDENTIAL.has(property)) return 'what was given';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  // A secret in the wrong place (`callback: secret`, `credentials: 'login:password'`) is longer, or has other characters.
  if (typeof value === 'string') return /^[\w ./-]{1,15}$/.test(value) ? `'${value}'` : 'what was given';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'this array';
  return `this ${typeof value}`;
}

const whole = (min: number, max: number) =>
  [
    `a whole number from ${min} to ${max}`,
    (value: unknown) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
  ] as const;
const isTimerMs = whole(1, MAX_TIMER_MS)[1];
const timerMs = [`a number of milliseconds from 1 to ${MAX_TIMER_MS}`, isTimerMs] as const;
const anyMs = [
  'a number of milliseconds, 1 or more',
  (value: unknown) => Number.isFinite(value) && (value as number) >= 1,
] as const;
const oneOf = (...values: string[]) =>
  [values.map((value) => `'${value}'`).join(' or '), (value: unknown) => values.includes(value as string)] as const;
const arrayOf =
  (test: (item: unknown) => boolean, min = 0) =>
  (value: unknown) =>
    Array.isArray(value) && value.length >= min && value.every(test);
const text = (value: unknown): value is string => typeof value === 'string' && value !== '' && !/\p{Cc}/u.test(value);
const pem = (value: unknown) => (typeof value === 'string' && value !== '') || Buffer.isBuffer(value);

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
function isGatewayUrl(value: unknown, allowHttp: unknown): boolean {
  if (typeof value !== 'string' || /[?#]/.test(value) || !URL.canParse(value)) return false;
  const { protocol, hostname, username, password } = new URL(value);
  if (username || password) return false;
  return protocol === 'https:' || (protocol === 'http:' && (allowHttp === true || LOOPBACK.test(hostname)));
}
const isProxyUrl = (value: unknown) =>
  typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
const isSecret = (value: unknown) => typeof value === 'string' && /^[A-Za-z0-9_-]{16,100}$/.test(value);
const isNetwork = (value: unknown) =>
  typeof value === 'string' &&
  // The library alone would take '10.1/16' for 10.0.0.1/16.
  isIP(value.replace(/\/.*/, '')) !== 0 &&
  (ipaddr.isValid(value) || ipaddr.isValidCIDR(value)) &&
  !value.includes('%');

/** Deadlines in milliseconds. */
export class RtSmsTimeouts {
  /** To open a connection, TLS and proxy included. @default 5000 */
  @Is(...timerMs) connectMs?: number;
  /** For a whole `send`: queue, connection, answer, retries and the waits between them. @default 30000 */
  @Is(...timerMs) sendMs?: number;
  /** The same for a status request. @default 10000 */
  @Is(...timerMs) statusMs?: number;
}

/** Extra attempts; only what provably never left is sent again. */
export class RtSmsRetry {
  /** Of a send. @default 2 */
  @Is(...whole(0, 10)) send?: number;
  /** Of a status request. @default 2 */
  @Is(...whole(0, 10)) status?: number;
}

/** How many sends may start. */
export class RtSmsRate {
  /** Sends that may start in any sliding second. */
  @Is(...whole(1, 10_000), REQUIRED) perSecond!: number;
}

/** The provider's callbacks (§3.1). */
export class RtSmsCallbackOptions {
  /**
   * What the last segment of the callback's path must be, 16 to 100 of `A-Z a-z 0-9 _ -` (Fastify reads no more); several
   * while you change it. `newCallbackSecret()` makes one.
   */
  @Is(
    'a secret, or a non-empty array of secrets, each of 16 to 100 characters A-Z a-z 0-9 _ -',
    (value) => isSecret(value) || arrayOf(isSecret, 1)(value),
  )
  secrets?: string | readonly string[];
  /**
   * Addresses and CIDRs that callbacks may come from, as the platform resolves them; narrows, never makes one believed.
   * Stops the start where the platform believes an `X-Forwarded-For` of anybody.
   */
  @Is('an array of IP addresses and CIDRs', arrayOf(isNetwork)) allowFrom?: readonly string[];
  /** `'always'`: ask the gateway even after a callback with the right secret. @default 'auto' */
  @Is(...oneOf('auto', 'always')) confirm?: 'auto' | 'always';
}

/** A uid to follow, and when its message was sent (now, where not given). */
export type OpenUid = string | { uid: string; sentAt?: Date; ref?: string };

/** How messages are followed until their final status. */
export class RtSmsTracking {
  /** Milliseconds between status requests; the last repeats. @default from 60 s (5 s without a secret) growing to an hour */
  @Is('a non-empty array of milliseconds, each 1 or more', arrayOf(isTimerMs, 1)) schedule?: readonly number[];
  /** After this a message without a final status is `rt-sms.unresolved`; above the cabinet's "Время жизни СМС". @default 72 h */
  @Is(...anyMs) maxAgeMs?: number;
  /** Uids followed at once; beyond it the oldest becomes unresolved. @default 100000 */
  @Is(...whole(1, 10_000_000)) limit?: number;
  /** Settled uids kept, so that a repeated callback emits nothing. @default 100000 */
  @Is(...whole(0, 10_000_000)) remember?: number;
  /** Status requests of the tracker that may start in any second. @default 50 */
  @Is(...whole(1, 10_000)) perSecond?: number;
  /** Uids that are still open from an earlier run; read once after the start. */
  @Is('a function that returns uids', (value) => typeof value === 'function')
  open?: () => Iterable<OpenUid> | AsyncIterable<OpenUid> | Promise<Iterable<OpenUid>>;
}

/** Certificates, PEM. */
export class RtSmsTls {
  /** CA certificates, PEM; in place of those of Node. */
  @Is('PEM', (value) => pem(value) || arrayOf(pem, 1)(value)) ca?: string | Buffer | (string | Buffer)[];
  /** A client certificate, PEM. */
  @Is('PEM', pem) cert?: string | Buffer;
  /** Its key, PEM. */
  @Is('PEM', pem) key?: string | Buffer;
  /** Of the key. */
  @Is('a string', (value) => typeof value === 'string') passphrase?: string;
}

/** What an account needs: two lines are required, the rest has defaults. Checked once, at start-up. */
export class RtSmsOptions {
  /** Login of the HTTP connection in the cabinet (§1.2). */
  @Is('a non-empty string without ":"', (value) => text(value) && !value.includes(':'), REQUIRED)
  login!: string;
  /** Of the HTTP connection in the cabinet. */
  @Is('a non-empty string', text, REQUIRED) password!: string;
  /** Where messages are sent to. @default 'https://sms.rt.ru/api/v2/send_message' */
  @Is(
    'an https address (http only on a loopback host or with allowHttp: true) without credentials, query and fragment',
    (value, options) => isGatewayUrl(value, (options as RtSmsOptions).allowHttp),
  )
  url?: string;
  /** Lets `url` be plain http: the password crosses the network unencrypted. @default false */
  @Is('true or false', (value) => typeof value === 'boolean') allowHttp?: boolean;
  /** Default sender name, one agreed in the cabinet (§1.4). */
  @Is('a non-empty string', (value) => text(value) && value.trim() !== '') shortcode?: string;
  /** Where a POST carries login and password: Basic auth (§1.2), its body (§2.1.1), or both. @default 'header' */
  @Is(...oneOf('header', 'body', 'both')) credentials?: 'header' | 'body' | 'both';
  /** Total deadlines. */
  @Nested() timeouts?: RtSmsTimeouts;
  /** Kept-alive connections to the gateway. @default 10 */
  @Is(...whole(1, 1000)) connections?: number;
  /** Requests that may wait for a connection; one more is refused at once, not sent. @default 1000 */
  @Is(...whole(0, 1_000_000)) queueLimit?: number;
  /** Extra attempts. */
  @Nested() retry?: RtSmsRetry;
  /** How many sends may start. @default none */
  @Nested() rate?: RtSmsRate;
  /** Which callbacks are believed. */
  @Nested() callback?: RtSmsCallbackOptions;
  /** Following messages until their final status; `false` turns it off. */
  @Nested('false or an object', (value) => value === false || isObject(value))
  tracking?: false | RtSmsTracking;
  /** What `enqueue` works with. @default in the memory of this process */
  @Is('an engine, such as bullMq(…)', (value) => typeof value === 'function') engine?: SmsEngineFactory;
  /** Unsent messages that the engine in memory holds. @default 10000 */
  @Is(...whole(1, 10_000_000)) engineLimit?: number;
  /** For how long after it settled an `id` of `enqueue` means the same message. @default 72 h */
  @Is(...anyMs) idempotencyMs?: number;
  /** Certificates, PEM. */
  @Nested() tls?: RtSmsTls;
  /** An http(s) proxy; none is taken from the environment. */
  @Is('an http or https address', isProxyUrl) proxy?: string;
}

/** What stands beside the factory, because it shapes the module and not its behaviour. */
export interface RtSmsExtras {
  /** A named account, `[a-z][a-z0-9-]*`. */
  name?: string;
  /** Exports the account to every module. @default false */
  isGlobal?: boolean;
  /** Path of the callback controller; `false` mounts none. @default 'rt-sms/callback', 'rt-sms/<name>/callback' */
  callbackPath?: string | false;
  /** Class decorators for the callback controller, such as `Public()` or `SkipThrottle()`. */
  callbackDecorators?: ClassDecorator[];
}

/** A provider that can make the options, for `useClass` and `useExisting`. */
export interface RtSmsOptionsFactory {
  /** May be asynchronous. */
  createRtSmsOptions(): RtSmsOptions | Promise<RtSmsOptions>;
}

/** The options of one account, checked, with every default filled in. */
export type ResolvedOptions = ReturnType<typeof withDefaults> & { account: string };

const NESTED = {
  timeouts: RtSmsTimeouts,
  retry: RtSmsRetry,
  rate: RtSmsRate,
  callback: RtSmsCallbackOptions,
  tracking: RtSmsTracking,
  tls: RtSmsTls,
};
/** What shapes the module, and so stands outside of the factory. */
export const EXTRAS = ['name', 'isGlobal', 'callbackPath', 'callbackDecorators'];

/**
 * Checks the options of an account and fills in the defaults.
 * @throws RtSmsConfigError that lists every problem
 */
export function resolveOptions(given: unknown, account: string, callbackMounted: boolean): ResolvedOptions {
  if (!isObject(given))
    throw new RtSmsConfigError(['the options must be an object; did the factory return nothing?'], account);
  const options = Object.assign(new RtSmsOptions(), given);
  for (const [key, Type] of Object.entries(NESTED) as [keyof typeof NESTED, new () => object][]) {
    const value: unknown = options[key];
    if (isObject(value)) Object.assign(options, { [key]: Object.assign(new Type(), value) });
  }
  const problems = validateSync(options, {
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: false,
  }).flatMap((error) => flatten(error));
  if (callbackMounted && options.tracking === false && !options.callback?.secrets) {
    problems.push(
      'callback.secrets: is missing while tracking is false, so every callback would be dropped; set a secret, turn tracking on, or set callbackPath: false',
    );
  }
  if (problems.length > 0) throw new RtSmsConfigError(problems, account);
  const resolved = { ...withDefaults(options), account };
  // A logger that is given what holds them, the module for one, must not show the password.
  const shown = { value: () => `RtSmsOptions { account: '${account}' }` };
  return Object.defineProperties(resolved, { [inspect.custom]: shown, toJSON: shown });
}

function flatten(error: ValidationError, path = ''): string[] {
  const at = path + error.property;
  const own = Object.entries(error.constraints ?? {}).flatMap(([rule, message]) => {
    // What is no object is a problem by its own rule.
    if (rule === 'nestedValidation') return [];
    if (rule !== 'whitelistValidation') return `${at}: ${message}`;
    return EXTRAS.includes(at)
      ? `${at}: shapes the module, so it stands beside the factory in forRootAsync({ ${at}: … }), not in its result`
      : `${at}: there is no such option`;
  });
  return [...own, ...(error.children ?? []).flatMap((child) => flatten(child, `${at}.`))];
}

/** Defaults of `tracking`, where a secret is set; without one the first looks come sooner. */
export const TRACKING = {
  schedule: [60_000, 120_000, 300_000, 900_000, 1_800_000, 3_600_000] as readonly number[],
  maxAgeMs: 3 * DAY_MS,
  limit: 100_000,
  remember: 100_000,
  perSecond: 50,
  open: undefined as RtSmsTracking['open'],
};

/** A ConfigModule namespace has keys that are there but undefined; for them, too, the defaults count. */
function withDefaults(options: RtSmsOptions) {
  const { callback = {}, tracking = {} } = options;
  const secrets = callback.secrets === undefined ? [] : [callback.secrets].flat();
  const first = secrets.length > 0 ? [] : [5_000, 15_000];
  return {
    login: options.login,
    password: options.password,
    url: new URL(options.url ?? DEFAULT_URL),
    shortcode: options.shortcode,
    credentials: options.credentials ?? 'header',
    timeouts: { connectMs: 5_000, sendMs: 30_000, statusMs: 10_000, ...defined(options.timeouts ?? {}) },
    connections: options.connections ?? 10,
    queueLimit: options.queueLimit ?? 1_000,
    retry: { send: 2, status: 2, ...defined(options.retry ?? {}) },
    rate: options.rate,
    callback: { secrets, allowFrom: callback.allowFrom ?? [], confirm: callback.confirm ?? 'auto' },
    tracking: tracking !== false && { ...TRACKING, schedule: [...first, ...TRACKING.schedule], ...defined(tracking) },
    engine: options.engine,
    engineLimit: options.engineLimit ?? 10_000,
    idempotencyMs: options.idempotencyMs ?? 3 * DAY_MS,
    tls: options.tls,
    proxy: options.proxy,
  };
}
