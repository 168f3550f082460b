import http from 'node:http';
import https from 'node:https';

/** Result of one GET: the HTTP status of its response, or the reason why there was none. */
export type CallbackOutcome = { readonly code: number } | { readonly error: string };

const CONCURRENCY = 50;
/** Shorter than any server's keep-alive, so that no callback is written to a connection that the server is closing. */
const IDLE_MS = 1_000;

/** Sends callbacks (§3.1): each one once, regardless of the response; redirects are not followed. */
export class CallbackClient {
  readonly #timeoutMs: number;
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, timeout: IDLE_MS }),
    'https:': new https.Agent({ keepAlive: true, timeout: IDLE_MS }),
  };
  readonly #inFlight = new Set<http.ClientRequest>();
  #waiting: (() => void)[] = [];
  /** Index of the first waiting entry in `#waiting`; shifting a long array for every callback would be quadratic. */
  #head = 0;
  #closed = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Never rejects. Waits until fewer than 50 requests are in flight; the time-out runs from the start of the request. */
  get(url: string): Promise<CallbackOutcome> {
    return new Promise((resolve) => {
      const start = () => (this.#closed ? resolve({ error: 'the simulator was closed' }) : this.#start(url, resolve));
      if (this.#inFlight.size < CONCURRENCY) start();
      else this.#waiting.push(start);
    });
  }

  close(): void {
    this.#closed = true;
    for (let start = this.#next(); start; start = this.#next()) start();
    for (const request of this.#inFlight) request.destroy(new Error('the simulator was closed'));
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }

  #start(url: string, resolve: (outcome: CallbackOutcome) => void): void {
    const request =
      new URL(url).protocol === 'https:'
        ? https.get(url, { agent: this.#agents['https:'] })
        : http.get(url, { agent: this.#agents['http:'] });
    this.#inFlight.add(request);
    const deadline = setTimeout(
      () => request.destroy(new Error(`no answer within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    ).unref();
    let outcome: CallbackOutcome = { error: 'the connection was closed without an answer' };
    request.on('response', (response) => {
      outcome = { code: response.statusCode ?? 0 };
      response.on('error', () => undefined).resume();
    });
    request.on('error', (error) => (outcome = 'code' in outcome ? outcome : { error: error.message }));
    request.on('close', () => {
      clearTimeout(deadline);
      this.#inFlight.delete(request);
      resolve(outcome);
      this.#next()?.();
    });
  }

  #next(): (() => void) | undefined {
    const next = this.#waiting[this.#head];
    if (next) this.#head += 1;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    }
    return next;
  }
}
