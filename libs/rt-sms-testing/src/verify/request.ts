import http from 'node:http';
import https from 'node:https';

export interface VerifyRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer | undefined;
}

/** A complete answer. */
export interface VerifyAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** The gateway could not be reached, so no row can be checked. */
export class UnreachableError extends Error {}

/** The gateway was reached, but its answer is missing, incomplete or not HTTP. The message ends a sentence about the row. */
export class NoAnswerError extends Error {}

const MAX_BODY_BYTES = 1_048_576;

/**
 * Sends one request over a new connection, and does not follow redirects.
 *
 * @throws UnreachableError if the connection could not be opened
 * @throws NoAnswerError if it was opened, and no complete answer came within `timeoutMs`
 */
export async function sendRequest(request: VerifyRequest, timeoutMs: number): Promise<VerifyAnswer> {
  const { url, method, headers, body } = request;
  const client = url.protocol === 'https:' ? https : http;
  let isConnected = false;
  let isLate = false;
  // agent: false opens a connection for each request: what is left of a broken answer must not reach the next row.
  const call = client.request(url, { method, headers, agent: false });
  call.on('socket', (socket) => {
    socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => (isConnected = true));
  });
  const deadline = setTimeout(() => {
    isLate = true;
    call.destroy(new Error('late'));
  }, timeoutMs);
  try {
    return await new Promise((resolve, reject) => {
      call.once('error', reject);
      call.once('response', (response) => void readAll(response).then(resolve, reject));
      call.end(body);
    });
  } catch (error) {
    if (error instanceof NoAnswerError) throw error;
    // Only the code: other parts of a message could quote what the gateway sent.
    const code = String((error as NodeJS.ErrnoException).code ?? 'no code');
    const problem = isLate ? `within ${timeoutMs / 1000} s` : `(${code})`;
    if (!isConnected) throw new UnreachableError(`no connection ${problem}`, { cause: error });
    if (isLate) throw new NoAnswerError(`no complete answer ${problem}`, { cause: error });
    const what = code.startsWith('HPE_')
      ? 'an answer that is not HTTP'
      : 'the connection ended without a complete answer';
    throw new NoAnswerError(`${what} ${problem}`, { cause: error });
  } finally {
    clearTimeout(deadline);
    call.destroy();
  }
}

async function readAll(response: http.IncomingMessage): Promise<VerifyAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new NoAnswerError('an answer of more than 1 MiB');
  }
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}
