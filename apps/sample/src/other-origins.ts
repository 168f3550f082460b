import { isIP } from 'node:net';
import type { IncomingMessage, ServerResponse } from 'node:http';

const LOOPBACK_NAME = /^(?:localhost|.+\.localhost)$/;
/** Path of the callback, which the provider calls from outside under any name; its secret protects it. */
const CALLBACK = '/rt-sms/callback';

/**
 * Middleware that rejects requests which a page of another origin makes in a browser with 403: messages cost money, and the
 * sample does not require a password. BIND_ADDRESS and the proxy in front of the sample control who may connect at all.
 *
 * @param hosts names under which the sample is served, in addition to localhost and addresses
 */
export function rejectOtherOrigins(hosts: readonly string[]) {
  const names = hosts.map((host) => host.trim().toLowerCase());
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const message = request.url?.startsWith(CALLBACK) ? undefined : rejection(request, names);
    if (message === undefined) return next();
    response.writeHead(403, { 'content-type': 'application/json; charset=utf-8' });
    response.end(JSON.stringify({ statusCode: 403, message }));
  };
}

function rejection({ method, headers }: IncomingMessage, names: readonly string[]): string | undefined {
  const { host = '', origin } = headers;
  const name = urlOf(`http://${host}`)?.hostname;
  if (name === undefined) return 'The Host header cannot be read';
  // The domain name of another page can resolve to this machine (DNS rebinding), an address cannot.
  const isAddress = isIP(name.replace(/^\[|\]$/g, '')) !== 0;
  if (!isAddress && !LOOPBACK_NAME.test(name) && !names.includes(name))
    return `The sample is not served under the name ${name}; add it to ALLOWED_HOSTS`;
  const { 'sec-fetch-site': site = 'none', 'sec-fetch-dest': destination } = headers;
  const isOwn =
    (origin === undefined || urlOf(origin)?.host === host.toLowerCase()) && /^(none|same-origin)$/.test(String(site));
  const followsLink = method === 'GET' && destination === 'document';
  return isOwn || followsLink ? undefined : 'A page of another origin may not use the sample';
}

const urlOf = (text: string) => (URL.canParse(text) ? new URL(text) : undefined);
