import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A raw request, one byte per character. */
export interface RawRequest {
  method: string;
  target: string;
  /** Header lines, each with CR LF. */
  headers?: string;
  body?: string;
}

const BATCH = 50;
const CONNECTIONS = 8;

export const bytesOf = ({ method, target, headers = '', body = '' }: RawRequest) =>
  `${method} ${target} HTTP/1.1\r\nHost: shop.example\r\n${headers}${body && `Content-Length: ${body.length}\r\n`}\r\n${body}`;

/** Status codes of the complete answers at the beginning of these bytes, and the remaining bytes. */
function readAnswers(bytes: string, requests: readonly RawRequest[]): { statuses: number[]; rest: string } {
  const statuses: number[] = [];
  let rest = bytes;
  for (;;) {
    const head = rest.indexOf('\r\n\r\n');
    if (head < 0) return { statuses, rest };
    const headers = rest.slice(0, head + 2);
    const length = Number(/\r\ncontent-length: *(\d+)\r\n/i.exec(headers)?.[1] ?? 0);
    if (/\r\ntransfer-encoding:/i.test(headers)) throw new Error(`an answer in chunks: ${headers}`);
    const end = head + 4 + (requests[statuses.length]?.method === 'HEAD' ? 0 : length);
    if (rest.length < end) return { statuses, rest };
    statuses.push(Number(/^HTTP\/1\.1 (\d{3}) /.exec(headers)?.[1]));
    rest = rest.slice(end);
  }
}

/** Writes these requests at once and reads their answers; fewer if the server closes the connection before. */
async function exchange(socket: Socket, requests: readonly RawRequest[]): Promise<number[]> {
  let statuses: number[] = [];
  let unread = '';
  const done = new Promise<void>((resolve) => {
    socket.on('data', (data: string) => {
      const read = readAnswers(unread + data, requests.slice(statuses.length));
      statuses = [...statuses, ...read.statuses];
      unread = read.rest;
      if (statuses.length >= requests.length) resolve();
    });
    socket.once('close', () => resolve());
  });
  socket.write(requests.map(bytesOf).join(''), 'latin1');
  await done;
  socket.removeAllListeners('data').removeAllListeners('close');
  return statuses;
}

/** Sends requests over kept-alive connections, many at once on each. Returns the status codes, 0 for a missing answer. */
export async function sendAll(url: string, requests: readonly RawRequest[]): Promise<number[]> {
  const { hostname, port } = new URL(url);
  const statuses: number[] = Array.from({ length: requests.length });
  let next = 0;
  const worker = async () => {
    let socket: Socket | undefined;
    while (next < requests.length) {
      const from = next;
      const end = (next = Math.min(requests.length, next + BATCH));
      let at = from;
      // A request after a closed connection is sent alone, so that a missing answer can be attributed.
      let alone = false;
      while (at < end) {
        if (!socket || socket.destroyed) {
          socket = connect(Number(port), hostname)
            .setEncoding('latin1')
            .on('error', () => undefined);
          await once(socket, 'connect');
        }
        const wanted = requests.slice(at, alone ? at + 1 : end);
        const got = await exchange(socket, wanted);
        for (const status of got) statuses[at++] = status;
        if (got.length === 0 && alone) statuses[at++] = 0;
        alone = got.length < wanted.length;
      }
    }
    socket?.destroy();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  return statuses;
}

/** Sends these bytes and returns the answer up to the close by the server; the client does not close. */
export async function answerTo(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on('error', () => undefined);
  let answer = '';
  socket.setEncoding('latin1').on('data', (data: string) => (answer += data));
  socket.write(bytes, 'latin1');
  // once() is not used here, because a reset would make it fail.
  await new Promise((resolve) => socket.on('close', resolve));
  return answer;
}
