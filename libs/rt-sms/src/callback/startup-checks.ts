import type { Logger } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { RtSmsConfigError } from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../options/resolve-options.js';

/** A client and more proxies than any application has, in IPv4 and IPv6, at addresses reserved for documentation. */
const CHAINS = [
  ['192.0.2.1', '198.51.100.'],
  ['2001:db8::1', '3fff::'],
].map(([client, network]) => [client!, ...Array.from({ length: 32 }, (_, hop) => `${network}${hop}`)]);

interface Express {
  get(setting: 'trust proxy fn'): (address: string, hop: number) => boolean;
}
type Fastify = Record<symbol, { prototype: object } | undefined>;

/** True if the platform accepts an `X-Forwarded-For` from any client; undefined if the platform does not show it. */
function trustsAnyClient(adapter: AbstractHttpAdapter): boolean | undefined {
  if (adapter.getType() === 'express') {
    const trusts = adapter.getInstance<Express>().get('trust proxy fn');
    return CHAINS.some((chain) => chain.every((address, hop) => trusts(address, hop)));
  }
  // Fastify does not expose its setting, only the address that it computes for a request. A real request would start the
  // application too early and pass through its hooks.
  const fastify = adapter.getInstance<Fastify>();
  const key = Object.getOwnPropertySymbols(fastify).find(({ description }) => description === 'fastify.Request');
  const type = key && fastify[key];
  if (!type) return undefined;
  return CHAINS.some(([client, ...proxies]) => {
    const raw = { headers: { 'x-forwarded-for': proxies.join(', ') }, socket: { remoteAddress: client } };
    const request = Object.create(type.prototype, { raw: { value: raw } }) as { ip: string };
    return request.ip === proxies[0];
  });
}

/**
 * Checks the options of the callback when the application starts, and logs the path at which the router has mounted it.
 * @throws RtSmsConfigError if clients can forge the address that `allowFrom` is compared with
 */
export function checkCallbackAtStart(
  { account, callback: { secrets, allowFrom } }: ResolvedOptions,
  path: string | undefined,
  adapter: AbstractHttpAdapter | undefined,
  logger: Logger,
): void {
  // 24 random bytes: 32 characters of base64url, 48 hexadecimal digits.
  if (secrets.some((secret) => secret.length * (/^[\da-f]+$/i.test(secret) ? 4 : 6) < 192)) {
    logger.warn(
      'callback.secrets: a secret is shorter than 24 random bytes. Fix: generate one with newCallbackSecret()',
    );
  }
  if (!adapter || !['express', 'fastify'].includes(adapter.getType())) return;
  const forgeable = allowFrom.length > 0 && trustsAnyClient(adapter);
  if (forgeable) {
    const problem =
      'callback.allowFrom: this platform accepts X-Forwarded-For from any client, so addresses can be forged; set "trust proxy" (Express) to your proxies or their number, or trustProxy (Fastify) to your proxies';
    throw new RtSmsConfigError([problem], account);
  }
  if (forgeable === undefined) {
    logger.warn('callback.allowFrom: this platform does not show if clients can forge their address');
  }
  if (path === undefined) return;
  const last = secrets.length > 0 ? '/***' : ', as hints, because no secret is configured';
  logger.log(`Receiving callbacks at GET ${path}${last}`);
}
