import type { SmsEngineFactory } from '../delivery/engine.js';
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

/** The name of the account that is registered without one. */
export const DEFAULT_ACCOUNT = 'default';
/** The provider's address (§1.3). */
export const DEFAULT_URL = 'https://sms.rt.ru/api/v2/send_message';

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

const PEM = 'PEM text, or the path of a file in PEM';

/**
 * Certificates of TLS, each as PEM text (`\n` in place of line ends is fine) or as the path of a PEM file, which is read
 * once, at the start. Certificates of the gateway and of an https proxy are always checked, whatever
 * `NODE_TLS_REJECT_UNAUTHORIZED` says.
 */
export class RtSmsTls {
  /** Certificates of CAs to trust, one or several in each; added to Node's list, `NODE_EXTRA_CA_CERTS` included. */
  @Is(`${PEM}, or a non-empty array of these`, (value) => pem(value) || arrayOf(pem, 1)(value))
  ca?: string | Buffer | readonly (string | Buffer)[];
  /** Trusts the CAs of `ca` alone, and none of Node's list. @default false */
  @Is('true or false', (value) => typeof value === 'boolean') caOnly?: boolean;
  /** The client certificate, followed by its intermediate ones; needs `key`. */
  @Is(PEM, pem) cert?: string | Buffer;
  /** The private key of `cert`. */
  @Is(PEM, pem) key?: string | Buffer;
  /** The passphrase of `key`, where that is encrypted. */
  @Is('a string', (value) => typeof value === 'string') passphrase?: string;
}

/** What an account needs: two lines are required, the rest has defaults. Checked once, at start-up. */
export class RtSmsOptions {
  /** Login of the HTTP connection in the cabinet (§1.2). */
  @Is('a non-empty string without ":"', (value) => text(value) && !value.includes(':'), REQUIRED)
  login!: string;
  /** Password of the HTTP connection in the cabinet (§1.2). */
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
  /** CAs to trust, and a client certificate. @default Node's list, and none */
  @Nested() tls?: RtSmsTls;
  /** An http or https proxy, with its credentials if it wants any; none is taken from the environment. */
  @Is('an http or https address without path, query and fragment', isProxyUrl) proxy?: string;
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
