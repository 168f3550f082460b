import type { Attributes, ContextManager, MeterProvider } from '@opentelemetry/api';
import type { RtSmsStatusEvent } from './events/events.js';
import { SMS_STATUSES } from './message/status.js';
import { redact } from './redact.js';
import {
  RT_SMS_POLICY_RULES,
  RT_SMS_REASONS,
  type RtSmsError,
  type RtSmsPolicyRule,
  type RtSmsRejectedError,
} from './rt-sms.errors.js';

const NAME = 'nestjs-rt-sms';
/** Global key under which every copy of `@opentelemetry/api` 1.x stores the registered SDK. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1');
/** Key of the active span in a context. It is the same in every copy of the API. */
const ACTIVE_SPAN = Symbol.for('OpenTelemetry Context Key SPAN');
// Numbers of the enums SpanKind and SpanStatusCode, which cannot be imported without the package.
const CLIENT = 2;
const CONSUMER = 4;
const ERROR = 2;
/** Bucket boundaries of the semantic conventions for HTTP clients, and the default deadline of a send. */
const DURATION_BOUNDARIES_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30];

/**
 * The SDK that the application has registered. It is read from the global object, as the API does, and not through the
 * package, because a bundler fails on the import of a package that is not installed, and a bundle may contain its own copy.
 */
interface Registry {
  trace?: { getTracer(name: string): Tracer };
  metrics?: MeterProvider;
  context?: ContextManager;
}

interface Tracer {
  startSpan(name: string, options: { kind: number; attributes: Attributes }): Span;
}

interface Span {
  setAttribute(name: string, value: string | number): unknown;
  setStatus(status: { code: number; message: string }): unknown;
  end(): void;
}

const registry = (): Registry | undefined => (globalThis as { [REGISTRY]?: Registry })[REGISTRY];

/** Messages whose segments are compared with those of the gateway. */
const MAX_COUNTED = 10_000;

/** Values that are read when the metrics are collected. */
export interface Gauges {
  /** Number of calls to the gateway that have not ended. */
  inFlight(): number;
  /** Number of messages that wait in the engine; undefined if the engine does not report it. */
  queued(): Promise<number> | number | undefined;
  /** Number of times that the store of the engine was found emptied; undefined without a store. */
  emptied(): number | undefined;
  /** Number of tracked messages; undefined if they are not in memory. */
  tracked(): number | undefined;
  /** 1 while the circuit breaker is open because the gateway rejects this process, else 0. */
  authOpen(): number;
  /** The limit `segmentsPerDay`; undefined without it. */
  segmentsPerDay(): number | undefined;
  /** Number of failures of the application's event handlers since the start. */
  handlerFailures(): number;
}

/** End of a call: its result or its error. */
export type CallEnd = { uid?: string; attempts?: number } | RtSmsError;

/**
 * Spans and metrics of one account, recorded by the OpenTelemetry SDK that the application has registered. Without an SDK the
 * only cost is a read of the global object. Attributes never contain a number, a text or a secret.
 */
export class Telemetry {
  private instruments: Instruments | undefined;

  constructor(
    private readonly options: { account: string; url: URL },
    private readonly gauges: Gauges,
  ) {}

  /** Instruments of the registered SDK; undefined until an SDK is registered. */
  get active(): Instruments | undefined {
    if (this.instruments) return this.instruments;
    const registered = registry();
    if (!registered?.trace && !registered?.metrics) return undefined;
    return (this.instruments = new Instruments(registered, this.options, this.gauges));
  }
}

const REASONS: ReadonlySet<string> = new Set(RT_SMS_REASONS);

/**
 * Label of an error: a reason of the table, `other` for another reason, or the code. The set is closed, because each value
 * is a time series.
 */
function reasonLabel(error: RtSmsError): string {
  const { reason } = error as Partial<RtSmsRejectedError>;
  if (reason === undefined) return error.code;
  return REASONS.has(reason) ? reason : 'other';
}

class Instruments {
  private readonly baseAttributes: Attributes = { 'rt_sms.account': this.options.account };
  private readonly server: Attributes = {
    ...this.baseAttributes,
    'messaging.system': 'rt_sms',
    'server.address': this.options.url.hostname,
    'server.port': Number(this.options.url.port) || (this.options.url.protocol === 'https:' ? 443 : 80),
  };
  private readonly tracer = this.registered.trace?.getTracer(NAME);
  private readonly meter = this.registered.metrics?.getMeter(NAME);
  private readonly sends = this.meter?.createCounter('rt_sms.sends', {
    description: 'Sends that have ended, by outcome and reason',
  });
  // The unit is in the name, because some exporters for Prometheus do not add it, and none adds it twice.
  private readonly duration = this.meter?.createHistogram('rt_sms.send.duration_seconds', {
    unit: 's',
    description: 'Time from the call of a send to its end, including waits and retries',
    advice: { explicitBucketBoundaries: DURATION_BOUNDARIES_S },
  });
  private readonly retries = this.meter?.createCounter('rt_sms.retries', {
    description: 'Retries: requests to the gateway after the first one of a call',
  });
  private readonly statuses = this.meter?.createCounter('rt_sms.statuses', {
    description: 'Statuses of messages that were emitted, by status and source',
  });
  private readonly lost = this.meter?.createCounter('rt_sms.callbacks.lost', {
    description: 'Final statuses found by polling, without a callback',
  });
  private readonly segments = this.meter?.createCounter('rt_sms.segments', {
    description: 'Segments of sends that have ended, as counted by countSegments, by outcome',
  });
  private readonly mismatches = this.meter?.createCounter('rt_sms.segments.mismatches', {
    description: 'Messages whose number of segments the gateway counted differently',
  });
  private readonly unresolvedCount = this.meter?.createCounter('rt_sms.unresolved', {
    description: 'Messages without a final status when polling ended',
  });
  /** Segments of the messages that this process has sent last, by uid. */
  private readonly counted = new Map<string, number>();
  private readonly refusals = this.meter?.createCounter('rt_sms.policy.refusals', {
    description: 'Calls that the send policy refused, by rule',
  });
  private readonly callbacks = this.meter?.createCounter('rt_sms.callbacks', {
    description: 'Callbacks received, by verdict',
  });

  constructor(
    private readonly registered: Registry,
    private readonly options: { account: string; url: URL },
    gauges: Gauges,
  ) {
    this.observe('Gauge', 'rt_sms.in_flight', 'Calls to the gateway that have not ended', gauges.inFlight);
    this.observe('Gauge', 'rt_sms.queue.depth', 'Messages waiting in the engine', gauges.queued);
    this.observe(
      'Gauge',
      'rt_sms.followed',
      'Messages without a final status that this process tracks',
      gauges.tracked,
    );
    this.observe('Gauge', 'rt_sms.auth.open', '1 while the gateway rejects this process, else 0', gauges.authOpen);
    this.observe(
      'Gauge',
      'rt_sms.policy.segments_per_day',
      'Segments that the send policy allows in 24 hours',
      gauges.segmentsPerDay,
    );
    this.observe('Counter', 'rt_sms.handler.failures', 'Failures of event handlers', gauges.handlerFailures);
    this.observe(
      'Counter',
      'rt_sms.store.emptied',
      'Times that the store of the queue was found emptied',
      gauges.emptied,
    );
    this.startAtZero();
  }

  /** Creates each series at 0, because an alert on an increase misses the first count of a new series. */
  private startAtZero(): void {
    const { baseAttributes } = this;
    const codes = (...names: string[]) => names.map((name) => `RT_SMS_${name}`);
    const reasons = {
      unknown: codes('TIMEOUT', 'ABORTED', 'UNEXPECTED_RESPONSE'),
      rejected: RT_SMS_REASONS.filter((reason) => reason !== 'transaction_not_found'),
      not_sent: codes('CONNECTION', 'OVERLOADED', 'TIMEOUT', 'ABORTED'),
    };
    this.sends?.add(0, { ...baseAttributes, 'rt_sms.outcome': 'accepted' });
    for (const [outcome, all] of Object.entries(reasons))
      for (const reason of all)
        this.sends?.add(0, { ...baseAttributes, 'rt_sms.outcome': outcome, 'rt_sms.reason': reason });
    for (const operation of ['send', 'status'])
      this.retries?.add(0, { ...baseAttributes, 'messaging.operation.name': operation });
    for (const status of SMS_STATUSES)
      for (const source of ['callback', 'poll'])
        this.statuses?.add(0, { ...baseAttributes, 'rt_sms.status': status, 'rt_sms.source': source });
    for (const verdict of ['believed', 'hint', 'refused', 'unreadable'])
      this.callbacks?.add(0, { ...baseAttributes, 'rt_sms.verdict': verdict });
    for (const rule of RT_SMS_POLICY_RULES) this.refusals?.add(0, { ...baseAttributes, 'rt_sms.rule': rule });
    for (const outcome of ['accepted', ...Object.keys(reasons)])
      this.segments?.add(0, { ...baseAttributes, 'rt_sms.outcome': outcome });
    for (const counter of [this.lost, this.mismatches, this.unresolvedCount]) counter?.add(0, baseAttributes);
  }

  private observe(
    kind: 'Gauge' | 'Counter',
    name: string,
    description: string,
    read: () => Promise<number> | number | undefined,
  ): void {
    this.meter?.[`createObservable${kind}`](name, { description }).addCallback(async (result) => {
      const value = await read();
      if (value !== undefined) result.observe(value, this.baseAttributes);
    });
  }

  /** Begins a call to the gateway in a span that is a child of the caller's and ends with `onEnd`. */
  call(
    operation: 'send' | 'status',
    call: { onEnd: ((end: CallEnd) => void) | undefined },
    begin: () => void,
    /** Segments of the message of a send. */
    segments = 0,
  ): void {
    const began = performance.now();
    const operationName = { 'messaging.operation.name': operation };
    const span = this.tracer?.startSpan(`rt_sms.${operation}`, {
      kind: CLIENT,
      attributes: { ...this.server, ...operationName },
    });
    call.onEnd = (end) => {
      const { attempts = 0 } = end;
      if (attempts > 1) this.retries?.add(attempts - 1, { ...this.baseAttributes, ...operationName });
      const failed = end instanceof Error ? end : undefined;
      if (operation === 'send') {
        const outcome = { ...this.baseAttributes, 'rt_sms.outcome': failed?.outcome ?? 'accepted' };
        const reason = failed && { 'rt_sms.reason': reasonLabel(failed) };
        this.sends?.add(1, { ...outcome, ...reason });
        if (this.segments) this.countSegments(segments, outcome, failed ? undefined : (end as { uid?: string }).uid);
        this.duration?.record((performance.now() - began) / 1000, outcome);
      }
      if (!span) return;
      span.setAttribute('rt_sms.attempts', attempts);
      if (failed) this.fail(span, failed);
      else span.setAttribute('messaging.message.id', redact((end as { uid: string }).uid));
      span.end();
    };
    this.under(span, begin);
  }

  private countSegments(segments: number, outcome: Attributes, uid: string | undefined): void {
    this.segments!.add(segments, outcome);
    if (uid === undefined) return;
    this.counted.set(uid, segments);
    if (this.counted.size > MAX_COUNTED) this.counted.delete(this.counted.keys().next().value!);
  }

  unresolved(): void {
    this.unresolvedCount?.add(1, this.baseAttributes);
  }

  /** Runs a job of the engine in a span. */
  job<T>(work: () => Promise<T>): Promise<T> {
    return this.consume('rt_sms.job', this.baseAttributes, work);
  }

  refusal(rule: RtSmsPolicyRule): void {
    this.refusals?.add(1, { ...this.baseAttributes, 'rt_sms.rule': rule });
  }

  countCallback(verdict: 'believed' | 'hint' | 'refused' | 'unreadable'): void {
    this.callbacks?.add(1, { ...this.baseAttributes, 'rt_sms.verdict': verdict });
  }

  /** Runs the processing of a callback in a span. */
  callback<T>(verdict: 'believed' | 'hint', work: () => Promise<T>): Promise<T> {
    this.countCallback(verdict);
    return this.consume('rt_sms.callback', { ...this.baseAttributes, 'rt_sms.verdict': verdict }, work);
  }

  private consume<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
    const span = this.tracer?.startSpan(name, { kind: CONSUMER, attributes });
    return this.under(span, work).finally(() => span?.end());
  }

  /** Runs `work` with `span` as the active span, the parent of the spans that `work` starts. */
  private under<T>(span: Span | undefined, work: () => T): T {
    const contexts = registry()?.context;
    return span && contexts ? contexts.with(contexts.active().setValue(ACTIVE_SPAN, span), work) : work();
  }

  private fail(span: Span, error: RtSmsError): void {
    span.setAttribute('error.type', error.code);
    if (error.httpStatus !== undefined) span.setAttribute('http.response.status_code', error.httpStatus);
    if (error.requestId !== undefined) span.setAttribute('rt_sms.request_id', error.requestId);
    span.setStatus({ code: ERROR, message: error.message });
  }

  status({ uid, status, source, final, parts }: RtSmsStatusEvent): void {
    const counted = parts === undefined ? undefined : this.counted.get(uid);
    if (counted !== undefined && counted !== parts) this.mismatches?.add(1, this.baseAttributes);
    if (counted !== undefined) this.counted.delete(uid);
    this.statuses?.add(1, { ...this.baseAttributes, 'rt_sms.status': status, 'rt_sms.source': source });
    if (final && source === 'poll') this.lost?.add(1, this.baseAttributes);
  }
}
