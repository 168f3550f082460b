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
import type { ResolvedOptions } from '../rt-sms.options.js';
import type { CallEnd, Telemetry } from '../telemetry.js';
import type { AccountHttp } from './account-http.js';
import type { CallFacts, CallOptions, CheckedMessage, RateTicket, SendOptions } from './calls.js';
import { SlidingRate } from './rate.js';
import { backoffMs, RetryBudget } from './retry.js';
import { Exchange, TransportFailure, type ExchangeConfig, type Transport, type WireRequest } from './transport.js';
import { readReport, readSent, sendBody, type GatewayAnswer, type SmsStatusReport } from './wire.js';

type Answer = GatewayAnswer & { headers: Record<string, unknown> };

interface Question<T extends CallEnd> {
  operation: 'send' | 'status';
  request: WireRequest;
  deadlineMs: number;
  retries: number;
  /** For the first attempt, which need not wait for the rate then. */
  ticket?: RateTicket | undefined;
  startBefore?: number | undefined;
  signal: AbortSignal | undefined;
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
  private readonly calls: Going[] = [];
  private readonly path: string;
  private readonly secrets: readonly string[];
  private closing: Promise<void> | undefined;

  constructor(
    readonly options: ResolvedOptions,
    private readonly http: HttpService,
    private readonly transport: Transport,
    private readonly telemetry?: Telemetry,
    /** Told how each call ended: an error, or nothing for a success. */
    private readonly learn: (error?: RtSmsError) => void = () => undefined,
  ) {
    this.secrets = transport.secrets;
    this.path = options.url.pathname.replace(/\/$/, '');
    this.rate = options.rate && new SlidingRate(options.rate.perSecond);
  }

  /** `POST` of a message (§2.1). */
  send(message: CheckedMessage, limits: SendOptions = {}): Promise<CallFacts & { uid: string }> {
    const { timeouts, retry } = this.options;
    return this.call({
      operation: 'send',
      request: { method: 'POST', path: this.path || '/', body: sendBody(message) },
      ticket: limits.ticket,
      startBefore: limits.startBefore,
      deadlineMs: limits.timeoutMs ?? timeouts.sendMs,
      retries: retry.send,
      signal: limits.signal,
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
    const { timeouts, retry } = this.options;
    return this.call({
      operation: 'status',
      request: { method: 'GET', path: `${this.path}/${encodeURIComponent(uid)}` },
      deadlineMs: limits.timeoutMs ?? timeouts.statusMs,
      retries: retry.status,
      signal: limits.signal,
      uid,
      confidential: this.secrets,
      read: report,
    });
  }

  /** Takes no more, lets what has left finish (5 s at most), settles the rest honestly and closes the connections. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      this.budget.close();
      for (const call of this.calls.slice()) if (!call.started) call.stop('ending');
      const left = Promise.allSettled(this.calls.map((call) => call.result));
      let timer: NodeJS.Timeout | undefined;
      const grace = new Promise((resolve) => (timer = setTimeout(resolve, GRACE_MS)));
      await Promise.race([left, grace]);
      clearTimeout(timer);
      for (const call of this.calls.slice()) call.stop('ending');
      await this.transport.close();
    })();
    return this.closing;
  }

  private call<T extends CallEnd>(question: Question<T>): Promise<T> {
    const call = new Call(this, question);
    const instruments = this.telemetry?.on;
    if (instruments) instruments.call(question.operation, call, () => this.begin(call));
    else this.begin(call);
    return call.result;
  }

  private begin(call: Going): void {
    call.place = this.calls.push(call) - 1;
    if (this.closing) call.stop('ending');
    else call.begin();
  }

  /** A call has ended. */
  ended(call: Going, end: CallEnd): void {
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
  ask(request: WireRequest, exchange: Exchange): Promise<Answer> {
    return (this.http as Partial<AccountHttp>).untouched
      ? this.transport.exchange(request, exchange)
      : this.askThroughAxios(request, exchange);
  }

  private async askThroughAxios({ method, path, body }: WireRequest, exchange: Exchange): Promise<Answer> {
    // A stand-in for the whole HttpService: what fails in it may have been sent.
    if ((this.http as Partial<AccountHttp>).untouched === undefined) exchange.start('foreign');
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
  { confidential }: Question<CallFacts & { uid: string }>,
): (CallFacts & { uid: string }) | RtSmsError {
  const uid = readSent(answer, context, confidential);
  if (typeof uid !== 'string') return uid;
  const { attempts = 0, requestId } = context;
  return requestId === undefined ? { uid, attempts } : { uid, attempts, requestId };
}

const report: Question<SmsStatusReport>['read'] = (answer, context, { uid = '', confidential }) =>
  readReport(answer, uid, context, confidential);

type Stop = 'deadline' | 'late' | 'aborted' | 'ending';
/** Any call. */
type Going = Pick<Call<CallEnd>, 'place' | 'started' | 'result' | 'stop' | 'begin' | 'onEnd'>;

/** One call: attempts and the waits between them, under one deadline. It settles once, and nothing is sent afterwards. */
class Call<T extends CallEnd> {
  readonly result: Promise<T>;
  /** Among the gateway's calls. */
  place = -1;
  /** Whoever measures it. */
  onEnd: ((end: CallEnd) => void) | undefined;
  private resolve!: (value: T) => void;
  private reject!: (error: RtSmsError) => void;
  private readonly startedAt = performance.now();
  private attempts = 0;
  private ended = false;
  /** The request on its way, while there is one. */
  private exchange: Exchange | undefined;
  private ticket: RateTicket | undefined;
  private deadline: NodeJS.Timeout | undefined;
  private lateness: NodeJS.Timeout | undefined;
  /** Gives up the wait for the rate or for the next attempt. */
  private leaveWait: (() => void) | undefined;
  private onAbort: (() => void) | undefined;

  constructor(
    private readonly gateway: Gateway,
    private readonly question: Question<T>,
  ) {
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
    const { signal, deadlineMs } = this.question;
    if (signal?.aborted) return this.stop('aborted');
    this.deadline = setTimeout(pastDeadline, deadlineMs, this);
    const { startableMs } = this;
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

  /** For so long an attempt may start. */
  private get startableMs(): number {
    return (this.question.startBefore ?? Infinity) - Date.now();
  }

  private next(): void {
    const { operation, ticket } = this.question;
    const { rate } = this.gateway;
    if (this.attempts === 0 && ticket) void this.attempt(ticket);
    else if (operation === 'send' && rate) this.leaveWait = rate.wait((granted) => void this.attempt(granted));
    else void this.attempt();
  }

  private async attempt(ticket?: RateTicket): Promise<void> {
    this.attempts++;
    this.leaveWait = undefined;
    const exchange = (this.exchange = new Exchange());
    this.ticket = ticket;
    exchange.ticket = ticket;
    let value: T | RtSmsError;
    try {
      const answer = await this.gateway.ask(this.question.request, exchange);
      if (this.ended) return;
      value = this.question.read(answer, this.context(answer.headers['x-request-id']), this.question);
    } catch (error) {
      if (this.ended) return;
      value = this.explain(error, exchange.started);
    }
    // Answered or failed: nothing is on its way now.
    this.exchange = undefined;
    ticket?.giveBack();
    if (value instanceof Error) return this.failed(value);
    this.end(value);
    this.resolve(value);
  }

  /** The one place where a failure without an answer becomes an error: by phase, never by code. */
  private explain(error: unknown, started: boolean): RtSmsError {
    const failure = error instanceof TransportFailure ? error : undefined;
    const cause = failure ? failure.cause : safeCause(error, this.question.confidential);
    const context = { ...this.context(), cause };
    if (failure?.kind === 'overloaded' && !started) return new RtSmsOverloadedError(failure.message, context);
    const what =
      failure?.message ?? `an interceptor or adapter of the account's HttpService failed (${(cause as Error).message})`;
    if (started) return new RtSmsUnexpectedResponseError(what, context);
    return new RtSmsConnectionError(`Nothing was sent: ${what}`, failure?.permanent ?? true, context);
  }

  private failed(error: RtSmsError): void {
    // A name that does not resolve is asked for once more; an outage of the resolver has another code.
    const retries =
      (error.cause as { code?: string } | undefined)?.code === 'ENOTFOUND'
        ? Math.min(1, this.question.retries)
        : this.question.retries;
    const delayMs = backoffMs(this.attempts);
    const leftMs = Math.min(this.question.deadlineMs - (performance.now() - this.startedAt), this.startableMs);
    const worthwhile =
      error.retryable && !(error instanceof RtSmsOverloadedError) && this.attempts <= retries && delayMs < leftMs;
    if (!worthwhile || !this.gateway.budget.spend()) return this.fail(error);
    const timer = setTimeout(() => this.next(), delayMs);
    this.leaveWait = () => clearTimeout(timer);
  }

  /** Settles the caller now, by phase, and sees to it that nothing is sent later. */
  stop(why: Stop): void {
    if (this.ended) return;
    const { operation, deadlineMs } = this.question;
    const outcome = this.started ? 'unknown' : 'not_sent';
    const phase = this.started
      ? 'while waiting for the answer'
      : this.attempts === 0
        ? 'before anything was sent'
        : 'before it could be sent (again)';
    const context = this.context();
    const advice = operation === 'send' && this.started ? MAY_HAVE_BEEN_SENT : '';
    let error: RtSmsError;
    if (why === 'deadline') {
      error = new RtSmsTimeoutError(`The deadline of ${deadlineMs} ms passed ${phase}${advice}`, outcome, context);
    } else if (why === 'late') {
      error = new RtSmsTimeoutError(`Its time was over ${phase}`, outcome, context);
    } else if (why === 'aborted') {
      error = new RtSmsAbortedError(`The caller's signal ended the call ${phase}${advice}`, outcome, context);
    } else if (this.started) {
      error = new RtSmsAbortedError(`The application ended ${phase}${advice}`, outcome, context);
    } else {
      error = new RtSmsOverloadedError('Nothing was sent: the application is ending', context);
    }
    this.fail(error);
    this.leaveWait?.();
    this.exchange?.abandon();
    this.ticket?.giveBack();
  }

  private fail(error: RtSmsError): void {
    this.end(error);
    this.reject(error);
  }

  private end(end: CallEnd): void {
    this.ended = true;
    clearTimeout(this.deadline);
    clearTimeout(this.lateness);
    if (this.onAbort) this.question.signal?.removeEventListener('abort', this.onAbort);
    this.gateway.ended(this, end);
  }

  private context(requestId?: unknown): RtSmsErrorContext {
    return {
      operation: this.question.operation,
      account: this.gateway.options.account,
      attempts: this.attempts,
      durationMs: performance.now() - this.startedAt,
      requestId: typeof requestId === 'string' && /^[\w-]{1,128}$/.test(requestId) ? requestId : undefined,
    };
  }
}

const pastDeadline = (call: Going) => call.stop('deadline');
