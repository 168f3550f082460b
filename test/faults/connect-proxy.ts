import { connect, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { readFileSync } from 'node:fs';
import { refusingPort, type DeadEnd } from './dead-ends.js';
import { Listener } from './listener.js';

const pem = (file: string) => readFileSync(new URL(`./certs/${file}`, import.meta.url));

/**
 * `ok` tunnels; `refuse` answers 407 (or `status`); `hang` reads the CONNECT and keeps silent; `dead` is a closed port.
 */
export interface ConnectProxyOptions {
  mode?: 'ok' | 'refuse' | 'hang' | 'dead';
  /** HTTP status of `refuse`. Default 407. */
  status?: 403 | 407;
  /** HTTP status of `ok`. Default 200. */
  opened?: number;
  /** Uses TLS with this certificate. */
  certificate?: 'localhost' | 'self-signed';
  /** `user:password` that `ok` requires; otherwise it answers 407. Default: none. */
  credentials?: string;
}

/** An HTTP proxy that supports only CONNECT. */
export class ConnectProxy {
  /** Number of tunnels opened since the start. */
  tunnels = 0;
  /** Raw head of each request to the proxy. */
  readonly heads: string[] = [];
  /** Mode from now on; a `dead` proxy stays dead. */
  mode: ConnectProxyOptions['mode'];
  private peer!: Listener | DeadEnd;

  private constructor(private readonly options: ConnectProxyOptions) {
    this.mode = options.mode;
  }

  static async start(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(options);
    proxy.peer = options.mode === 'dead' ? await refusingPort() : await Listener.open((socket) => proxy.secure(socket));
    return proxy;
  }

  get url(): string {
    return `${this.options.certificate ? 'https' : 'http'}://${this.peer.host}`;
  }

  async close(): Promise<void> {
    await this.peer.close();
  }

  private secure(tcp: Socket) {
    const { certificate } = this.options;
    if (!certificate) return this.accept(tcp);
    const server = createTlsServer({ cert: pem(`${certificate}.pem`), key: pem('server.key') });
    server.on('secureConnection', (client) => this.accept(client.on('error', () => {})));
    server.emit('connection', tcp);
  }

  private accept(client: Socket) {
    let unread = Buffer.alloc(0);
    const read = (bytes: Buffer) => {
      unread = Buffer.concat([unread, bytes]);
      const headEnd = unread.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      client.off('data', read);
      const head = unread.toString('latin1', 0, headEnd);
      this.heads.push(head);
      this.answer(client, head, unread.subarray(headEnd + 4));
    };
    client.on('data', read);
  }

  private answer(client: Socket, head: string, rest: Buffer) {
    const { mode } = this;
    const { status = 407, credentials } = this.options;
    const [method, target = ''] = head.split(' ');
    if (mode === 'hang') client.resume();
    else if (mode === 'refuse') client.end(refusal(status));
    else if (credentials !== undefined && !head.includes(`Basic ${Buffer.from(credentials).toString('base64')}`))
      client.end(refusal(407));
    else if (method !== 'CONNECT') client.end(refusal(405));
    else this.tunnel(client, target, rest);
  }

  private tunnel(client: Socket, target: string, rest: Buffer) {
    const colon = target.lastIndexOf(':');
    const server = connect(Number(target.slice(colon + 1)), target.slice(0, colon));
    server.once('connect', () => {
      this.tunnels++;
      client.write(`HTTP/1.1 ${this.options.opened ?? 200} Connection established\r\n\r\n`);
      server.write(rest);
      client.pipe(server).pipe(client);
    });
    server.once('error', () => client.end(refusal(502)));
    // If one side breaks, the other is closed too.
    server.once('close', () => client.destroySoon());
    client.once('close', () => server.destroy());
  }
}

const refusal = (status: number) =>
  `HTTP/1.1 ${status} Refused\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
