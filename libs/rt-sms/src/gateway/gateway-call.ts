import { setMaxListeners } from 'node:events';
import { safeCause } from '../redact.js';
import {
  MAY_HAVE_BEEN_SENT,
  RtSmsAbortedError,
  RtSmsConnectionError,
  RtSmsOverloadedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  type RtSmsError,
  type RtSmsErrorContext,
} from '../rt-sms.errors.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { CallEnd } from '../telemetry.js';
import { rejectsPassword, type AccountPassword } from './account-password.js';
import type { RatePermit, SendOptions } from './call-options.js';
import type { RateLimiter } from './rate-limiter.js';
import { RequestAttempt } from './request-attempt.js';
import { backoffMs, type RetryBudget } from './retry-policy.js';
import { TransportFailure } from './transport-failure.js';
import type { WireRequest } from './transport.js';
import { readRequestId, type GatewayAnswer } from './wire.js';

/** One call to the gateway: its request, its limits, and how its answer is read. */
export interface CallSpec<T extends CallEnd> {
  operation: 'send' | 'status';
  request: WireRequest;
  limits: SendOptions;
  /** Message of a status request. */
  uid?: string;
  /** Segments of the message of a send. */
  segments?: number;
  /** Values of the message that must not appear in an error. */
  confidential: readonly string[];
  /** `confidential` includes the secrets of the account. */
  read(
    answer: GatewayAnswer,
    context: RtSmsErrorContext,
    confidential: readonly string[],
    uid: string | undefined,
  ): T | RtSmsError;
}

/** The parts of the client that its calls share. */
export interface CallHost {
  readonly options: ResolvedOptions;
  readonly rate: RateLimiter | undefined;
  readonly budget: RetryBudget;
  readonly secrets: readonly string[];
  readonly password: Pick<AccountPassword, 'version' | 'refreshing' | 'confirm'>;
  hasOtherPassword(used: number): Promise<boolean>;
  request(request: WireRequest, attempt: RequestAttempt): Promise<GatewayAnswer>;
  onEnd(call: GatewayCall, end: CallEnd): void;
}

type StopReason = 'deadline' | 'expired' | 'aborted' | 'shutdown';

/** One call: attempts and the waits between them, under one deadline. It settles once, and nothing is sent afterwards. */
export class GatewayCall {
  readonly result: Promise<CallEnd>;
  /** Position in the client's list of calls. */
  index = -1;
  /** Set by the telemetry that measures the call. */
  onEnd: ((end: CallEnd) => void) | undefined;
  private resolve!: (value: CallEnd) => void;
  private reject!: (error: RtSmsError) => void;
  private readonly startedAt = performance.now();
  private readonly deadlineMs: number;
  private readonly signal: AbortSignal | undefined;
  private attempts = 0;
  /** Attempts with a rejected password that was then replaced. They do not count as retries. */
  private rejections = 0;
  private ended = false;
  /** The request in flight. */
  private current: RequestAttempt | undefined;
  /** Permit of the attempt in flight, or of the next one. */
  private permit: RatePermit | undefined;
  private deadline: NodeJS.Timeout | undefined;
  private expiry: NodeJS.Timeout | undefined;
  /** Cancels the wait for a permit or for the next attempt. */
  private cancelWait: (() => void) | undefined;
  private onAbort: (() => void) | undefined;

  constructor(
    private readonly client: CallHost,
    private readonly spec: CallSpec<CallEnd>,
  ) {
    const { operation, limits } = spec;
    this.deadlineMs = limits.timeoutMs ?? client.options.timeouts[`${operation}Ms`];
    this.signal = limits.signal;
    this.permit = limits.permit;
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** True if the request in flight may have left. */
  get started(): boolean {
    return this.current?.started ?? false;
  }

  begin(): void {
    const { signal, startableMs, deadlineMs } = this;
    if (signal?.aborted) return this.stop('aborted');
    if (startableMs <= 0) return this.stop('expired');
    this.deadline = setTimeout(stopAtDeadline, deadlineMs, this);
    if (startableMs < deadlineMs) this.expiry = setTimeout(() => this.started || this.stop('expired'), startableMs);
    if (signal) {
      // Many calls may share one signal, each with a listener until it ends: Node's warning would be wrong here.
      setMaxListeners(Infinity, signal);
      this.onAbort = () => this.stop('aborted');
      signal.addEventListener('abort', this.onAbort);
    }
    this.client.budget.earn();
    this.next();
  }

  /** Settles the caller at once, by the phase of the request, and prevents any later send. */
  stop(why: StopReason): void {
    if (this.ended) return;
    this.fail(this.stopError(why));
    this.cancelWait?.();
    this.current?.abandon();
    this.permit?.release();
  }

  /** Read at the end of a request, because the password may have changed since its start. */
  private get confidential(): readonly string[] {
    return [...this.spec.confidential, ...this.client.secrets];
  }

  private get durationMs(): number {
    return performance.now() - this.startedAt;
  }

  /** Milliseconds during which an attempt may still start. */
  private get startableMs(): number {
    return (this.spec.limits.startBefore ?? Infinity) - Date.now();
  }

  private next(): void {
    const { rate, password } = this.client;
    const { refreshing } = password;
    // With the current password the gateway would reject this request as well.
    if (refreshing && !this.permit) return void refreshing.then(() => this.ended || this.next());
    if (this.spec.operation === 'status' || !rate || this.permit) return void this.attempt();
    this.cancelWait = rate.acquire((permit) => {
      this.permit = permit;
      void this.attempt();
    });
  }

  private async attempt(): Promise<void> {
    this.attempts++;
    this.cancelWait = undefined;
    const { spec, client } = this;
    const attempt = (this.current = new RequestAttempt(this.permit, spec.limits.startBefore));
    attempt.passwordVersion = client.password.version;
    let value: CallEnd;
    try {
      const answer = await client.request(spec.request, attempt);
      if (this.ended) return;
      const confidential = this.confidential;
      value = spec.read(answer, this.context(readRequestId(answer, confidential)), confidential, spec.uid);
    } catch (error) {
      if (this.ended) return;
      value = this.toError(error, attempt.started);
    }
    this.current = undefined;
    this.permit?.release();
    this.permit = undefined;
    if (rejectsPassword(value)) return this.retryWithOtherPassword(value as RtSmsError, attempt.passwordVersion);
    if (!(value instanceof Error) || value.httpStatus === 200) client.password.confirm(attempt.passwordVersion);
    if (value instanceof Error) return this.retryOrFail(value);
    this.end(value);
    this.resolve(value);
  }

  /** Turns a failure without an answer into an error: by the phase of the request, never by an error code. */
  private toError(error: unknown, started: boolean): RtSmsError {
    const { message, cause, about } = error instanceof TransportFailure ? error : this.applicationFailure(error);
    const context = { ...this.context(), cause };
    if (started) return new RtSmsUnexpectedResponseError(message, context);
    if (about.overloaded) return new RtSmsOverloadedError(message, context);
    return new RtSmsConnectionError(`Nothing was sent: ${message}`, about.permanent ?? false, context);
  }

  private applicationFailure(error: unknown): TransportFailure {
    const cause = safeCause(error, this.confidential);
    const what = `an interceptor or adapter of the account's HttpService failed (${cause.message})`;
    return new TransportFailure(what, { cause, permanent: true });
  }

  /** Not one of the retries of `retry`: the gateway has not processed the rejected request (§1.5). */
  private async retryWithOtherPassword(error: RtSmsError, used: number): Promise<void> {
    const hasOther = await this.client.hasOtherPassword(used);
    if (this.ended) return;
    this.rejections++;
    if (hasOther) this.next();
    else this.fail(error);
  }

  private retryOrFail(error: RtSmsError): void {
    const retries = this.client.options.retry[this.spec.operation];
    // A host name that does not resolve gets one retry. An outage of the resolver has another code.
    const unresolved = (error.cause as { code?: string } | undefined)?.code === 'ENOTFOUND';
    const delayMs = backoffMs(this.attempts);
    const worthwhile =
      error.retryable &&
      !(error instanceof RtSmsOverloadedError) &&
      this.attempts - this.rejections <= (unresolved ? Math.min(1, retries) : retries) &&
      delayMs < Math.min(this.deadlineMs - this.durationMs, this.startableMs);
    if (!worthwhile || !this.client.budget.spend()) return this.fail(error);
    const timer = setTimeout(() => this.next(), delayMs);
    this.cancelWait = () => clearTimeout(timer);
  }

  private stopError(why: StopReason): RtSmsError {
    const { started, deadlineMs } = this;
    const { operation } = this.spec;
    const context = this.context();
    if (why === 'shutdown' && !started)
      return new RtSmsOverloadedError('Nothing was sent: the application is shutting down', context);
    const what = {
      deadline: `The deadline of ${deadlineMs} ms passed`,
      expired: 'The message expired',
      aborted: "The caller's signal ended the call",
      shutdown: 'The application shut down',
    }[why];
    const before = this.attempts === 0 ? 'before anything was sent' : 'before the request could be sent';
    const phase = started ? 'while waiting for the answer' : before;
    const advice = started && operation === 'send' ? MAY_HAVE_BEEN_SENT : '';
    const Type = why === 'aborted' || why === 'shutdown' ? RtSmsAbortedError : RtSmsTimeoutError;
    return new Type(`${what} ${phase}${advice}`, started ? 'unknown' : 'not_sent', context);
  }

  private fail(error: RtSmsError): void {
    this.end(error);
    this.reject(error);
  }

  private end(end: CallEnd): void {
    this.ended = true;
    clearTimeout(this.deadline);
    clearTimeout(this.expiry);
    if (this.onAbort) this.signal?.removeEventListener('abort', this.onAbort);
    this.client.onEnd(this, end);
  }

  private context(requestId?: string): RtSmsErrorContext {
    return {
      operation: this.spec.operation,
      account: this.client.options.account,
      attempts: this.attempts,
      durationMs: this.durationMs,
      requestId,
    };
  }
}

const stopAtDeadline = (call: GatewayCall) => call.stop('deadline');
