import { request } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { unescape } from 'node:querystring';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import type { TlsMaterial } from '../options/tls-material.js';
import { safeCause } from '../redact.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { basicAuthorization } from './account-password.js';
import { dial, type Connected, type Connecting } from './dial.js';
import { coded, TransportFailure } from './transport-failure.js';

/** Fixes for certificate errors, by the code of the error. */
const CERTIFICATES: readonly [code: RegExp, advice: string][] = [
  [
    /^CERT_HAS_EXPIRED$/,
    'check the clock of this machine; if it is right, the owner of the certificate has to renew it, and tls.ca does not help',
  ],
  [/^CERT_NOT_YET_VALID$/, 'check the clock of this machine; tls.ca does not help'],
  [/^ERR_TLS_CERT_ALTNAME/, 'check the address, because the certificate belongs to another host; tls.ca does not help'],
  [
    /^DEPTH_ZERO_SELF_SIGNED/,
    'if this server is your own, add its certificate to tls.ca (RT_SMS_TLS_CA); otherwise a device in between intercepts the connection',
  ],
  [
    /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF))/,
    'add the root certificate of the CA, such as the Russian Trusted Root CA, to tls.ca (RT_SMS_TLS_CA), because this CA is not trusted here',
  ],
  [/^(CERT_|UNABLE_TO_|ERR_TLS_CERT)/, 'the owner of the certificate has to replace it; tls.ca does not help'],
];
/** Other connection errors that a retry cannot solve: another protocol, a proxy that rejects the connection. */
const PERMANENT = /^(ERR_SSL_|ERR_OSSL|EPROTO$|PROXY_REFUSED$)/;

interface ConnectorOptions {
  account: string;
  url: URL;
  connectMs: number;
  proxy: string | undefined;
  tls: TlsMaterial | undefined;
}

/** Function that connects to a target and returns a handle to cancel the connection. */
type Reach = (target: buildConnector.Options, callback: Connected) => Connecting;

const portOf = ({ port, protocol }: { port: string; protocol: string }) =>
  Number(port) || (protocol === 'https:' ? 443 : 80);
const bare = (hostname: string) => hostname.replace(/^\[|\]$/g, '');

/** Opens the connections of one account to the gateway, directly or through the proxy, with TLS for an https URL. */
export class Connector {
  private readonly proxy: URL | undefined;
  /** Functions that cancel the connections in progress. */
  private readonly connecting = new Set<(why: Error) => void>();
  private readonly reach: Reach;

  constructor(
    private readonly options: ConnectorOptions,
    /** Returns the values of the password that must not appear in any error. */
    private readonly passwordSecrets: () => readonly string[],
  ) {
    this.proxy = options.proxy === undefined ? undefined : new URL(options.proxy);
    const plain: Reach = this.proxy
      ? throughProxy(this.proxy, options.tls?.ca)
      : (target, callback) => dial(target.hostname, portOf(target), callback);
    const secured = buildConnector({
      secureContext: secureContextOf(options),
      // Regardless of NODE_TLS_REJECT_UNAUTHORIZED, because a password and one-time codes are sent here.
      rejectUnauthorized: true,
      timeout: 0,
      allowH2: false,
    }) as Reach;
    this.reach = (target, callback) => {
      if (target.protocol !== 'https:') return plain(target, callback);
      let reached = plain(target, (error, httpSocket) => {
        if (error) callback(error, null);
        else reached = secured({ ...target, httpSocket: httpSocket! }, callback);
      });
      return { destroy: () => reached.destroy() };
    };
  }

  /** Values that must not appear in any error. */
  get secrets(): readonly string[] {
    const secrets = this.passwordSecrets();
    return this.proxy ? [...secrets, this.proxy.password, unescape(this.proxy.password)] : secrets;
  }

  /** Connector for undici, with an exact time-out and errors that contain the address. */
  readonly connect: buildConnector.connector = (target, callback) => {
    const { connectMs } = this.options;
    let reached: Connecting | undefined;
    const settle: Connected = (error, socket) => {
      if (!this.connecting.delete(cancel)) return;
      clearTimeout(timer);
      // The class matters, because undici reconnects again and again after its own SocketError.
      if (error) callback(this.failure(error), null);
      else if (socket) callback(null, socket);
    };
    const cancel = (why: Error) => {
      settle(why, null);
      reached?.destroy();
    };
    const timer = setTimeout(() => cancel(coded(`no connection within ${connectMs} ms`, 'ETIMEDOUT')), connectMs);
    this.connecting.add(cancel);
    reached = this.reach(target, settle);
  };

  /** Converts the error of a connection to the failure of the request that waited for it. */
  failure(error: unknown): TransportFailure {
    if (error instanceof TransportFailure) return error;
    const cause = safeCause(error, this.secrets);
    const { code = '' } = cause as { code?: string };
    const where = this.options.url.host + (this.proxy ? ` through the proxy ${this.proxy.host}` : '');
    const advice = CERTIFICATES.find(([pattern]) => pattern.test(code))?.[1];
    const message = `no connection to ${where}: ${cause.message || code}${advice ? `. Fix: ${advice}` : ''}`;
    return new TransportFailure(message, { cause, permanent: advice !== undefined || PERMANENT.test(code) });
  }

  /** Cancels the connections in progress. */
  close(): void {
    for (const cancel of this.connecting) cancel(new Error('the application is shutting down'));
  }
}

/** Creates the TLS context once, at the start. It detects faults that the check of the options could not find. */
function secureContextOf({ tls, account }: ConnectorOptions): SecureContext | undefined {
  try {
    return tls && createSecureContext({ ...tls });
  } catch (error) {
    throw new RtSmsConfigError(
      [`tls: the certificates or the key cannot be used: ${safeCause(error).message}`],
      account,
    );
  }
}

/** Connects to the proxy, with TLS if it is an https proxy. The client certificate is not used for it. */
function reachProxy({ protocol, hostname, port }: URL, ca: string[] | undefined, callback: Connected): Connecting {
  const host = bare(hostname);
  let reached = dial(host, portOf({ protocol, port }), (error, socket) => {
    if (error || protocol !== 'https:') return callback(error, socket);
    const onError = (error: Error & { code?: string }) =>
      callback(coded(`TLS with the proxy failed: ${error.message}`, error.code ?? ''), null);
    const secure = connectTls({
      socket: socket!,
      host,
      servername: isIP(host) ? '' : host,
      rejectUnauthorized: true,
      ...(ca ? { ca } : {}),
    });
    reached = secure.once('error', onError).once('secureConnect', () => {
      secure.off('error', onError);
      callback(null, secure);
    });
  });
  return { destroy: () => reached.destroy() };
}

/** Opens a connection to the target through the proxy, with CONNECT. */
const throughProxy =
  (proxy: URL, ca: string[] | undefined): Reach =>
  (target, callback) => {
    const host = isIP(target.hostname) === 6 ? `[${target.hostname}]` : target.hostname;
    const authority = `${host}:${portOf(target)}`;
    const headers: Record<string, string> = { host: authority };
    if (proxy.username || proxy.password) {
      const [user, password] = [proxy.username, proxy.password].map(unescape);
      headers['proxy-authorization'] = basicAuthorization(user!, password!);
    }
    const openTunnel = (socket: Socket) => {
      const connectRequest = request({ method: 'CONNECT', path: authority, headers, createConnection: () => socket });
      connectRequest.on('error', (error) => callback(error, null));
      connectRequest.once('connect', ({ statusCode = 0 }, tunnel: Socket, early) => {
        // Any 2xx means that the tunnel is open (RFC 9110, section 9.3.6).
        if (statusCode >= 200 && statusCode < 300) {
          if (early.length > 0) tunnel.unshift(early);
          callback(null, tunnel);
          return;
        }
        tunnel.destroy();
        const message = `the proxy answered CONNECT with HTTP ${statusCode}`;
        callback(statusCode < 500 ? coded(message, 'PROXY_REFUSED') : new Error(message), null);
      });
      connectRequest.end();
      return connectRequest;
    };
    let reached: Connecting = reachProxy(proxy, ca, (error, socket) => {
      if (error) callback(error, null);
      else reached = openTunnel(socket!);
    });
    return { destroy: () => reached.destroy() };
  };
