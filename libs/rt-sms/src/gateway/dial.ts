import dns, { type LookupAddress } from 'node:dns';
import { connect, type Socket } from 'node:net';
import { coded } from './transport-failure.js';

/** Time in milliseconds without an answer after which the next address is tried (RFC 8305, section 5). */
const NEXT_ADDRESS_MS = 250;
const KEEP_ALIVE_MS = 60_000;

/** Connection in progress. It calls back once, unless it is destroyed before. */
export interface Connecting {
  destroy(): unknown;
}
export type Connected = (error: Error | null, socket: Socket | null) => void;

/** Alternates IPv4 and IPv6 addresses, starting with the family that the resolver returns first. */
function alternating(found: LookupAddress[]): LookupAddress[] {
  const first = found.filter(({ family }) => family === found[0]?.family);
  const others = found.filter(({ family }) => family !== found[0]?.family);
  const turns = first.flatMap((address, n) => [address, ...others.slice(n, n + 1)]);
  return [...turns, ...others.slice(first.length)];
}

/**
 * Opens a TCP connection to the address of `host` that answers first. A slow address is not abandoned. Node's own algorithm
 * abandons each address after 250 ms, and could not connect to a gateway that is only slow.
 */
export function dial(host: string, port: number, callback: Connected): Connecting {
  const sockets = new Set<Socket>();
  const errors: NodeJS.ErrnoException[] = [];
  let addresses: LookupAddress[] = [];
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;

  const end = (winner?: Socket) => {
    isOver = true;
    clearTimeout(timer);
    for (const socket of sockets) if (socket !== winner) socket.destroy();
  };
  const fail = () => {
    end();
    const messages = errors.map(({ message }) => message).join(', ');
    callback(errors.length === 1 ? errors[0]! : coded(messages, errors[0]?.code ?? 'ENOTFOUND'), null);
  };
  const next = () => {
    clearTimeout(timer);
    const address = addresses.shift();
    if (!address) return sockets.size === 0 ? fail() : undefined;
    const socket = connect({
      host: address.address,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const onError = (error: Error) => {
      sockets.delete(socket);
      errors.push(error);
      next();
    };
    sockets.add(socket);
    socket.once('error', onError).once('connect', () => {
      socket.off('error', onError);
      end(socket);
      callback(null, socket);
    });
    if (addresses.length > 0) timer = setTimeout(next, NEXT_ADDRESS_MS);
    return undefined;
  };

  dns.lookup(host, { all: true }, (error, found) => {
    if (isOver) return;
    if (error) errors.push(error);
    else addresses = alternating(found);
    next();
  });
  return { destroy: () => end() };
}
