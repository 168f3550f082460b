import type { HttpService } from '@nestjs/axios';
import type { RtSmsError, RtSmsErrorContext } from '../rt-sms.errors.js';
import type { CheckedSmsMessage } from '../message/sms-message.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { CallEnd, Telemetry } from '../telemetry.js';
import type { AccountHttp } from './account-http.js';
import type { AccountPassword } from './account-password.js';
import { toAxios } from './axios-adapter.js';
import type { CallFacts, CallOptions, RatePermit, SendOptions } from './call-options.js';
import { GatewayCall, type CallHost, type CallSpec } from './gateway-call.js';
import { RateLimiter } from './rate-limiter.js';
import type { RequestAttempt } from './request-attempt.js';
import { RetryBudget } from './retry-policy.js';
import type { Transport, WireRequest } from './transport.js';
import { readReport, readSent, sendBody, type GatewayAnswer, type SmsStatusReport } from './wire.js';

type Sent = CallFacts & { uid: string };

/** Time in milliseconds that a started call may still take during shutdown. */
const GRACE_MS = 5_000;

/** The two requests of the provider's API. `send` and `status` reject only with an `RtSmsError`. */
export class GatewayClient implements CallHost {
  readonly rate: RateLimiter | undefined;
  readonly budget = new RetryBudget();
  /** Unsettled calls, in no order. An array for the same reason as the transport's queue. */
  private readonly calls: GatewayCall[] = [];
  private readonly path: string;
  private stopping: Promise<void> | undefined;

  constructor(
    readonly options: ResolvedOptions,
    private readonly http: HttpService,
    private readonly transport: Transport,
    private readonly telemetry?: Telemetry,
    /** Called at the end of each call with its error, or with nothing after a success. */
    private readonly onOutcome: (error?: RtSmsError) => void = () => undefined,
  ) {
    this.path = options.url.pathname.replace(/\/$/, '');
    this.rate = options.rate && new RateLimiter(options.rate.perSecond);
  }

  /** Values that no string of an answer or a callback may contain. */
  get secrets(): readonly string[] {
    const { login, callback } = this.options;
    return [login, ...callback.secrets, ...this.transport.secrets];
  }

  get password(): AccountPassword {
    return this.transport.password;
  }

  /** Number of calls that have not ended. */
  get inFlight(): number {
    return this.calls.length;
  }

  /** `POST` of a message (§2.1). */
  send(message: CheckedSmsMessage, limits: SendOptions = {}): Promise<Sent> {
    return this.call({
      operation: 'send',
      request: { method: 'POST', path: this.path || '/', body: sendBody(message) },
      limits,
      segments: message.segments,
      confidential: [message.text, message.msisdn],
      read: sent,
    });
  }

  /** `GET` of a message's status (§2.2); `uid` in its normal form. */
  status(uid: string, limits: CallOptions = {}): Promise<SmsStatusReport> {
    return this.call({
      operation: 'status',
      request: { method: 'GET', path: `${this.path}/${encodeURIComponent(uid)}` },
      limits,
      uid,
      confidential: [],
      read: report,
    });
  }

  /** Calls `go` once a send may start under `rate`. The returned function cancels the wait. */
  acquirePermit(go: (permit: RatePermit | undefined) => void): () => void {
    if (this.rate) return this.rate.acquire(go);
    go(undefined);
    return () => undefined;
  }

  /** Starts no more requests, gives started ones 5 s, and settles the rest by their phase. */
  stop(): Promise<void> {
    return (this.stopping ??= this.settleCalls());
  }

  /** Stops, then closes the connections. */
  async close(): Promise<void> {
    await this.stop();
    await this.transport.close();
  }

  /** Sends one request; bypasses axios if the application cannot have added anything to it. */
  request(request: WireRequest, attempt: RequestAttempt): Promise<GatewayAnswer> {
    const { untouched } = this.http as Partial<AccountHttp>;
    if (untouched) return this.transport.send(request, attempt);
    // Not our HttpService but a replacement for it: a request that fails inside may have been sent.
    if (untouched === undefined) attempt.start('untracked');
    const { axiosRef } = this.http;
    const { adapter } = this.http as Partial<AccountHttp>;
    return axiosRef.request<unknown>(toAxios(request, this.options.url, attempt, adapter));
  }

  /** Resolves to true if a request that the gateway has rejected can be made once more, with another password. */
  async hasOtherPassword(used: number): Promise<boolean> {
    return !this.stopping && (await this.password.refresh(used)) && !this.stopping;
  }

  /** Called by a call when it has ended. */
  onEnd(call: GatewayCall, end: CallEnd): void {
    const last = this.calls.pop()!;
    if (last !== call) this.calls[(last.index = call.index)] = last;
    call.onEnd?.(end);
    this.onOutcome(end instanceof Error ? end : undefined);
  }

  private call<T extends CallEnd>(spec: CallSpec<T>): Promise<T> {
    const call = new GatewayCall(this, spec);
    const instruments = this.telemetry?.active;
    if (instruments) instruments.call(spec.operation, call, () => this.begin(call), spec.segments);
    else this.begin(call);
    return call.result as Promise<T>;
  }

  private begin(call: GatewayCall): void {
    call.index = this.calls.push(call) - 1;
    if (this.stopping) call.stop('shutdown');
    else call.begin();
  }

  private async settleCalls(): Promise<void> {
    this.budget.close();
    const left = this.calls.slice();
    for (const call of left) if (!call.started) call.stop('shutdown');
    const grace = setTimeout(() => left.forEach((call) => call.stop('shutdown')), GRACE_MS);
    await Promise.allSettled(left.map((call) => call.result));
    clearTimeout(grace);
  }
}

function sent(answer: GatewayAnswer, context: RtSmsErrorContext, confidential: readonly string[]): Sent | RtSmsError {
  const uid = readSent(answer, context, confidential);
  if (typeof uid !== 'string') return uid;
  const { attempts = 0, requestId } = context;
  return requestId === undefined ? { uid, attempts } : { uid, attempts, requestId };
}

const report: CallSpec<SmsStatusReport>['read'] = (answer, context, confidential, uid = '') =>
  readReport(answer, uid, context, confidential);
