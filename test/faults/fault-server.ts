import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { DeadEnd } from './dead-ends.js';
import { FAULTS, response, type Fault, type FaultName } from './faults.js';
import { Listener } from './listener.js';

export { FAULTS, faultTable, type Expectation, type Fault, type FaultName } from './faults.js';

const pem = (file: string) => readFileSync(new URL(`./certs/${file}`, import.meta.url), 'utf8');

/** The CA to trust (`ca`), and a client certificate of it with its key. */
export const CERTIFICATES = { ca: pem('ca.pem'), clientCert: pem('client.pem'), clientKey: pem('client.key') };

export interface FaultServerOptions {
  /** Serves over TLS with a valid certificate. Faults with a `scheme` ignore it. Default `false`. */
  tls?: boolean;
  /** Applies the fault to each n-th connection or request (by its level); the others get good answers. Default 1: each. */
  every?: number;
  /** Number of times that the fault occurs. Default: no limit. */
  times?: number;
  /** Restricts a fault at request level, and the count for `every`, to this method. Default: both. */
  method?: 'GET' | 'POST';
  /** Keeps the raw bytes of each request in `requests`. Default `false`. */
  record?: boolean;
}

/** A request that was read completely. */
export interface ReadRequest {
  method: string;
  path: string;
  /** Headers in their order, with names as written. */
  headers: [name: string, value: string][];
  body: string;
  /** The raw bytes of the request. */
  raw: Buffer;
}

/**
 * A gateway on loopback with configurable faults. A message counts as *sent* when its POST has been read completely,
 * regardless of the answer; `reads` counts the sends of each message.
 *
 * Events to wait for with `once` of `node:events`: `connection` (accepted), `read` (a request was read whole), `disconnect`.
 */
export class FaultServer extends EventEmitter<{ connection: []; read: [ReadRequest]; disconnect: [] }> {
  /** Number of POSTs read completely, on any path. */
  postsRead = 0;
  /** Number of status requests read completely. */
  getsRead = 0;
  /** Number of connections accepted since the start. */
  accepted = 0;
  /** Number of completely read POSTs for each msisdn. */
  readonly reads = new Map<string, number>();
  /** Messages by the uids that were answered, including answers that a client could not read. */
  readonly messages = new Map<string, { msisdn: string; text: string }>();
  /** The requests read, if `record` is on. */
  readonly requests: ReadRequest[] = [];
  /** The CA that the client has to trust. */
  readonly ca = CERTIFICATES.ca;
  private turns = 0;
  private readonly idle = new Map<Socket, Socket>();
  private peer!: Listener | DeadEnd;

  private constructor(
    readonly fault: Fault,
    private readonly options: FaultServerOptions,
  ) {
    super();
  }

  static async start(name: FaultName, options: FaultServerOptions = {}): Promise<FaultServer> {
    const fault = FAULTS.find((candidate) => candidate.name === name)!;
    const server = new FaultServer(fault, options);
    if (fault.level !== 'address') server.peer = await Listener.open((tcp) => server.accept(tcp));
    else if (options.every !== undefined || options.times !== undefined)
      throw new Error(`${name} cannot be mixed with health`);
    else server.peer = await fault.reach();
    return server;
  }

  /** URL for sending (§1.3), with the address instead of a name. */
  get url(): string {
    return `${this.secure ? 'https' : 'http'}://${this.peer.host}/api/v2/send_message`;
  }

  /** Connections open now. */
  get connections(): number {
    return this.peer instanceof Listener ? this.peer.connections : 0;
  }

  /** The msisdns of messages that were sent more than once. */
  get twice(): string[] {
    return [...this.reads].flatMap(([msisdn, reads]) => (reads > 1 ? [msisdn] : []));
  }

  /**
   * Closes the connections that served a request and have not begun another. The FIN or RST has left when this returns, so
   * that a client in this process cannot have seen it if it sends in the same turn of the event loop. Returns how many they were.
   */
  closeIdle(how: 'fin' | 'rst' = 'fin'): number {
    const count = this.idle.size;
    for (const tcp of this.idle.values()) {
      // end() would shut down only in a later turn.
      if (how === 'rst') tcp.resetAndDestroy();
      else tcp.destroy();
    }
    this.idle.clear();
    return count;
  }

  async close(): Promise<void> {
    await this.peer.close();
  }

  private get secure(): boolean {
    return this.fault.scheme === undefined ? this.options.tls === true : this.fault.scheme === 'https';
  }

  private accept(tcp: Socket) {
    this.accepted++;
    tcp.once('close', () => this.emit('disconnect'));
    const connection = {
      tcp,
      serve: () => this.serve(tcp, tcp),
      secure: (certificate: string, options?: TlsOptions) => this.shakeHands(tcp, certificate, options),
    };
    if (this.fault.level === 'connection' && this.isFaultsTurn()) this.fault.accept(connection);
    else if (this.secure) connection.secure('localhost');
    else connection.serve();
    this.emit('connection');
  }

  private isFaultsTurn(): boolean {
    const { every = 1, times = Infinity } = this.options;
    this.turns++;
    return this.turns % every === 0 && this.turns <= times * every;
  }

  private shakeHands(tcp: Socket, certificate: string, options: TlsOptions = {}) {
    const server = createTlsServer({
      cert: pem(`${certificate}.pem`),
      key: pem('server.key'),
      ca: this.ca,
      ...options,
    });
    server.on('secureConnection', (socket) =>
      this.serve(
        socket.on('error', () => {}),
        tcp,
      ),
    );
    server.emit('connection', tcp);
  }

  private serve(socket: Socket, tcp: Socket) {
    let unread = Buffer.alloc(0);
    socket.once('close', () => this.idle.delete(socket));
    socket.on('data', (bytes: Buffer) => {
      this.idle.delete(socket);
      unread = Buffer.concat([unread, bytes]);
      for (let request; !socket.destroyed && (request = takeRequest(unread));) {
        unread = unread.subarray(request.raw.length);
        this.handle(request, socket, tcp);
      }
    });
  }

  private handle(request: ReadRequest, socket: Socket, tcp: Socket) {
    const json = request.method === 'POST' ? this.take(request) : this.status(request);
    if (this.options.record) this.requests.push(request);
    this.idle.set(socket, tcp);
    const { fault, options } = this;
    // The target of a redirect is healthy, or a client that follows it would never reach it.
    const meant = request.path !== '/elsewhere' && (options.method ?? request.method) === request.method;
    if (fault.level === 'request' && meant && this.isFaultsTurn()) {
      fault.answer({ socket, json, reset: () => tcp.resetAndDestroy() });
    } else {
      socket.write(response('200 OK', json));
    }
    this.emit('read', request);
  }

  private take({ body }: ReadRequest): string {
    this.postsRead++;
    const { msisdn, text } = parse(body);
    this.reads.set(String(msisdn), (this.reads.get(String(msisdn)) ?? 0) + 1);
    const uid = newUid();
    this.messages.set(uid, { msisdn: String(msisdn), text: String(text) });
    return JSON.stringify({ result: { uid }, status: 'ok' });
  }

  private status({ path }: ReadRequest): string {
    this.getsRead++;
    const uid = path.slice(path.lastIndexOf('/') + 1);
    const message = this.messages.get(uid);
    if (!message) return JSON.stringify({ reason: 'transaction_not_found', status: 'error' });
    const now = Math.floor(Date.now() / 1000);
    const { msisdn, text } = message;
    const result = {
      created_at: now,
      msisdn: Number(msisdn),
      pdu_count: 1,
      status: 'delivered',
      text,
      uid,
      updated_at: now,
    };
    return JSON.stringify({ result, status: 'ok' });
  }
}

const HEAD_END = '\r\n\r\n';

/** The first request in the bytes, if it is complete. Content-Length gives the size of the body. */
function takeRequest(bytes: Buffer): ReadRequest | undefined {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const [requestLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const [method = '', path = ''] = requestLine.split(' ');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const length = Number(headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1] ?? 0);
  const bodyStart = headEnd + HEAD_END.length;
  if (bytes.length < bodyStart + length) return undefined;
  const raw = bytes.subarray(0, bodyStart + length);
  return { method, path, headers, body: raw.toString('utf8', bodyStart), raw };
}

function parse(body: string): { msisdn?: unknown; text?: unknown } {
  try {
    const json: { msisdn?: unknown; text?: unknown } | null = JSON.parse(body);
    return json ?? {};
  } catch {
    return {};
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const newUid = () =>
  `message-id-${Array.from({ length: 12 }, () => ALPHABET[Math.floor(Math.random() * ALPHABET.length)]).join('')}`;

/** Every fault, over TCP and over TLS where it can occur on both. */
export const FAULT_VARIANTS = FAULTS.flatMap((fault) =>
  fault.scheme || fault.level === 'address'
    ? [{ ...fault, over: fault.scheme === 'https' ? 'TLS' : 'TCP', tls: false }]
    : [
        { ...fault, over: 'TCP', tls: false },
        { ...fault, over: 'TLS', tls: true },
      ],
);
