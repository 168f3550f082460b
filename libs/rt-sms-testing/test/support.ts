import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RtSmsSimulator } from '../src/index.js';

export interface Reply {
  readonly status: number;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

export const SMS = { msisdn: '79270000001', shortcode: 'AVARIA', text: 'Привет' };

export function basic(login = 'simulator', password = 'secret'): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}` };
}

/** Sends one request over a new connection (or `agent`); rejects if the answer is incomplete. */
export async function call(
  url: string,
  options: http.RequestOptions & { readonly body?: string | Buffer } = {},
): Promise<Reply> {
  const { body, ...rest } = options;
  const request = http.request(url, { agent: false, ...rest });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    httpVersion: response.httpVersion,
    rawHeaders: response.rawHeaders,
    headers: response.headers,
    text: Buffer.concat(chunks).toString(),
  };
}

export function post(
  gateway: RtSmsSimulator,
  body: unknown,
  headers: http.OutgoingHttpHeaders = basic(),
): Promise<Reply> {
  return call(gateway.url, {
    method: 'POST',
    headers,
    body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
  });
}

/** Sends a message and returns its uid. */
export async function send(gateway: RtSmsSimulator, sms: object = SMS): Promise<string> {
  const { text } = await post(gateway, sms);
  return (JSON.parse(text) as { result: { uid: string } }).result.uid;
}

export function get(gateway: RtSmsSimulator, uid: string, headers: http.OutgoingHttpHeaders = basic()): Promise<Reply> {
  return call(`${gateway.url}/${uid}`, { headers });
}

/** The `result` of a status request. */
export async function statusOf(gateway: RtSmsSimulator, uid: string): Promise<Record<string, unknown>> {
  return (JSON.parse((await get(gateway, uid)).text) as { result: Record<string, unknown> }).result;
}

/** A user's server that receives callbacks. */
export class Receiver {
  /** Paths with their queries, in the order of arrival. */
  readonly seen: string[] = [];
  readonly #server: http.Server;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  private constructor(answer: http.RequestListener) {
    this.#server = http.createServer((request, response) => {
      this.seen.push(request.url ?? '');
      for (const { resolve } of this.#waiting.filter(({ count }) => count <= this.seen.length)) resolve();
      answer(request, response);
    });
  }

  static async start(answer: http.RequestListener = (_, response) => response.end('ok')): Promise<Receiver> {
    const receiver = new Receiver(answer);
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/callback`;
  }

  /** Received statuses, in order. */
  get statuses(): (string | null)[] {
    return this.queries.map((query) => query.get('status'));
  }

  get queries(): URLSearchParams[] {
    return this.seen.map((path) => new URL(path, 'http://x').searchParams);
  }

  /** Resolves after `count` callbacks have arrived. */
  async count(count: number): Promise<void> {
    if (this.seen.length >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
