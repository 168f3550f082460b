import { ValidateBy, ValidateNested, type ValidationArguments } from 'class-validator';
import ipaddr from 'ipaddr.js';
import { isIP } from 'node:net';

/** Longest delay of a Node timer in milliseconds. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** An invalid option. */
export interface Problem {
  /** Name of the option with its group: `timeouts.sendMs`. */
  option: string;
  /** Continues a sentence that starts with the name of the option or of its variable. */
  text: string;
}

export const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Checks a property. The message contains the accepted values and, unless it may be a secret, the value. */
export const Is = (accepted: string, test: (value: unknown, options: object) => boolean, { required = false } = {}) =>
  ValidateBy({
    name: 'is',
    validator: {
      validate: (value, args) => (value === undefined && !required) || test(value, args!.object),
      defaultMessage: (args) =>
        args!.value === undefined ? `is missing; it must be ${accepted}` : `must be ${accepted}${describe(args!)}`,
    },
  });
export const REQUIRED = { required: true };
export const Nested =
  (accepted = 'an object', test: (value: unknown) => boolean = isObject): PropertyDecorator =>
  (target, property) => {
    Is(accepted, test)(target, property);
    ValidateNested()(target, property);
  };

const CONFIDENTIAL = new Set(['login', 'password', 'secrets', 'proxy', 'url', 'ca', 'cert', 'key', 'passphrase']);
const HIDDEN = ' (value hidden)';
function describe({ property, value }: ValidationArguments): string {
  if (value === '') return ', not empty';
  if (value === null) return ', not null';
  if (CONFIDENTIAL.has(property)) return HIDDEN;
  if (typeof value === 'number' || typeof value === 'boolean') return `, not ${value}`;
  // A secret in the wrong place (`callback: secret`, `credentials: 'login:password'`) is longer or has other characters.
  if (typeof value === 'string') return /^[\p{L}\p{N}_ .,/+-]{1,15}$/u.test(value) ? `, not '${value}'` : HIDDEN;
  if (Array.isArray(value)) return value.length === 0 ? ', not an empty array' : ', not this array';
  return `, not this ${typeof value}`;
}

export const whole = (min: number, max: number) =>
  [
    `a whole number from ${min} to ${max}`,
    (value: unknown) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
  ] as const;
export const isTimerMs = whole(1, MAX_TIMER_MS)[1];
export const timerMs = [`a number of milliseconds from 1 to ${MAX_TIMER_MS}`, isTimerMs] as const;
export const anyMs = [
  'a number of milliseconds, 1 or more',
  (value: unknown) => Number.isFinite(value) && (value as number) >= 1,
] as const;
export const oneOf = (...values: string[]) =>
  [values.map((value) => `'${value}'`).join(' or '), (value: unknown) => values.includes(value as string)] as const;
export const arrayOf =
  (test: (item: unknown) => boolean, min = 0) =>
  (value: unknown) =>
    // Array.from, because every() skips the holes of an array.
    Array.isArray(value) && value.length >= min && Array.from(value).every(test);
export const text = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && !/\p{Cc}/u.test(value) && value.isWellFormed();
export const pem = (value: unknown) => (typeof value === 'string' && value !== '') || Buffer.isBuffer(value);

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
export function isGatewayUrl(value: unknown, allowHttp: unknown): boolean {
  if (typeof value !== 'string' || /[?#]/.test(value) || !URL.canParse(value)) return false;
  const { protocol, hostname, username, password } = new URL(value);
  if (username || password) return false;
  return protocol === 'https:' || (protocol === 'http:' && (allowHttp === true || LOOPBACK.test(hostname)));
}
export function isProxyUrl(value: unknown): boolean {
  if (typeof value !== 'string' || /[?#]/.test(value) || !URL.canParse(value)) return false;
  const { protocol, pathname } = new URL(value);
  return /^https?:$/.test(protocol) && pathname === '/';
}
export const isSecret = (value: unknown) => typeof value === 'string' && /^[A-Za-z0-9_-]{16,100}$/.test(value);
export const isNetwork = (value: unknown) =>
  typeof value === 'string' &&
  // Checked first, because the library reads '10.1/16' as 10.0.0.1/16.
  isIP(value.replace(/\/.*/, '')) !== 0 &&
  (ipaddr.isValid(value) || ipaddr.isValidCIDR(value)) &&
  !value.includes('%');
