import type { Dispatcher } from 'undici';
import { safeCause } from '../redact.js';
import type { RequestAttempt } from './request-attempt.js';
import { TransportFailure } from './transport-failure.js';
import type { GatewayAnswer } from './wire.js';

/** Largest answer that is read, in bytes. The gateway's answers have a few hundred. */
const MAX_ANSWER_BYTES = 256 * 1024;

/** The part of the transport that a request uses. */
export interface RequestPool {
  readonly pool: Dispatcher;
  readonly secrets: readonly string[];
  /** Gives the request's connection to the next one. */
  release(): void;
  /** Removes the request from the queue for a connection. */
  dequeue(request: PoolRequest): void;
  connectionFailure(error: unknown): TransportFailure;
}

export const abandonedFailure = () => new TransportFailure('abandoned before it was sent');
export const dispatch = (request: PoolRequest) => request.dispatch();

/**
 * One request from the queue for a connection to the end of its answer, as a handler for undici. It creates no closures,
 * which guards the bar of `send ÷ @nestjs/axios`: V8 may treat closures as long-lived, and then everything that they
 * reference stays until the next full garbage collection.
 */
export class PoolRequest implements Dispatcher.DispatchHandler {
  private status = 0;
  private headers: Record<string, unknown> = {};
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private redispatched = false;
  private controller: Dispatcher.DispatchController | undefined;

  constructor(
    private readonly transport: RequestPool,
    private readonly options: Dispatcher.DispatchOptions,
    readonly attempt: RequestAttempt,
    private readonly resolve: (answer: GatewayAnswer) => void,
    private readonly reject: (failure: TransportFailure) => void,
  ) {}

  dispatch(): void {
    this.transport.pool.dispatch(this.options, this);
  }

  cancel(): void {
    if (this.controller) return this.controller.abort(new TransportFailure('abandoned while waiting for the answer'));
    this.transport.dequeue(this);
    this.reject(abandonedFailure());
  }

  /** Called by undici before the first byte of the request is written. If this throws, nothing is sent. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { attempt } = this;
    // Checked again here: in a busy event loop this may run before the timer that would have abandoned the request.
    if (attempt.expired) throw abandonedFailure();
    // Neither undici nor an interceptor that repeats requests may write this one twice.
    if (attempt.written) throw new TransportFailure('it was about to be sent a second time');
    attempt.start('written');
    this.controller = controller;
    attempt.canceller = this;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > MAX_ANSWER_BYTES)
      controller.abort(new TransportFailure(`it is longer than ${MAX_ANSWER_BYTES} bytes`));
    else this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.end();
    const data = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    this.resolve({ status: this.status, headers: this.headers, data: data.toString('utf8') });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (error instanceof TransportFailure) return this.fail(error);
    if (!this.attempt.written) {
      if (this.redispatched) return this.fail(this.transport.connectionFailure(error));
      // A kept-alive connection had closed when it was picked. The request gets another one, in the next turn of the event
      // loop: by then undici has noticed all connections that closed with it.
      this.redispatched = true;
      setImmediate(dispatch, this);
      return;
    }
    const cause = safeCause(error, this.transport.secrets);
    this.fail(new TransportFailure(`the connection was lost after the request had left: ${cause.message}`, { cause }));
  }

  private fail(failure: TransportFailure): void {
    this.end();
    this.reject(failure);
  }

  private end(): void {
    this.controller = undefined;
    this.attempt.canceller = undefined;
    this.transport.release();
  }
}
