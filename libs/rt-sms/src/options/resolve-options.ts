import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { inspect } from 'node:util';
import { defined } from '../defined.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { suggestion } from '../unknown-keys.js';
import { contradictions, resolvePolicy } from '../policy/resolve-policy.js';
import { isObject, type Problem } from './option-rules.js';
import { RtSmsPolicy } from './policy-options.js';
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

/** Valid options of one account with all defaults. */
export type ResolvedOptions = ReturnType<typeof withDefaults> & {
  account: string;
  tls: TlsMaterial | undefined;
  /** The variable from which the function `password` was made, if it was. */
  passwordVariable: string | undefined;
  /** Warnings to log at the start: settings that work, but probably not as intended. */
  warnings: readonly string[];
};

/** Key of a function that returns the variable from which an option with this value was read. */
export const READ_FROM = Symbol.for('nestjs-rt-sms:read-from');
/** Key of a function that returns the problems of the variables themselves. */
export const READ_PROBLEMS = Symbol.for('nestjs-rt-sms:read-problems');
/** Options that `rtSmsConfig` has read. A copy by `...` keeps the symbols. */
export interface ReadFromEnvironment {
  [READ_FROM]?: (option: string, value: unknown) => string | undefined;
  [READ_PROBLEMS]?: (options: object) => Problem[];
}

const NESTED = {
  timeouts: RtSmsTimeouts,
  retry: RtSmsRetry,
  rate: RtSmsRate,
  callback: RtSmsCallbackOptions,
  tracking: RtSmsTracking,
  policy: RtSmsPolicy,
  tls: RtSmsTls,
};
/** Names of the options that belong next to the factory, because they change the module graph. */
export const EXTRAS = ['name', 'isGlobal', 'callbackPath', 'callbackDecorators'];

/** A problem with the variable from which the option was read, if it was. */
type FoundProblem = Problem & { variable: string | undefined };

/** Checks the options of an account and returns all problems. */
export function checkOptions(input: object, callbackMounted: boolean) {
  const options = Object.assign(new RtSmsOptions(), input);
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
      text: 'is missing and tracking is false, so every callback would be dropped; set a secret, enable tracking, or set callbackPath: false',
    });
  }
  if (options.policy && !problems.some(({ option }) => option.startsWith('policy')))
    problems.push(...contradictions(options.policy));
  const hasTls = !problems.some(({ option }) => option.startsWith('tls'));
  const { material: tls, warnings, ...read } = resolveTls(hasTls ? options.tls : undefined);
  const source: ReadFromEnvironment = input;
  problems.push(...read.problems, ...(source[READ_PROBLEMS]?.(input) ?? []));
  const variableOf = (option: string) => source[READ_FROM]?.(option, valueAt(input, option)) ?? undefined;
  const found = problems.map((problem): FoundProblem => ({ ...problem, variable: variableOf(problem.option) }));
  return { options, tls, warnings, problems: found, variableOf };
}

/**
 * Checks the options of an account and fills in the defaults.
 * @throws RtSmsConfigError that lists all problems
 */
export function resolveOptions(input: unknown, account: string, callbackMounted: boolean): ResolvedOptions {
  if (!isObject(input))
    throw new RtSmsConfigError(['the options must be an object; did the factory return nothing?'], account);
  const { options, tls, warnings, problems, variableOf } = checkOptions(input, callbackMounted);
  if (problems.length > 0) {
    const sentences = problems.map(({ option, variable, text }) =>
      [`${option}:`, variable, text].filter((part) => part !== undefined).join(' '),
    );
    throw new RtSmsConfigError(sentences, account);
  }
  if (account !== DEFAULT_ACCOUNT && options.shortcode === undefined) {
    const variable = variableOf('shortcode');
    warnings.push(
      `shortcode: this account has no default sender name, and it does not inherit one from another account. Fix: set ${variable ?? 'the option'}, or add a sender name to each message`,
    );
  }
  const passwordVariable = typeof options.password === 'function' ? variableOf('password') : undefined;
  const resolved = { ...withDefaults(options), tls, account, passwordVariable, warnings };
  // A logger that receives the module, which holds the options, must not print the password.
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
    // A value that is not an object already is a problem of another rule.
    if (rule === 'nestedValidation') return [];
    if (rule !== 'whitelistValidation') return { option, text: message };
    const text = EXTRAS.includes(option)
      ? `belongs next to the factory, in forRootAsync({ ${option}: … }), not in the result of the factory`
      : `unknown option${suggestion(error.property, optionsOf(error.target!))}`;
    return { option, text };
  });
  return [...own, ...(error.children ?? []).flatMap((child) => flatten(child, `${option}.`))];
}

/** Defaults of `tracking` with a callback secret. Without a secret the first polls start sooner. */
export const TRACKING = {
  schedule: [60_000, 120_000, 300_000, 900_000, 1_800_000, 3_600_000] as readonly number[],
  maxAgeMs: 3 * DAY_MS,
  limit: 100_000,
  remember: 100_000,
  perSecond: 50,
  open: undefined as RtSmsTracking['open'],
};

/** Fills in the defaults, also for keys whose value is undefined, as in a namespace of ConfigModule. */
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
    policy: resolvePolicy(options.policy),
    callback: { secrets, allowFrom: callback.allowFrom ?? [], confirm: callback.confirm ?? 'auto' },
    tracking: tracking !== false && { ...TRACKING, schedule: [...first, ...TRACKING.schedule], ...defined(tracking) },
    engine: options.engine,
    engineLimit: options.engineLimit ?? 10_000,
    idempotencyMs: options.idempotencyMs ?? 3 * DAY_MS,
    proxy: options.proxy,
  };
}
