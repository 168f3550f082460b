import { isIP } from 'node:net';
import { randomInt } from 'node:crypto';

/** Options of the simulator; each of them has a default. */
export interface RtSmsSimulatorOptions {
  /** Port to listen on, 0 for any free one. @default 0 */
  readonly port?: number;
  /** Address to listen on. @default '127.0.0.1' */
  readonly host?: string;
  /** Login that clients must use, without `:` as Basic auth requires. @default 'simulator' */
  readonly login?: string;
  /** Password that clients must use. @default 'secret' */
  readonly password?: string;
  /** Client addresses that may call (§1.2), at most 15; others get `wrong_ip`. @default any address */
  readonly allowFrom?: readonly string[];
  /** Agreed sender names (§2.1.1); others get `invalid_field_shortcode`. @default any name */
  readonly shortcodes?: readonly string[];
  /** Callback address (§3.1.1), http or https; its own query is kept. @default no callbacks */
  readonly callbackUrl?: string;
  /** The `id` of a callback: the full uid, or the uid without `message-id-`. @default 'full' */
  readonly callbackId?: 'full' | 'bare';
  /** Milliseconds to wait for the answer to a callback. @default 10_000 */
  readonly callbackTimeoutMs?: number;
  /**
   * Sends the first callback of a message before the POST is answered, and delays that answer until the callback has
   * been answered: a race that your application must handle. @default false
   */
  readonly callbackBeforeAnswer?: boolean;
  /** Place of `error_code` in a status answer; the document can be read both ways. @default 'result' */
  readonly errorCodeIn?: 'result' | 'envelope';
  /** Whole number, 0 to 2³² − 1: the same seed gives the same uids and the same faults of callbacks. @default random */
  readonly seed?: number;
  /**
   * Timing of the automatic statuses: `awaiting_report` comes `awaitingMs` after the answer, the final status `finalMs`
   * later. With `false`, statuses change only by `report()`. @default { awaitingMs: 300, finalMs: 1_000 }
   */
  readonly lifecycle?: false | { readonly awaitingMs?: number; readonly finalMs?: number };
  /** Probability, 0 to 1, that a callback is lost. @default 0 */
  readonly loss?: number;
  /** Probability, 0 to 1, that a callback is sent twice. @default 0 */
  readonly duplicate?: number;
  /** Probability, 0 to 1, that a callback is sent after the next one of its message. @default 0 */
  readonly reorder?: number;
  /** Milliseconds before every answer. @default 0 */
  readonly latencyMs?: number;
  /** Maximum of requests answered per second; further ones are delayed. 0 means no limit. @default 0 */
  readonly perSecond?: number;
  /**
   * Serves the inbox at `/`, a page that shows the messages and lets you change their statuses. It does not have a
   * password, so `true` serves it to this machine only; `hosts` lists the names under which other machines may open it.
   * The API is served under these names too; it needs them only for public domain names. @default false
   */
  readonly inbox?: boolean | { readonly hosts: readonly string[] };
  /**
   * Text in the head of the inbox, at most 300 characters: something that the simulator cannot know, such as that the
   * application sends only to certain numbers. @default none
   */
  readonly notice?: string;
  /** Number of messages kept; beyond it the oldest is deleted (`transaction_not_found`). @default 100_000 */
  readonly maxMessages?: number;
}

/** Names of the options that can be changed while a simulator runs. */
export const ADJUSTABLE = ['loss', 'duplicate', 'reorder', 'latencyMs', 'perSecond', 'lifecycle'] as const;
/** Options that can be changed while a simulator runs. */
export type RtSmsSimulatorAdjustments = Pick<RtSmsSimulatorOptions, (typeof ADJUSTABLE)[number]>;

/** The options with all defaults filled in; the password and those in `ADJUSTABLE` may change. */
export interface Settings {
  readonly port: number;
  readonly host: string;
  readonly login: string;
  readonly password: string;
  /** The Authorization header with this login and password, in the form that clients send. */
  readonly basic: string;
  readonly allowFrom: readonly string[] | undefined;
  readonly shortcodes: ReadonlySet<string> | undefined;
  readonly callbackUrl: string | undefined;
  readonly callbackId: 'full' | 'bare';
  readonly callbackTimeoutMs: number;
  readonly callbackBeforeAnswer: boolean;
  readonly errorCodeIn: 'result' | 'envelope';
  readonly seed: number;
  readonly lifecycle: false | { readonly awaitingMs: number; readonly finalMs: number };
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly latencyMs: number;
  readonly perSecond: number;
  /** Names under which other machines may open the inbox, in lower case. */
  readonly inbox: false | { readonly hosts: readonly string[] };
  readonly notice: string | undefined;
  readonly maxMessages: number;
}

const MAX_NOTICE = 300;

type Check = (value: unknown) => string | undefined;

const CHECKS: { readonly [Name in keyof Required<RtSmsSimulatorOptions>]: Check } = {
  port: wholeNumber(0, 65_535),
  host: nonEmptyString,
  login: (value) => nonEmptyString(value) ?? (String(value).includes(':') ? 'must not contain ":"' : undefined),
  password: nonEmptyString,
  allowFrom: (value) => {
    if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string' && isIP(entry) !== 0)) {
      return 'must be a list of IP addresses';
    }
    return value.length > 15 ? `must have at most 15 addresses, not ${value.length}` : undefined;
  },
  shortcodes: (value) => (isNames(value) ? undefined : 'must be a list of sender names'),
  callbackUrl: (value) => problemOfCallbackUrl(value),
  callbackId: oneOf('full', 'bare'),
  callbackTimeoutMs: positive,
  callbackBeforeAnswer: (value) => (typeof value === 'boolean' ? undefined : 'must be true or false'),
  errorCodeIn: oneOf('result', 'envelope'),
  seed: wholeNumber(0, 2 ** 32 - 1),
  lifecycle: (value) => {
    if (value === false) return undefined;
    if (!isObject(value)) return 'must be false or { awaitingMs?, finalMs? }';
    const wrong = Object.entries(value).find(([key, ms]) => !['awaitingMs', 'finalMs'].includes(key) || delay(ms));
    return wrong && `must be false or { awaitingMs?, finalMs? }, milliseconds of 0 or more; "${wrong[0]}" is not`;
  },
  loss: probability,
  duplicate: probability,
  reorder: probability,
  latencyMs: delay,
  perSecond: (value) =>
    typeof value === 'number' && value >= 0 && value < Infinity ? undefined : 'must be requests per second, 0 or more',
  inbox: (value) =>
    typeof value === 'boolean' || (isObject(value) && Object.keys(value).join() === 'hosts' && isNames(value['hosts']))
      ? undefined
      : 'must be true, false or { hosts }, a list of host names without ports',
  notice: (value) =>
    typeof value === 'string' && value !== '' && value.length <= MAX_NOTICE
      ? undefined
      : `must be a text of 1 to ${MAX_NOTICE} characters`,
  maxMessages: wholeNumber(1, 10_000_000),
};

function inboxOf(inbox: RtSmsSimulatorOptions['inbox'] = false): Settings['inbox'] {
  if (inbox === false) return false;
  // Lower case, like the host name of a parsed URL.
  return { hosts: inbox === true ? [] : inbox.hosts.map((name) => name.toLowerCase()) };
}

/** @throws TypeError that lists every invalid option and its accepted values; it never shows the password */
export function resolveOptions(options: RtSmsSimulatorOptions): Settings {
  const problems = problemsOf(options, Object.keys(CHECKS));
  if (problems.length > 0) throw new TypeError(`RtSmsSimulator options: ${problems.join('; ')}`);
  const { login = 'simulator', password = 'secret' } = options;
  return {
    port: options.port ?? 0,
    host: options.host ?? '127.0.0.1',
    login,
    password,
    basic: basicOf(login, password),
    allowFrom: options.allowFrom,
    shortcodes: options.shortcodes && new Set(options.shortcodes),
    callbackUrl: options.callbackUrl,
    callbackId: options.callbackId ?? 'full',
    callbackTimeoutMs: options.callbackTimeoutMs ?? 10_000,
    callbackBeforeAnswer: options.callbackBeforeAnswer ?? false,
    errorCodeIn: options.errorCodeIn ?? 'result',
    seed: options.seed ?? randomInt(2 ** 32),
    lifecycle:
      options.lifecycle === false
        ? false
        : { awaitingMs: options.lifecycle?.awaitingMs ?? 300, finalMs: options.lifecycle?.finalMs ?? 1_000 },
    loss: options.loss ?? 0,
    duplicate: options.duplicate ?? 0,
    reorder: options.reorder ?? 0,
    latencyMs: options.latencyMs ?? 0,
    perSecond: options.perSecond ?? 0,
    inbox: inboxOf(options.inbox),
    notice: options.notice,
    maxMessages: options.maxMessages ?? 100_000,
  };
}

/** @throws TypeError that lists every invalid change and its accepted values */
export function adjust(settings: Settings, changes: RtSmsSimulatorAdjustments): void {
  const problems = problemsOf(changes, ADJUSTABLE);
  if (problems.length > 0) throw new TypeError(`RtSmsSimulator adjustments: ${problems.join('; ')}`);
  const resolved = resolveOptions(changes);
  for (const name of ADJUSTABLE) {
    if (changes[name] !== undefined) Object.assign(settings, { [name]: resolved[name] });
  }
}

/** @throws TypeError that does not contain the password */
export function changePassword(settings: Settings, password: string): void {
  const problem = CHECKS.password(password);
  if (problem !== undefined) throw new TypeError(`changePassword: the password ${problem}`);
  Object.assign(settings, { password, basic: basicOf(settings.login, password) });
}

const basicOf = (login: string, password: string) => `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;

/** The problem with the value of an option, as the end of a sentence; `undefined` if the value is valid. */
export function problemOfOption(name: keyof RtSmsSimulatorOptions, value: unknown): string | undefined {
  return CHECKS[name](value);
}

function problemsOf(options: object, names: readonly string[]): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (!names.includes(name) || !isOption(name)) return [`${name}: no such option; there are ${names.join(', ')}`];
    const problem = CHECKS[name](value);
    return problem === undefined ? [] : [`${name} ${problem}`];
  });
}

/** The problem with a callback address, `undefined` if it is valid. */
export function problemOfCallbackUrl(value: unknown): string | undefined {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) return 'must be an http or https URL';
  return url.hash === '' ? undefined : 'must not have a fragment (#…)';
}

function isOption(name: string): name is keyof RtSmsSimulatorOptions {
  return Object.hasOwn(CHECKS, name);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((entry) => nonEmptyString(entry) === undefined);
}

function nonEmptyString(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? undefined : 'must be a string that is not empty';
}

function probability(value: unknown): string | undefined {
  return typeof value === 'number' && value >= 0 && value <= 1 ? undefined : 'must be a probability from 0 to 1';
}

function delay(value: unknown): string | undefined {
  return typeof value === 'number' && value >= 0 && value < Infinity ? undefined : 'must be milliseconds, 0 or more';
}

function positive(value: unknown): string | undefined {
  return delay(value) ?? (value === 0 ? 'must be more than 0' : undefined);
}

function wholeNumber(least: number, most: number): Check {
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;
}

function oneOf(...accepted: string[]): Check {
  return (value) => (accepted.includes(String(value)) ? undefined : `must be ${accepted.join(' or ')}`);
}
