import type { IncomingMessage } from 'node:http';

const LOOPBACK_NAME = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/;
const LOOPBACK_PEER = /^(?:::ffff:)?127\.|^::1$/i;

/**
 * Why the inbox does not answer this request, `undefined` if it does. It has no password, so what keeps strangers out is
 * where a request comes from:
 *
 * - another machine: the peer and the name it calls must be of this machine, unless that name is among `hosts`
 * - a foreign page whose name was made to point here (DNS rebinding): the name it calls is not one of those
 * - a foreign page that posts to the right name: its Origin or Sec-Fetch-Site tells
 */
export function refusal(request: IncomingMessage, hosts: readonly string[]): string | undefined {
  const { host, origin } = request.headers;
  const name = hostnameOf(`http://${host ?? ''}`);
  if (name === undefined) return 'The Host header cannot be read.';
  if (!hosts.includes(name)) {
    if (!LOOPBACK_NAME.test(name)) return `The inbox is not served under the name ${name}.`;
    if (!LOOPBACK_PEER.test(request.socket.remoteAddress ?? '')) return 'The inbox is served to its own machine only.';
  }
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return 'A foreign page may not use the inbox.';
  const site = request.headers['sec-fetch-site'] ?? 'none';
  const followsLink = request.method === 'GET' && request.headers['sec-fetch-mode'] === 'navigate';
  return site === 'none' || site === 'same-origin' || followsLink ? undefined : 'A foreign page may not use the inbox.';
}

function hostnameOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}

/** Host and port as a browser writes them into Host. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
