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

/** A port that refuses connections. It is held by the client end of a connection, so that no other process can begin to listen on it. */
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

/** A name that no resolver knows: RFC 6761 keeps `.invalid` for that. */
export async function unresolvableHost(): Promise<DeadEnd> {
  return { host: 'nonexistent.invalid', close: async () => {} };
}

// Listens and then stops its thread for good: libuv never gets to accept(), and the kernel drops what exceeds the backlog.
const LISTEN_AND_FREEZE = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;
const FULL_AFTER_MS = 200;

/** A listener whose backlog is full: the SYN of a further connection is dropped, so connecting hangs. */
export async function fullBacklog(): Promise<DeadEnd> {
  const frozen = new Worker(LISTEN_AND_FREEZE, { eval: true });
  const [port]: number[] = await once(frozen, 'message');
  const fillers: Socket[] = [];
  for (let connected = true; connected;) {
    const filler = connect(port!, '127.0.0.1').on('error', () => {});
    fillers.push(filler);
    // The filler that hangs is the proof that the next one will.
    await Promise.race([once(filler, 'connect'), sleep(FULL_AFTER_MS)]);
    // After a pause of the process the time is over before anybody has looked at the socket.
    await setImmediate();
    connected = !filler.connecting;
  }
  return {
    host: `127.0.0.1:${port}`,
    async close() {
      for (const filler of fillers) filler.destroy();
      await frozen.terminate();
    },
  };
}
