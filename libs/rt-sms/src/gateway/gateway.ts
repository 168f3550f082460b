import { setMaxListeners } from 'node:events';
import type { HttpService } from '@nestjs/axios';
import type { AxiosRequestConfig } from 'axios';
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
import type { CallEnd, Telemetry } from '../telemetry.js';
import type { AccountHttp } from './account-http.js';
import type { CallFacts, CallOptions, CheckedMessage, RateTicket, SendOptions } from './calls.js';
import { SlidingRate } from './rate.js';
import { backoffMs, RetryBudget } from './retry.js';
import { TransportFailure } from './transport-failure.js';
import { Exchange, type ExchangeConfig, type Transport, type WireRequest } from './transport.js';
import { readReport, readRequestId, readSent, sendBody, type GatewayAnswer, type SmsStatusReport } from './wire.js';

type Sent = CallFacts & { uid: string };

interface Question<T extends CallEnd> {
  operation: 'send' | 'status';
  request: WireRequest;
  limits: SendOptions;
  /** The message that is asked about. */
  uid?: string;
  /** What must not show in an error. */
  confidential: readonly string[];
  read(answer: GatewayAnswer, context: RtSmsErrorContext, question: Question<T>): T | RtSmsError;
}

/** What a started call that the end of the application cuts short may still take, in milliseconds. */
const GRACE_MS = 5_000;

/**
 * The two requests of the provider's API, each with one total deadline, retries of what provably never left, and one kind
 * of error. `send` and `status` reject with nothing but `RtSmsError`s.
 */
export class Gateway {
  readonly rate: SlidingRate | undefined;
  readonly budget = new RetryBudget();
  /** Not settled yet, in no order. No Set, for the reason that the transport's queue is none. */
  private readonly calls: Call[] = [];
  private readonly path: string;
  private stopping: Promise<void> | undefined;

  constructor(
    readonly options: ResolvedOptions,
    private readonly http: HttpService,
    private readonly transport: Transport,
    private readonly telemetry?: Telemetry,
    /** Told how each call ended: an error, or nothing for a success. */
    private readonly learn: (error?: RtSmsError) => void = () => undefined,
  ) {
    this.path = options.url.pathname.replace(/\/$/, '');
    this.rate = options.rate && new SlidingRate(options.rate.perSecond);
  }

  /** What no answer and no callback may repeat, whatever they are about. */
  get secrets(): readonly string[] {
    const { login, callback } = this.options;
    return [login, ...callback.secrets, ...this.transport.secrets];
  }

  /** `POST` of a message (§2.1). */
  send(message: CheckedMessage, limits: SendOptions = {}): Promise<Sent> {
    return this.call({
      operation: 'send',
      request: { method: 'POST', path: this.path || '/', body: sendBody(message) },
      limits,
      confidential: [message.text, message.msisdn, ...this.secrets],
      read: sentUid,
    });
  }

  /** Calls back once a send may start under `rate`; the returned function gives the place up. */
  slot(go: (ticket: RateTicket | undefined) => void): () => void {
    if (this.rate) return this.rate.wait(go);
    go(undefined);
    return () => undefined;
  }

  /** `GET` of a message's status (§2.2); `uid` in its one form. */
  status(uid: string, limits: CallOptions = {}): Promise<SmsStatusReport> {
    return this.call({
      operation: 'status',
      request: { method: 'GET', path: `${this.path}/${encodeURIComponent(uid)}` },
      limits,
      uid,
      confidential: this.secrets,
      read: report,
    });
  }

  /** Takes no more, lets what has left finish (5 s at most) and settles the rest honestly. */
  stop(): Promise<void> {
    return (this.stopping ??= this.end());
  }

  /** The same, and closes the connections. */
  async close(): Promise<void> {
    await this.stop();
    await this.transport.close();
  }

  private async end(): Promise<void> {
    this.budget.close();
    const left = this.calls.slice();
    for (const call of left) if (!call.started) call.stop('ending');
    const grace = setTimeout(() => left.forEach((call) => call.stop('ending')), GRACE_MS);
    await Promise.allSettled(left.map((call) => call.result));
    clearTimeout(grace);
  }

  private call<T extends CallEnd>(question: Question<T>): Promise<T> {
    const call = new Call(this, question);
    const instruments = this.telemetry?.on;
    if (instruments) instruments.call(question.operation, call, () => this.begin(call));
    else this.begin(call);
    return call.result as Promise<T>;
  }

  private begin(call: Call): void {
    call.place = this.calls.push(call) - 1;
    if (this.stopping) call.stop('ending');
    else call.begin();
  }

  /** A call has ended. */
  ended(call: Call, end: CallEnd): void {
    const last = this.calls.pop()!;
    if (last !== call) this.calls[(last.place = call.place)] = last;
    call.onEnd?.(end);
    this.learn(end instanceof Error ? end : undefined);
  }

  /** Calls that have not ended. */
  get inFlight(): number {
    return this.calls.length;
  }

  /** One request. Past axios, if nothing of the user's can be in it. */
  ask(request: WireRequest, exchange: Exchange): Promise<GatewayAnswer> {
    const { untouched } = this.http as Partial<AccountHttp>;
    if (untouched) return this.transport.exchange(request, exchange);
    // A stand-in for the whole HttpService: what fails in it may have been sent.
    if (untouched === undefined) exchange.start('foreign');
    return this.askThroughAxios(request, exchange);
  }

  private askThroughAxios({ method, path, body }: WireRequest, exchange: Exchange): Promise<GatewayAnswer> {
    const { adapter } = this.transport;
    const config: AxiosRequestConfig & ExchangeConfig = {
      method,
      url: this.options.url.origin + path,
      ...(body ? { data: body } : {}),
      rtSmsExchange: exchange,
      validateStatus: null,
      // Runs after the interceptors: whatever another adapter than the transport's does, it tells no phases.
      transformRequest(data: unknown) {
        if (this.adapter !== adapter) exchange.start('foreign');
        return data;
      },
    };
    return this.http.axiosRef.request<unknown>(config);
  }
}

function sentUid(
  answer: GatewayAnswer,
  context: RtSmsErrorContext,
  { confidential }: Question<Sent>,
): Sent | RtSmsError {
  const uid = readSent(answer, context, confidential);
  if (typeof uid !== 'string') return uid;
  const { attempts = 0, requestId } = context;
  return requestId === undefined ? { uid, attempts } : { uid, attempts, requestId };
}

const report: Question<SmsStatusReport>['read'] = (answer, context, { uid = '', confidential }) =>
  readReport(answer, uid, context, confidential);

type Stop = 'deadline' | 'late' | 'aborted' | 'ending';

/** One call: attempts and the waits between them, under one deadline. It settles once, and nothing is sent afterwards. */
class Call {
  readonly result: Promise<CallEnd>;
  /** Among the gateway's calls. */
  place = -1;
  /** Whoever measures it. */
  onEnd: ((end: CallEnd) => void) | undefined;
  private resolve!: (value: CallEnd) => void;
  private reject!: (error: RtSmsError) => void;
  private readonly startedAt = performance.now();
  private readonly deadlineMs: number;
  private readonly signal: AbortSignal | undefined;
  private attempts = 0;
  private ended = false;
  /** The request on its way, while there is one. */
  private exchange: Exchange | undefined;
  /** For the next attempt, or of the one on its way. */
  private ticket: RateTicket | undefined;
  private deadline: NodeJS.Timeout | undefined;
  private lateness: NodeJS.Timeout | undefined;
  /** Gives up the wait for the rate or for the next attempt. */
  private leaveWait: (() => void) | undefined;
  private onAbort: (() => void) | undefined;

  constructor(
    private readonly gateway: Gateway,
    private readonly question: Question<CallEnd>,
  ) {
    const { operation, limits } = question;
    this.deadlineMs = limits.timeoutMs ?? gateway.options.timeouts[`${operation}Ms`];
    this.signal = limits.signal;
    this.ticket = limits.ticket;
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** The request may have been sent. */
  get started(): boolean {
    return this.exchange?.started ?? false;
  }

  begin(): void {
    const { signal, startableMs, deadlineMs } = this;
    if (signal?.aborted) return this.stop('aborted');
    if (startableMs <= 0) return this.stop('late');
    this.deadline = setTimeout(pastDeadline, deadlineMs, this);
    if (startableMs < deadlineMs) this.lateness = setTimeout(() => this.started || this.stop('late'), startableMs);
    if (signal) {
      // Many calls may share a signal; that each has a listener on it while it lasts is no leak to warn of.
      setMaxListeners(Infinity, signal);
      this.onAbort = () => this.stop('aborted');
      signal.addEventListener('abort', this.onAbort);
    }
    this.gateway.budget.earn();
    this.next();
  }

  private get durationMs(): number {
    return performance.now() - this.startedAt;
  }

  /** For so long an attempt may start. */
  private get startableMs(): number {
    return (this.question.limits.startBefore ?? Infinity) - Date.now();
  }

  private next(): void {
    const { rate } = this.gateway;
    if (this.question.operation === 'status' || !rate || this.ticket) return void this.attempt();
    this.leaveWait = rate.wait((ticket) => {
      this.ticket = ticket;
      void this.attempt();
    });
  }

  private async attempt(): Promise<void> {
    this.attempts++;
    this.leaveWait = undefined;
    const exchange = (this.exchange = new Exchange(this.ticket, this.question.limits.startBefore));
    let value: CallEnd;
    try {
      const answer = await this.gateway.ask(this.question.request, exchange);
      if (this.ended) return;
      value = this.question.read(
        answer,
        this.context(readRequestId(answer, this.question.confidential)),
        this.question,
      );
    } catch (error) {
      if (this.ended) return;
      value = this.explain(error, exchange.started);
    }
    // Answered or failed: nothing is on its way now.
    this.exchange = undefined;
    this.ticket?.giveBack();
    this.ticket = undefined;
    if (value instanceof Error) return this.failed(value);
    this.end(value);
    this.resolve(value);
  }

  /** The one place where a failure without an answer becomes an error: by phase, never by code. */
  private explain(error: unknown, started: boolean): RtSmsError {
    const { message, cause, about } = error instanceof TransportFailure ? error : this.foreign(error);
    const context = { ...this.context(), cause };
    if (started) return new RtSmsUnexpectedResponseError(message, context);
    if (about.overloaded) return new RtSmsOverloadedError(message, context);
    return new RtSmsConnectionError(`Nothing was sent: ${message}`, about.permanent ?? false, context);
  }

  private foreign(error: unknown): TransportFailure {
    const cause = safeCause(error, this.question.confidential);
    const what = `an interceptor or adapter of the account's HttpService failed (${cause.message})`;
    return new TransportFailure(what, { cause, permanent: true });
  }

  private failed(error: RtSmsError): void {
    const retries = this.gateway.options.retry[this.question.operation];
    // A name that does not resolve is asked for once more; an outage of the resolver has another code.
    const unresolved = (error.cause as { code?: string } | undefined)?.code === 'ENOTFOUND';
    const delayMs = backoffMs(this.attempts);
    const worthwhile =
      error.retryable &&
      !(error instanceof RtSmsOverloadedError) &&
      this.attempts <= (unresolved ? Math.min(1, retries) : retries) &&
      delayMs < Math.min(this.deadlineMs - this.durationMs, this.startableMs);
    if (!worthwhile || !this.gateway.budget.spend()) return this.fail(error);
    const timer = setTimeout(() => this.next(), delayMs);
    this.leaveWait = () => clearTimeout(timer);
  }

  /** Settles the caller now, by phase, and sees to it that nothing is sent later. */
  stop(why: Stop): void {
    if (this.ended) return;
    this.fail(this.stopped(why));
    this.leaveWait?.();
    this.exchange?.abandon();
    this.ticket?.giveBack();
  }

  private stopped(why: Stop): RtSmsError {
    const { started, deadlineMs } = this;
    const { operation } = this.question;
    const context = this.context();
    if (why === 'ending' && !started)
      return new RtSmsOverloadedError('Nothing was sent: the application is ending', context);
    const what = {
      deadline: `The deadline of ${deadlineMs} ms passed`,
      late: 'Its time was over',
      aborted: "The caller's signal ended the call",
      ending: 'The application ended',
    }[why];
    const before = this.attempts === 0 ? 'before anything was sent' : 'before it could be sent (again)';
    const phase = started ? 'while waiting for the answer' : before;
    const advice = started && operation === 'send' ? MAY_HAVE_BEEN_SENT : '';
    const Type = why === 'aborted' || why === 'ending' ? RtSmsAbortedError : RtSmsTimeoutError;
    return new Type(`${what} ${phase}${advice}`, started ? 'unknown' : 'not_sent', context);
  }

  private fail(error: RtSmsError): void {
    this.end(error);
    this.reject(error);
  }

  private end(end: CallEnd): void {
    this.ended = true;
    clearTimeout(this.deadline);
    clearTimeout(this.lateness);
    if (this.onAbort) this.signal?.removeEventListener('abort', this.onAbort);
    this.gateway.ended(this, end);
  }

  private context(requestId?: string): RtSmsErrorContext {
    return {
      operation: this.question.operation,
      account: this.gateway.options.account,
      attempts: this.attempts,
      durationMs: this.durationMs,
      requestId,
    };
  }
}

const pastDeadline = (call: Call) => call.stop('deadline');
