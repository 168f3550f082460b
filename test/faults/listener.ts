import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

/** A TCP server on a free port of the loopback interface, whose connections end with it. */
export class Listener {
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer({ noDelay: true }, (socket) => {
    this.sockets.add(socket);
    // Resets are expected here; 'close' always follows.
    socket.on('error', () => {}).once('close', () => this.sockets.delete(socket));
    this.accept(socket);
  });

  /** Its address and port. */
  host = '';

  private constructor(private readonly accept: (socket: Socket) => void) {}

  static async open(accept: (socket: Socket) => void): Promise<Listener> {
    const listener = new Listener(accept);
    await once(listener.server.listen(0, '127.0.0.1'), 'listening');
    const address = listener.server.address();
    if (typeof address === 'object') listener.host = `${address?.address}:${address?.port}`;
    return listener;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.sockets.size;
  }

  async close(): Promise<void> {
    const closed = [this.server.close(), ...this.sockets].map(
      (end) => new Promise((resolve) => end.once('close', resolve)),
    );
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(closed);
  }
}
