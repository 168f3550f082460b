import type { SmsEngineFactory } from '../delivery/engine.js';
import type { RtSmsPolicy } from './policy-options.js';
import {
  anyMs,
  arrayOf,
  Is,
  isGatewayUrl,
  isNetwork,
  isObject,
  isProxyUrl,
  isSecret,
  isTimerMs,
  Nested,
  oneOf,
  pem,
  REQUIRED,
  text,
  timerMs,
  whole,
} from './option-rules.js';

/** Name of an account that is registered without a name. */
export const DEFAULT_ACCOUNT = 'default';
/** Address of the provider's gateway (§1.3). */
export const DEFAULT_URL = 'https://sms.rt.ru/api/v2/send_message';

/** Deadlines in milliseconds. */
export class RtSmsTimeouts {
  /** Time in milliseconds to open a connection, proxy and TLS included. @default 5000 */
  @Is(...timerMs) connectMs?: number;
  /** Deadline in milliseconds of a `send`: queue, connection, answer, retries and the waits between them. @default 30000 */
  @Is(...timerMs) sendMs?: number;
  /** Deadline in milliseconds of a status request, with the same parts. @default 10000 */
  @Is(...timerMs) statusMs?: number;
}

/** Numbers of retries. A send is retried only if the request certainly never left, or after the reason `system_error`. */
export class RtSmsRetry {
  /** Extra attempts of a send. @default 2 */
  @Is(...whole(0, 10)) send?: number;
  /** Extra attempts of a status request. @default 2 */
  @Is(...whole(0, 10)) status?: number;
}

/** Rate of sends. */
export class RtSmsRate {
  /** Number of sends that may start in any sliding second. */
  @Is(...whole(1, 10_000), REQUIRED) perSecond!: number;
}

/** Handling of the provider's callbacks (§3.1). */
export class RtSmsCallbackOptions {
  /**
   * Secret in the last segment of the callback's path, 16 to 100 characters of `A-Z a-z 0-9 _ -` (Fastify accepts at most
   * 100). Set several while you change the secret. `newCallbackSecret()` generates one.
   * @default none
   */
  @Is(
    'a secret, or a non-empty array of secrets, each of 16 to 100 characters A-Z a-z 0-9 _ -',
    (value) => isSecret(value) || arrayOf(isSecret, 1)(value),
  )
  secrets?: string | readonly string[];
  /**
   * Addresses and CIDRs that callbacks may come from, compared with the address that the platform resolves. The list only
   * narrows and does not replace the secret. The application does not start if the platform accepts `X-Forwarded-For` from any
   * client.
   * @default any address
   */
  @Is('an array of IP addresses and CIDRs', arrayOf(isNetwork)) allowFrom?: readonly string[];
  /** Confirmation by a poll. `'always'`: the module polls even after a callback with the right secret. @default 'auto' */
  @Is(...oneOf('auto', 'always')) confirm?: 'auto' | 'always';
}

/** A uid to track, with the time when its message was sent (default: now) and its `ref`. */
export type OpenUid = string | { uid: string; sentAt?: Date; ref?: string };

/** Tracking of messages until their final status. */
export class RtSmsTracking {
  /**
   * Pauses in milliseconds between polls of one message. The last one repeats.
   * @default 1, 2, 5, 15, 30 and 60 min; without a secret first 5 and 15 s
   */
  @Is('a non-empty array of milliseconds, each 1 or more', arrayOf(isTimerMs, 1)) schedule?: readonly number[];
  /**
   * Time in milliseconds after which a message without a final status is `rt-sms.unresolved`. Set it above "Время жизни СМС"
   * in the cabinet.
   * @default 72 h
   */
  @Is(...anyMs) maxAgeMs?: number;
  /** Maximum number of messages tracked at once. Beyond it the oldest becomes unresolved. @default 100000 */
  @Is(...whole(1, 10_000_000)) limit?: number;
  /** Number of settled messages to remember, so that a repeated callback emits nothing. @default 100000 */
  @Is(...whole(0, 10_000_000)) remember?: number;
  /** Number of polls that may start in any second. @default 50 */
  @Is(...whole(1, 10_000)) perSecond?: number;
  /** Function that returns the open uids of an earlier run. The module calls it once after the start. @default none */
  @Is('a function that returns uids', (value) => typeof value === 'function')
  open?: () => Iterable<OpenUid> | AsyncIterable<OpenUid> | Promise<Iterable<OpenUid>>;
}

const PEM = 'PEM text, or the path of a file in PEM';

/**
 * Certificates and key for TLS, each as PEM text (`\n` may replace line ends) or as the path of a PEM file that is read once
 * at the start. The certificates of the gateway and of an https proxy are always checked, regardless of
 * `NODE_TLS_REJECT_UNAUTHORIZED`.
 */
export class RtSmsTls {
  /** CAs to trust in addition to Node's list and `NODE_EXTRA_CA_CERTS`. Each item holds one or several certificates. */
  @Is(`${PEM}, or a non-empty array of these`, (value) => pem(value) || arrayOf(pem, 1)(value))
  ca?: string | Buffer | readonly (string | Buffer)[];
  /** Trust in the CAs of `ca` only, without Node's list. @default false */
  @Is('true or false', (value) => typeof value === 'boolean') caOnly?: boolean;
  /** Client certificate, followed by its intermediate certificates. Requires `key`. */
  @Is(PEM, pem) cert?: string | Buffer;
  /** Private key of `cert`. */
  @Is(PEM, pem) key?: string | Buffer;
  /** Passphrase of an encrypted `key`. */
  @Is('a string', (value) => typeof value === 'string') passphrase?: string;
}

/** Options of an account. Only `login` and `password` are required. The module checks all options once, at the start. */
export class RtSmsOptions {
  /** Login of the HTTP connection in the cabinet (§1.2). */
  @Is('a non-empty string without ":"', (value) => text(value) && !value.includes(':'), REQUIRED)
  login!: string;
  /**
   * Password of the HTTP connection in the cabinet (§1.2), or a function that returns it, from a vault or a mounted file. The
   * function is called at the start, and again when the gateway rejects the password, at most once in 5 s; if it returns another
   * password, the rejected request is made once more with it. A call may take 5 s. If it fails at the start, the application
   * does not start (`RtSmsConfigError`); later the former password stays in use, and a warning is logged.
   */
  @Is(
    'a non-empty string, or a function that returns one',
    (value) => typeof value === 'function' || text(value),
    REQUIRED,
  )
  password!: string | (() => string | Promise<string>);
  /**
   * Address of the gateway (§1.3), without credentials, query and fragment.
   * @default 'https://sms.rt.ru/api/v2/send_message'
   */
  @Is(
    'an https address (http only on a loopback host or with allowHttp: true) without credentials, query and fragment',
    (value, options) => isGatewayUrl(value, (options as RtSmsOptions).allowHttp),
  )
  url?: string;
  /** Permission for plain http in `url`. The password then crosses the network unencrypted. @default false */
  @Is('true or false', (value) => typeof value === 'boolean') allowHttp?: boolean;
  /** Default sender name, agreed in the cabinet (§1.4). @default none */
  @Is('a non-empty string', (value) => text(value) && value.trim() !== '') shortcode?: string;
  /** Place of login and password in a POST: Basic auth (§1.2), the body (§2.1.1), or both. @default 'header' */
  @Is(...oneOf('header', 'body', 'both')) credentials?: 'header' | 'body' | 'both';
  /** Deadlines of connections and calls. */
  @Nested() timeouts?: RtSmsTimeouts;
  /** Number of kept-alive connections to the gateway. @default 10 */
  @Is(...whole(1, 1000)) connections?: number;
  /** Number of requests that may wait for a connection. One more fails at once with `not_sent`. @default 1000 */
  @Is(...whole(0, 1_000_000)) queueLimit?: number;
  /** Extra attempts of sends and status requests. */
  @Nested() retry?: RtSmsRetry;
  /** Rate at which sends may start. @default no limit */
  @Nested() rate?: RtSmsRate;
  /** Send policy: whom messages may go to, and how many. @default no rule */
  @Nested() policy?: RtSmsPolicy;
  /** Secrets and allowed addresses of callbacks (§3.1). */
  @Nested() callback?: RtSmsCallbackOptions;
  /** Polling of messages until their final status. `false` turns it off, and statuses come only by callback. */
  @Nested('false or an object', (value) => value === false || isObject(value))
  tracking?: false | RtSmsTracking;
  /** Engine of `enqueue`, such as `bullMq(…)`. @default the engine in the memory of this process */
  @Is('an engine, such as bullMq(…)', (value) => typeof value === 'function') engine?: SmsEngineFactory;
  /** Maximum number of unsent messages in the engine in memory. @default 10000 */
  @Is(...whole(1, 10_000_000)) engineLimit?: number;
  /** Time in milliseconds after its outcome for which an `id` of `enqueue` means the same message. @default 72 h */
  @Is(...anyMs) idempotencyMs?: number;
  /** CAs to trust, and a client certificate. @default Node's list, no client certificate */
  @Nested() tls?: RtSmsTls;
  /** Address of an http or https proxy, with its credentials if it needs any. `HTTP_PROXY` is not read. @default none */
  @Is('an http or https address without path, query and fragment', isProxyUrl) proxy?: string;
}

/** Options that belong next to the factory, because Nest needs them before the factory runs. */
export interface RtSmsExtras {
  /** Name of an additional account, `[a-z][a-z0-9-]*`. @default the account `default` */
  name?: string;
  /** Global registration: every module can inject the account without importing it. @default false */
  isGlobal?: boolean;
  /** Path of the callback controller. `false` mounts no controller. @default 'rt-sms/callback', 'rt-sms/<name>/callback' */
  callbackPath?: string | false;
  /** Class decorators for the callback controller, such as `Public()` or `SkipThrottle()`. */
  callbackDecorators?: ClassDecorator[];
}

/** Provider that creates the options, for `useClass` and `useExisting`. */
export interface RtSmsOptionsFactory {
  /** Creates the options, also asynchronously. */
  createRtSmsOptions(): RtSmsOptions | Promise<RtSmsOptions>;
}
