import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

const LOOPBACK_NAME = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/;
const LOOPBACK_PEER = /^(?:::ffff:)?127\.|^::1$/i;
/** Names without a dot, as in a network of containers, and those under names that are reserved for private use. */
const PRIVATE_NAME = /^[^.]+$|\.(?:localhost|local|internal|test)$/;
const FOREIGN_PAGE = 'A page of another origin may not use the simulator.';

/**
 * Why the inbox does not answer this request, `undefined` if it does. It has no password, so where a request comes from is
 * what protects it:
 *
 * - another machine: the peer and the name in `Host` must be of this machine, unless that name is among `hosts`
 * - a foreign page whose name was made to point here (DNS rebinding): the name in `Host` is not one of those
 * - a foreign page that posts to the right name: its `Origin` or `Sec-Fetch-Site` shows it
 */
export function refusalOfInbox(request: IncomingMessage, hosts: readonly string[]): string | undefined {
  const name = hostnameOf(request.headers.host);
  if (name === undefined) return 'The Host header cannot be read.';
  if (!hosts.includes(name)) {
    if (!LOOPBACK_NAME.test(name)) return `The inbox is not served under the name ${name}.`;
    if (!LOOPBACK_PEER.test(request.socket.remoteAddress ?? '')) return 'The inbox is served to its own machine only.';
  }
  return refusalOfPage(request);
}

/**
 * Why the API does not answer this request. Programs may call it from anywhere, with its login; a browser that is made to
 * do so by a foreign page may not: default credentials are known to everybody. A name that somebody may have registered
 * could be made to point here; an address, a name of a private network and those in `hosts` cannot.
 */
export function refusalOfApi(request: IncomingMessage, hosts: readonly string[]): string | undefined {
  const { host } = request.headers;
  // Only HTTP/1.0 has none, and no browser speaks that.
  if (host === undefined) return refusalOfPage(request);
  const name = hostnameOf(host);
  if (name === undefined) return 'The Host header cannot be read.';
  const isSafe = isIP(name.replace(/^\[|\]$/g, '')) !== 0 || PRIVATE_NAME.test(name) || hosts.includes(name);
  if (!isSafe) return `The simulator is not served under the name ${name}; --inbox-host or inbox.hosts can name it.`;
  return refusalOfPage(request);
}

function refusalOfPage({ method, headers }: IncomingMessage): string | undefined {
  const { host, origin } = headers;
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return FOREIGN_PAGE;
  const site = headers['sec-fetch-site'] ?? 'none';
  const followsLink = method === 'GET' && headers['sec-fetch-mode'] === 'navigate';
  return site === 'none' || site === 'same-origin' || followsLink ? undefined : FOREIGN_PAGE;
}

/** Kept, since a client sends the same one with each of many requests. */
let last: { host: string | undefined; name: string | undefined } = { host: '', name: undefined };

function hostnameOf(host: string | undefined): string | undefined {
  const url = `http://${host ?? ''}`;
  if (host !== last.host) last = { host, name: URL.canParse(url) ? new URL(url).hostname : undefined };
  return last.name;
}

/** Host and port as a browser writes them into Host. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
