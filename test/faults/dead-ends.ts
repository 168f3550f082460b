import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Listener } from './listener.js';

/** A host (with port) at which no request can arrive. */
export interface DeadEnd {
  host: string;
  close(): Promise<void>;
}

/** A port that refuses connections. The client end of a connection holds it, so that no other process can listen on it. */
export async function refusingPort(): Promise<DeadEnd> {
  const listener = await Listener.open(() => {});
  const [address, port] = listener.host.split(':');
  const holder = connect(Number(port), address);
  await once(holder, 'connect');
  return {
    host: `127.0.0.1:${holder.localPort}`,
    async close() {
      holder.destroy();
      await listener.close();
    },
  };
}

/** A name that does not resolve: RFC 6761 reserves `.invalid` for that. */
export async function unresolvableHost(): Promise<DeadEnd> {
  return { host: 'nonexistent.invalid', close: async () => {} };
}

// Listens and then stops its thread: libuv never calls accept(), and the kernel drops connections beyond the backlog. After
// it is woken, it forwards all connections.
const LISTEN_AND_FREEZE = `
  const { parentPort, workerData: { address, port, to, sleeping } } = require('node:worker_threads');
  const { connect, createServer } = require('node:net');
  const server = createServer((client) => {
    const target = connect(to, '127.0.0.1').on('error', () => client.destroy());
    client.on('error', () => target.destroy()).pipe(target).pipe(client);
  });
  server.listen({ port, host: address, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(sleeping, 0, 0);
  });`;
const FULL_AFTER_MS = 200;

/** A dead end that can be woken: from then on, connections go to the port `to` of 127.0.0.1. */
export type SlowEnd = DeadEnd & { wake(): void };

/**
 * A listener whose backlog is full: the SYN of a further connection is dropped, so connecting hangs. After `wake()` it is
 * answered when TCP repeats it, a second after the first one.
 */
export async function fullBacklog({ address = '127.0.0.1', port = 0, to = 0 } = {}): Promise<SlowEnd> {
  const sleeping = new Int32Array(new SharedArrayBuffer(4));
  const frozen = new Worker(LISTEN_AND_FREEZE, { eval: true, workerData: { address, port, to, sleeping } });
  const [listening]: number[] = await once(frozen, 'message');
  const fillers: Socket[] = [];
  for (let connected = true; connected;) {
    const filler = connect(listening!, address).on('error', () => {});
    fillers.push(filler);
    // If the last filler hangs, the next connection will hang too.
    await Promise.race([once(filler, 'connect'), sleep(FULL_AFTER_MS)]);
    // After a pause of the process, the time may be over before the socket was checked.
    await setImmediate();
    connected = !filler.connecting;
  }
  const wake = () => {
    for (const filler of fillers) filler.destroy();
    Atomics.store(sleeping, 0, 1);
    Atomics.notify(sleeping, 0);
  };
  return {
    host: `${address}:${listening}`,
    wake,
    async close() {
      wake();
      await frozen.terminate();
    },
  };
}
