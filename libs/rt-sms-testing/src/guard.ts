import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

const LOOPBACK_NAME = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/;
const LOOPBACK_PEER = /^(?:::ffff:)?127\.|^::1$/i;
/** Names without a dot, as in a container network, and names under the suffixes reserved for private use. */
const PRIVATE_NAME = /^[^.]+$|\.(?:localhost|local|internal|test)$/;
const OTHER_ORIGIN = 'A page of another origin may not use the simulator.';

/**
 * Reason why the inbox rejects this request, `undefined` if it accepts it. The inbox does not have a password; it is
 * protected by checking where a request comes from:
 *
 * - another machine: the peer and the name in `Host` must belong to this machine, unless `hosts` lists that name
 * - a page of another origin whose name resolves to this machine (DNS rebinding): the name in `Host` is not accepted
 * - a page of another origin that posts to an accepted name: its `Origin` or `Sec-Fetch-Site` reveals it
 */
export function inboxRejection(request: IncomingMessage, hosts: readonly string[]): string | undefined {
  const name = hostnameOf(request.headers.host);
  if (name === undefined) return 'The Host header cannot be read.';
  if (!hosts.includes(name)) {
    if (!LOOPBACK_NAME.test(name))
      return `The inbox is not served under the name ${name}. Fix: add it with --inbox-host or inbox.hosts.`;
    if (!LOOPBACK_PEER.test(request.socket.remoteAddress ?? ''))
      return 'The inbox is served to this machine only. Fix: set --inbox-host or inbox.hosts.';
  }
  return pageRejection(request);
}

/**
 * Reason why the API rejects this request. Programs may call it from anywhere with its login. A browser that acts for a
 * page of another origin may not, because the default credentials are public. A registered domain name can be made to
 * resolve to this machine (DNS rebinding); an address, a name of a private network and the names in `hosts` cannot.
 */
export function apiRejection(request: IncomingMessage, hosts: readonly string[]): string | undefined {
  const { host } = request.headers;
  // HTTP/1.0 allows a request without Host; browsers never send one.
  if (host === undefined) return pageRejection(request);
  const name = hostnameOf(host);
  if (name === undefined) return 'The Host header cannot be read.';
  const isSafe = isIP(name.replace(/^\[|\]$/g, '')) !== 0 || PRIVATE_NAME.test(name) || hosts.includes(name);
  if (!isSafe)
    return `The simulator is not served under the name ${name}. Fix: add it with --inbox-host or inbox.hosts.`;
  return pageRejection(request);
}

function pageRejection({ method, headers }: IncomingMessage): string | undefined {
  const { host, origin } = headers;
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return OTHER_ORIGIN;
  const site = headers['sec-fetch-site'] ?? 'none';
  const followsLink = method === 'GET' && headers['sec-fetch-mode'] === 'navigate';
  return site === 'none' || site === 'same-origin' || followsLink ? undefined : OTHER_ORIGIN;
}

/** The last Host that was parsed: a client sends the same one with all of its requests. */
let last: { host: string | undefined; name: string | undefined } = { host: '', name: undefined };

function hostnameOf(host: string | undefined): string | undefined {
  const url = `http://${host ?? ''}`;
  if (host !== last.host) last = { host, name: URL.canParse(url) ? new URL(url).hostname : undefined };
  return last.name;
}

/** Host and port in the form that a browser writes into Host. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
