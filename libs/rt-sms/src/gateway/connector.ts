import { request } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { unescape } from 'node:querystring';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import type { TlsMaterial } from '../options/tls-material.js';
import { safeCause } from '../redact.js';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import { dial, type Connected, type Connecting } from './dial.js';
import { coded, TransportFailure } from './transport-failure.js';

/** What is wrong with a certificate, by the code of the error, and what to do. */
const CERTIFICATES: readonly [code: RegExp, advice: string][] = [
  [/^CERT_HAS_EXPIRED$/, 'check the clock of this machine, else its owner has to renew it; tls.ca does not help'],
  [/^CERT_NOT_YET_VALID$/, 'check the clock of this machine; tls.ca does not help'],
  [/^ERR_TLS_CERT_ALTNAME/, 'it is that of another host: check the address; tls.ca does not help'],
  [
    /^DEPTH_ZERO_SELF_SIGNED/,
    'where this server is your own, name its certificate in tls.ca (RT_SMS_TLS_CA); else something stands between, and opens the connection',
  ],
  [
    /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF))/,
    'it comes from a CA that is not trusted here: name the root certificate of that CA, such as the Russian Trusted Root CA, in tls.ca (RT_SMS_TLS_CA)',
  ],
  [/^(CERT_|UNABLE_TO_|ERR_TLS_CERT)/, 'no setting of tls.ca makes it a good one'],
];
/** Other connection errors that will not mend themselves: another protocol, a proxy that refuses. */
const PERMANENT = /^(ERR_SSL_|ERR_OSSL|EPROTO$|PROXY_REFUSED$)/;

interface ConnectorOptions {
  account: string;
  url: URL;
  connectMs: number;
  proxy: string | undefined;
  tls: TlsMaterial | undefined;
}

/** Connects to a target, and returns what it gives up with. */
type Reach = (target: buildConnector.Options, callback: Connected) => Connecting;

const portOf = ({ port, protocol }: { port: string; protocol: string }) =>
  Number(port) || (protocol === 'https:' ? 443 : 80);
const bare = (hostname: string) => hostname.replace(/^\[|\]$/g, '');

/** Opens the connections of one account to the gateway, directly or through the proxy, with TLS where the URL says so. */
export class Connector {
  /** What must not show in any error. */
  readonly secrets: readonly string[];
  private readonly proxy: URL | undefined;
  /** Gives up the connections that are being made. */
  private readonly connecting = new Set<(why: Error) => void>();
  private readonly reach: Reach;

  constructor(
    private readonly options: ConnectorOptions,
    secrets: readonly string[],
  ) {
    this.proxy = options.proxy === undefined ? undefined : new URL(options.proxy);
    this.secrets = this.proxy ? [...secrets, this.proxy.password, unescape(this.proxy.password)] : secrets;
    const plain: Reach = this.proxy
      ? throughProxy(this.proxy, options.tls?.ca)
      : (target, callback) => dial(target.hostname, portOf(target), callback);
    const secured = buildConnector({
      secureContext: secureContextOf(options),
      // In spite of NODE_TLS_REJECT_UNAUTHORIZED: what is sent here are a password and one-time codes.
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

  /** For undici. The time-out is exact, and errors say where they happened. */
  readonly connect: buildConnector.connector = (target, callback) => {
    const { connectMs } = this.options;
    let reached: Connecting | undefined;
    const settle: Connected = (error, socket) => {
      if (!this.connecting.delete(giveUp)) return;
      clearTimeout(timer);
      // The class matters: undici would go on reconnecting for a SocketError of its own.
      if (error) callback(this.failure(error), null);
      else if (socket) callback(null, socket);
    };
    const giveUp = (why: Error) => {
      settle(why, null);
      reached?.destroy();
    };
    const timer = setTimeout(() => giveUp(coded(`no connection within ${connectMs} ms`, 'ETIMEDOUT')), connectMs);
    this.connecting.add(giveUp);
    reached = this.reach(target, settle);
  };

  /** What a failed connection means for the request that waited for it. */
  failure(error: unknown): TransportFailure {
    if (error instanceof TransportFailure) return error;
    const cause = safeCause(error, this.secrets);
    const { code = '' } = cause as { code?: string };
    const where = this.options.url.host + (this.proxy ? ` through the proxy ${this.proxy.host}` : '');
    const advice = CERTIFICATES.find(([pattern]) => pattern.test(code))?.[1];
    const message = `no connection to ${where}: ${cause.message || code}${advice ? ` (${advice})` : ''}`;
    return new TransportFailure(message, { cause, permanent: advice !== undefined || PERMANENT.test(code) });
  }

  /** Gives up what is being connected. */
  close(): void {
    for (const giveUp of this.connecting) giveUp(new Error('the application ended'));
  }
}

export const basicAuthorization = (login: string, password: string): string =>
  `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;

/** Made once, and at the start, with whatever the reading of the options has not found wrong. */
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

/** Connects to the proxy itself, by TLS if it is an https one; the client certificate is not for it. */
function reachProxy({ protocol, hostname, port }: URL, ca: string[] | undefined, callback: Connected): Connecting {
  const host = bare(hostname);
  let reached = dial(host, portOf({ protocol, port }), (error, socket) => {
    if (error || protocol !== 'https:') return callback(error, socket);
    const refuse = (error: Error & { code?: string }) =>
      callback(coded(`TLS with the proxy: ${error.message}`, error.code ?? ''), null);
    const secure = connectTls({
      socket: socket!,
      host,
      servername: isIP(host) ? '' : host,
      rejectUnauthorized: true,
      ...(ca ? { ca } : {}),
    });
    reached = secure.once('error', refuse).once('secureConnect', () => {
      secure.off('error', refuse);
      callback(null, secure);
    });
  });
  return { destroy: () => reached.destroy() };
}

/** Asks the proxy for a connection to the target. */
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
    const ask = (socket: Socket) => {
      const asking = request({ method: 'CONNECT', path: authority, headers, createConnection: () => socket });
      asking.on('error', (error) => callback(error, null));
      asking.once('connect', ({ statusCode = 0 }, tunnel: Socket, early) => {
        // Any 2xx means that the tunnel is open (RFC 9110, section 9.3.6).
        if (statusCode >= 200 && statusCode < 300) {
          if (early.length > 0) tunnel.unshift(early);
          callback(null, tunnel);
          return;
        }
        tunnel.destroy();
        const message = `it answered ${statusCode} to CONNECT`;
        callback(statusCode < 500 ? coded(message, 'PROXY_REFUSED') : new Error(message), null);
      });
      asking.end();
      return asking;
    };
    let reached: Connecting = reachProxy(proxy, ca, (error, socket) => {
      if (error) callback(error, null);
      else reached = ask(socket!);
    });
    return { destroy: () => reached.destroy() };
  };
