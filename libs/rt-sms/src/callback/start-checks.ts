import type { Logger } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../options/resolve-options.js';

/** A stranger and more proxies than stand before any application, by IPv4 and by IPv6, at addresses that are nobody's. */
const CHAINS = [
  ['192.0.2.1', '198.51.100.'],
  ['2001:db8::1', '3fff::'],
].map(([stranger, network]) => [stranger!, ...Array.from({ length: 32 }, (_, hop) => `${network}${hop}`)]);

interface Express {
  get(setting: 'trust proxy fn'): (address: string, hop: number) => boolean;
}
type Fastify = Record<symbol, { prototype: object } | undefined>;

/** Whether the platform takes the first address of an `X-Forwarded-For` for the client's, whoever sent it; unknown if nothing. */
function believesEverybody(adapter: AbstractHttpAdapter): boolean | undefined {
  if (adapter.getType() === 'express') {
    const trusts = adapter.getInstance<Express>().get('trust proxy fn');
    return CHAINS.some((chain) => chain.every((address, hop) => trusts(address, hop)));
  }
  // Fastify shows its setting only by what it makes of a request. One that went through the application would boot it too
  // early, and would meet whatever else is there.
  const fastify = adapter.getInstance<Fastify>();
  const key = Object.getOwnPropertySymbols(fastify).find(({ description }) => description === 'fastify.Request');
  const type = key && fastify[key];
  if (!type) return undefined;
  return CHAINS.some(([stranger, ...proxies]) => {
    const raw = { headers: { 'x-forwarded-for': proxies.join(', ') }, socket: { remoteAddress: stranger } };
    const request = Object.create(type.prototype, { raw: { value: raw } }) as { ip: string };
    return request.ip === proxies[0];
  });
}

/**
 * Checks the callback's options when the application starts, and logs the path from the root that the router has for it.
 * @throws RtSmsConfigError if `allowFrom` compares an address that anybody can forge
 */
export function checkCallbackAtStart(
  { account, callback: { secrets, allowFrom } }: ResolvedOptions,
  path: string | undefined,
  adapter: AbstractHttpAdapter | undefined,
  logger: Logger,
): void {
  // 24 random bytes: 32 characters of base64url, 48 hexadecimal digits.
  if (secrets.some((secret) => secret.length * (/^[\da-f]+$/i.test(secret) ? 4 : 6) < 192)) {
    logger.warn('callback.secrets: one is shorter than 24 random bytes; newCallbackSecret() makes a better one');
  }
  if (!adapter || !['express', 'fastify'].includes(adapter.getType())) return;
  const forgeable = allowFrom.length > 0 && believesEverybody(adapter);
  if (forgeable) {
    const problem =
      'callback.allowFrom: this platform takes the address of a client from X-Forwarded-For whoever sent it, so anybody can forge one; let its "trust proxy" (Express) name your proxies or their number, its trustProxy (Fastify) your proxies';
    throw new RtSmsConfigError([problem], account);
  }
  if (forgeable === undefined) {
    logger.warn('callback.allowFrom: this platform does not show whether clients can forge their address');
  }
  if (path === undefined) return;
  const last = secrets.length > 0 ? '/***' : ', as hints: there is no secret';
  logger.log(`Callbacks are taken at GET ${path}${last}`);
}
