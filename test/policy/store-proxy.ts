import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Service } from '../durable/services.js';

/** Opening a connection takes as long as two answers. */
const CONNECT_MS = 60_000;

/** A proxy in front of a store, which can delay its answers, hold them back, and cut connections. */
export class StoreProxy {
  /** Delay of each answer in milliseconds. */
  delayMs = 0;
  /** Number of cut connections. */
  cuts = 0;
  private readonly sockets = new Set<Socket>();
  private readonly held: (() => void)[] = [];
  private isHolding = false;
  private isCutting = false;
  private readonly port: number;

  private constructor(
    private readonly server: Server,
    private readonly url: URL,
  ) {
    this.port = (server.address() as AddressInfo).port;
  }

  static async start({ options }: Service): Promise<StoreProxy> {
    const url = new URL('connection' in options ? options.connection : options.postgres);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new StoreProxy(server, url);
    server.on('connection', (client) => proxy.serve(client));
    return proxy;
  }

  /** Connection options for `bullMq`. */
  get options(): Service['options'] {
    const url = new URL(this.url);
    url.port = String(this.port);
    if (url.protocol.startsWith('redis')) return { connection: url.href };
    const postgres = { connectionString: url.href, connectionTimeoutMillis: CONNECT_MS };
    return { postgres: postgres as unknown as string };
  }

  /** Holds all answers back until `release`. */
  hold(): void {
    this.isHolding = true;
  }

  release(): void {
    this.isHolding = false;
    for (const write of this.held.splice(0)) write();
  }

  /** Cuts all connections. New ones are accepted. */
  cut(): void {
    this.cuts += this.sockets.size;
    for (const socket of this.sockets) socket.destroy();
  }

  /** Cuts all connections instead of passing on the next answer, so that the store has executed a request. */
  cutAtAnswer(): void {
    this.isCutting = true;
  }

  /** Refuses all connections until `accept`. */
  async refuse(): Promise<void> {
    this.server.close();
    this.cut();
    await once(this.server, 'close');
  }

  async accept(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
  }

  async close(): Promise<void> {
    this.server.close();
    this.release();
    this.cut();
    await once(this.server, 'close');
  }

  private serve(client: Socket): void {
    const { hostname, port } = this.url;
    const store = connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, store],
      [store, client],
    ] as const) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (data) => store.write(data));
    store.on('data', (data) => {
      const write = () => void (client.destroyed || client.write(data));
      if (this.isCutting) {
        this.isCutting = false;
        this.cut();
      } else if (this.isHolding) this.held.push(write);
      else if (this.delayMs > 0) setTimeout(write, this.delayMs).unref();
      else write();
    });
  }
}
