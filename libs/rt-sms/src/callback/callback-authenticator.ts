import { hash, timingSafeEqual } from 'node:crypto';
import ipaddr from 'ipaddr.js';

/** Parses an address or a CIDR. An IPv4-mapped address, `::ffff:1.2.3.4`, is treated as its IPv4 address. */
function network(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const [address, bits] = ipaddr.parseCIDR(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96
    ? [address.toIPv4Address(), bits - 96]
    : [address, bits];
}

const digest = (text: string) => Buffer.from(hash('sha256', text, 'hex'), 'latin1');

/**
 * Authenticates callbacks. A callback is a GET without credentials, so only the secret in its path can authenticate it.
 * Without a configured secret every callback is a hint. The sender's address can only exclude callbacks.
 */
export class CallbackAuthenticator {
  private readonly secrets: readonly Buffer[];
  /** Reused for every callback: allocating a Buffer costs as much as the digest. */
  private readonly received = digest('');
  private readonly networks: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][];

  constructor({ secrets, allowFrom }: { secrets: readonly string[]; allowFrom: readonly string[] }) {
    this.secrets = secrets.map(digest);
    this.networks = allowFrom.map(network);
  }

  /** The secret may be of any type, because an application's controller may pass a parameter as it came. */
  check(request: { secret?: unknown; ip?: string | undefined }): 'believed' | 'hint' | 'refused' {
    const { secret } = request;
    if (this.networks.length > 0 && !this.isAllowed(request.ip)) return 'refused';
    if (this.secrets.length === 0) return secret === undefined ? 'hint' : 'refused';
    if (typeof secret !== 'string') return 'refused';
    this.received.write(hash('sha256', secret, 'hex'));
    // All secrets are compared, even after a match, so that the duration reveals nothing.
    let matches = false;
    for (const expected of this.secrets) matches = timingSafeEqual(this.received, expected) || matches;
    return matches ? 'believed' : 'refused';
  }

  private isAllowed(ip: string | undefined): boolean {
    const bare = ip?.split('%')[0];
    if (!bare || !ipaddr.isValid(bare)) return false;
    // A dual-stack socket shows an IPv4 address as ::ffff:1.2.3.4.
    const address = ipaddr.process(bare);
    return this.networks.some(([network, bits]) => address.kind() === network.kind() && address.match(network, bits));
  }
}
