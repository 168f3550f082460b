import { isIP } from 'node:net';
import type { IncomingMessage, ServerResponse } from 'node:http';

const LOOPBACK_NAME = /^(?:localhost|.+\.localhost)$/;
/** What the provider calls, from outside and under whatever name; the secret in its path is its guard. */
const CALLBACK = '/rt-sms/callback';

/**
 * Answers what a foreign page makes a browser ask for with 403: messages are paid for, and nobody is asked for a password.
 * Who may connect at all is for BIND_ADDRESS and for what stands before the sample.
 *
 * @param hosts the names that the sample is called by, beside localhost and any address
 */
export function keepStrangersOut(hosts: readonly string[]) {
  const names = hosts.map((host) => host.trim().toLowerCase());
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const message = request.url?.startsWith(CALLBACK) ? undefined : refusal(request, names);
    if (message === undefined) return next();
    response.writeHead(403, { 'content-type': 'application/json; charset=utf-8' });
    response.end(JSON.stringify({ statusCode: 403, message }));
  };
}

function refusal({ method, headers }: IncomingMessage, names: readonly string[]): string | undefined {
  const { host = '', origin } = headers;
  const name = urlOf(`http://${host}`)?.hostname;
  if (name === undefined) return 'The Host header cannot be read';
  // A foreign page's own name can be made to point here (DNS rebinding), an address cannot.
  const isAddress = isIP(name.replace(/^\[|\]$/g, '')) !== 0;
  if (!isAddress && !LOOPBACK_NAME.test(name) && !names.includes(name))
    return `The sample is not served under the name ${name}; ALLOWED_HOSTS can name it`;
  const { 'sec-fetch-site': site = 'none', 'sec-fetch-dest': destination } = headers;
  const isOwn =
    (origin === undefined || urlOf(origin)?.host === host.toLowerCase()) && /^(none|same-origin)$/.test(String(site));
  const followsLink = method === 'GET' && destination === 'document';
  return isOwn || followsLink ? undefined : 'A page of another origin may not use the sample';
}

const urlOf = (text: string) => (URL.canParse(text) ? new URL(text) : undefined);
