import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { inspect } from 'node:util';
import { defined } from '../defined.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { suggestion } from '../unknown-keys.js';
import { isObject, type Problem } from './option-rules.js';
import {
  DEFAULT_ACCOUNT,
  DEFAULT_URL,
  RtSmsCallbackOptions,
  RtSmsOptions,
  RtSmsRate,
  RtSmsRetry,
  RtSmsTimeouts,
  RtSmsTls,
  RtSmsTracking,
} from './rt-sms.options.js';
import { resolveTls, type TlsMaterial } from './tls-material.js';

const DAY_MS = 24 * 3_600_000;

/** The options of one account, checked, with every default filled in. */
export type ResolvedOptions = ReturnType<typeof withDefaults> & {
  account: string;
  tls: TlsMaterial | undefined;
  /** To be logged at the start: what works, but probably not as it was meant. */
  warnings: readonly string[];
};

/** Says which variable an option with this value was read from. */
export const READ_FROM = Symbol.for('nestjs-rt-sms:read-from');
/** Options that `rtSmsConfig` has read; a copy by `...` keeps the symbol. */
export interface ReadFromEnvironment {
  [READ_FROM]?: (option: string, value: unknown) => string | undefined;
}

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
    problems.push({
      option: 'callback.secrets',
      says: 'is missing while tracking is false, so every callback would be dropped; set a secret, turn tracking on, or set callbackPath: false',
    });
  }
  const hasTls = !problems.some(({ option }) => option.startsWith('tls'));
  const { material: tls, warnings, ...read } = resolveTls(hasTls ? options.tls : undefined);
  problems.push(...read.problems);
  const variableOf = (option: string) =>
    (given as ReadFromEnvironment)[READ_FROM]?.(option, valueAt(given, option)) ?? undefined;
  if (problems.length > 0) {
    const sentences = problems.map(({ option, says }) =>
      [`${option}:`, variableOf(option), says].filter((part) => part !== undefined).join(' '),
    );
    throw new RtSmsConfigError(sentences, account);
  }
  if (account !== DEFAULT_ACCOUNT && options.shortcode === undefined) {
    const variable = variableOf('shortcode');
    warnings.push(
      `shortcode: this account has no sender name of its own, and it does not inherit that of another one; ${variable ? `set ${variable}` : 'set it'}, or give one to each message`,
    );
  }
  const resolved = { ...withDefaults(options), tls, account, warnings };
  // A logger that is given what holds them, the module for one, must not show the password.
  const shown = { value: () => `RtSmsOptions { account: '${account}' }` };
  return Object.defineProperties(resolved, { [inspect.custom]: shown, toJSON: shown });
}

const valueAt = (options: object, option: string) =>
  option
    .split('.')
    .reduce<unknown>((value, key) => (isObject(value) ? (value as Record<string, unknown>)[key] : undefined), options);

const optionsOf = (target: object) => [
  ...new Set(
    getMetadataStorage()
      .getTargetValidationMetadatas(target.constructor, '', false, false)
      .map(({ propertyName }) => propertyName),
  ),
];

function flatten(error: ValidationError, path = ''): Problem[] {
  const option = path + error.property;
  const own = Object.entries(error.constraints ?? {}).flatMap(([rule, message]) => {
    // What is not an object is a problem by its own rule.
    if (rule === 'nestedValidation') return [];
    if (rule !== 'whitelistValidation') return { option, says: message };
    const says = EXTRAS.includes(option)
      ? `shapes the module, so it stands beside the factory in forRootAsync({ ${option}: … }), not in its result`
      : `there is no such option${suggestion(error.property, optionsOf(error.target!))}`;
    return { option, says };
  });
  return [...own, ...(error.children ?? []).flatMap((child) => flatten(child, `${option}.`))];
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
    proxy: options.proxy,
  };
}
