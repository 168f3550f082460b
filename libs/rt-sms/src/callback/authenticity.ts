import { hash, timingSafeEqual } from 'node:crypto';
import ipaddr from 'ipaddr.js';

/** An address stands for itself alone; one that an IPv4 address is mapped to, `::ffff:1.2.3.4`, for that one. */
function network(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const [address, bits] = ipaddr.parseCIDR(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96
    ? [address.toIPv4Address(), bits - 96]
    : [address, bits];
}

const digest = (text: string) => Buffer.from(hash('sha256', text, 'hex'), 'latin1');

/**
 * Whether a callback is to be believed. It is an unauthenticated GET, so only the secret in its path makes it so; where no
 * secret is configured it is a hint. The sender's address narrows, and never makes one believed.
 */
export class Authenticity {
  private readonly secrets: readonly Buffer[];
  /** One for all: a Buffer of its own for each callback costs as much as its digest. */
  private readonly given = digest('');
  private readonly networks: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][];

  constructor({ secrets, allowFrom }: { secrets: readonly string[]; allowFrom: readonly string[] }) {
    this.secrets = secrets.map(digest);
    this.networks = allowFrom.map(network);
  }

  /** A controller of the application's own may give a parameter as it came. The address is read only where it matters. */
  check(request: { secret?: unknown; ip?: string | undefined }): 'believed' | 'hint' | 'refused' {
    const { secret } = request;
    if (this.networks.length > 0 && !this.isAllowed(request.ip)) return 'refused';
    if (this.secrets.length === 0) return secret === undefined ? 'hint' : 'refused';
    if (typeof secret !== 'string') return 'refused';
    this.given.write(hash('sha256', secret, 'hex'));
    // All are compared, whichever matches: the time must not tell.
    let matches = false;
    for (const expected of this.secrets) matches = timingSafeEqual(this.given, expected) || matches;
    return matches ? 'believed' : 'refused';
  }

  private isAllowed(ip: string | undefined): boolean {
    const bare = ip?.split('%')[0];
    if (!bare || !ipaddr.isValid(bare)) return false;
    // An IPv4 address that a dual-stack socket shows as ::ffff:1.2.3.4 is compared as what it is.
    const address = ipaddr.process(bare);
    return this.networks.some(([network, bits]) => address.kind() === network.kind() && address.match(network, bits));
  }
}
