import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { call, type Reply } from './support.js';

/** A request and the answer of the simulator, which follows the document. */
export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly reply: Reply;
  /** `reason` in the answer. */
  readonly reason: string | undefined;
  /** The answer has a uid: the message was accepted. */
  readonly accepted: boolean;
  /** The answer describes a message. */
  readonly described: boolean;
}

/** An answer in place of the simulator's. */
export interface Changed {
  readonly status?: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string | Buffer;
  /** `half`: half of the body, then FIN; `reset`: RST in place of the answer. */
  readonly ends?: 'half' | 'reset';
}

/** A gateway that answers like the simulator behind it, except where `change` says otherwise. */
export class DeviatingGateway {
  change: (exchange: Exchange) => Changed | undefined = () => undefined;
  readonly seen: Exchange[] = [];
  readonly #server: http.Server;

  private constructor(upstream: string) {
    this.#server = http.createServer((request, response) => void this.#answer(upstream, request, response));
  }

  static async start(upstream: string): Promise<DeviatingGateway> {
    const gateway = new DeviatingGateway(upstream);
    gateway.#server.listen(0, '127.0.0.1');
    await once(gateway.#server, 'listening');
    return gateway;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api/v2/send_message`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(upstream: string, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url: path = '', headers } = request;
    const body = Buffer.concat(chunks);
    const { host: _, ...rest } = headers;
    const reply = await call(new URL(path, upstream).href, { method, headers: rest, body });
    const json = reply.text.startsWith('{') ? (JSON.parse(reply.text) as Record<string, unknown>) : {};
    const result = (json['result'] ?? {}) as Record<string, unknown>;
    const exchange: Exchange = {
      method,
      path,
      headers,
      body: body.toString(),
      reply,
      reason: json['reason'] as string | undefined,
      accepted: result['uid'] !== undefined && result['status'] === undefined,
      described: result['status'] !== undefined,
    };
    this.seen.push(exchange);
    const { status = reply.status, type, headers: more = {}, text = reply.text, ends } = this.change(exchange) ?? {};
    if (ends === 'reset') {
      request.socket.resetAndDestroy();
      return;
    }
    const bytes = Buffer.from(text as string);
    const head: Record<string, string> = {
      'content-type': type ?? reply.headers['content-type'] ?? '',
      'content-length': String(bytes.length),
      'x-request-id': String(reply.headers['x-request-id']),
      ...more,
    };
    if (head['x-request-id'] === '') delete head['x-request-id'];
    response.writeHead(status, head);
    if (ends === 'half') response.write(bytes.subarray(0, bytes.length >> 1), () => request.socket.destroySoon());
    else response.end(bytes);
  }
}
