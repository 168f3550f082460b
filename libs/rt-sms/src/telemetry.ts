import type * as Api from '@opentelemetry/api';
import type { Attributes, Span } from '@opentelemetry/api';
import type { RtSmsStatusEvent } from './events/events.js';
import type { RtSmsError, RtSmsRejectedError } from './rt-sms.errors.js';

const NAME = 'nestjs-rt-sms';
/** Where every copy of the API keeps what the application has registered. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1');

function registered(): boolean {
  const registry = (globalThis as { [REGISTRY]?: { trace?: unknown; metrics?: unknown } })[REGISTRY];
  return registry !== undefined && (registry.trace ?? registry.metrics) !== undefined;
}

/** Numbers that are read when somebody asks for the metrics. */
export interface Gauges {
  inFlight(): number;
  /** Messages that wait in the engine, if it can say. */
  queued(): Promise<number> | number | undefined;
  /** Messages whose final status is not known yet, if they are kept in memory. */
  followed(): number | undefined;
}

/** How a call ended: what it resolved with, or the error. */
export type CallEnd = { uid?: string; attempts?: number } | RtSmsError;

/**
 * Spans and metrics of one account through `@opentelemetry/api`, which is loaded once the application has registered an SDK;
 * until then this costs a look into the global object. No number, text or secret is ever an attribute.
 */
export class Telemetry {
  private instruments: Instruments | undefined;
  private loading: Promise<void> | undefined;

  constructor(
    private readonly options: { account: string; url: URL },
    private readonly gauges: Gauges,
  ) {}

  /** Undefined while no SDK is registered, or loaded. */
  get on(): Instruments | undefined {
    if (!this.instruments && registered()) void this.load();
    return this.instruments;
  }

  /** Loads the API if an SDK is registered: the application's, which it names as its dependency. */
  load(): Promise<void> {
    if (!registered()) return Promise.resolve();
    return (this.loading ??= import('@opentelemetry/api').then(
      (api) => void (this.instruments = new Instruments(api, this.options, this.gauges)),
      () => undefined,
    ));
  }
}

class Instruments {
  private readonly about: Attributes = { 'rt_sms.account': this.options.account };
  private readonly server: Attributes = {
    ...this.about,
    'messaging.system': 'rt_sms',
    'server.address': this.options.url.hostname,
    'server.port': Number(this.options.url.port) || (this.options.url.protocol === 'https:' ? 443 : 80),
  };
  private readonly tracer = this.api.trace.getTracer(NAME);
  private readonly meter = this.api.metrics.getMeter(NAME);
  private readonly sends = this.meter.createCounter('rt_sms.sends', { description: 'Sends, by outcome and reason' });
  private readonly duration = this.meter.createHistogram('rt_sms.send.duration', {
    unit: 's',
    description: 'From the call of a send to its end',
  });
  private readonly retries = this.meter.createCounter('rt_sms.retries', {
    description: 'Requests beyond the first of a call',
  });
  private readonly statuses = this.meter.createCounter('rt_sms.statuses', {
    description: 'Statuses that became known, by source',
  });
  private readonly lost = this.meter.createCounter('rt_sms.callbacks.lost', {
    description: 'Final statuses that no callback told, found by asking',
  });
  private readonly callbacks = this.meter.createCounter('rt_sms.callbacks', { description: 'Callbacks, by verdict' });

  constructor(
    private readonly api: typeof Api,
    private readonly options: { account: string; url: URL },
    gauges: Gauges,
  ) {
    this.gauge('rt_sms.in_flight', 'Calls to the gateway that have not ended', gauges.inFlight);
    this.gauge('rt_sms.queue.depth', 'Messages that wait in the engine', gauges.queued);
    this.gauge('rt_sms.followed', 'Messages without a final status that are followed in memory', gauges.followed);
  }

  private gauge(name: string, description: string, read: () => Promise<number> | number | undefined): void {
    this.meter.createObservableGauge(name, { description }).addCallback(async (result) => {
      const value = await read();
      if (value !== undefined) result.observe(value, this.about);
    });
  }

  /** Begins a call to the gateway in a span under the caller's, which lasts until `onEnd`. */
  call(operation: 'send' | 'status', call: { onEnd: ((end: CallEnd) => void) | undefined }, begin: () => void): void {
    const began = performance.now();
    const named = { 'messaging.operation.name': operation };
    const span = this.tracer.startSpan(`rt_sms.${operation}`, {
      kind: this.api.SpanKind.CLIENT,
      attributes: { ...this.server, ...named },
    });
    call.onEnd = (end) => {
      const { attempts = 0 } = end;
      if (attempts > 1) this.retries.add(attempts - 1, { ...this.about, ...named });
      const failed = end instanceof Error ? end : undefined;
      if (operation === 'send') {
        const outcome = { ...this.about, 'rt_sms.outcome': failed?.outcome ?? 'accepted' };
        const reason = failed && { 'rt_sms.reason': (failed as RtSmsRejectedError).reason ?? failed.code };
        this.sends.add(1, { ...outcome, ...reason });
        this.duration.record((performance.now() - began) / 1000, outcome);
      }
      span.setAttribute('rt_sms.attempts', attempts);
      if (failed) this.fail(span, failed);
      else span.setAttribute('messaging.message.id', (end as { uid: string }).uid);
      span.end();
    };
    this.under(span, begin);
  }

  /** Runs the job of an engine in a span. */
  job<T>(work: () => Promise<T>): Promise<T> {
    return this.consume('rt_sms.job', this.about, work);
  }

  heard(verdict: 'believed' | 'hint' | 'refused' | 'unreadable'): void {
    this.callbacks.add(1, { ...this.about, 'rt_sms.verdict': verdict });
  }

  /** Runs what a callback leads to in a span. */
  callback<T>(verdict: 'believed' | 'hint', work: () => Promise<T>): Promise<T> {
    this.heard(verdict);
    return this.consume('rt_sms.callback', { ...this.about, 'rt_sms.verdict': verdict }, work);
  }

  private consume<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
    const span = this.tracer.startSpan(name, { kind: this.api.SpanKind.CONSUMER, attributes });
    return this.under(span, work).finally(() => span.end());
  }

  private under<T>(span: Span, work: () => T): T {
    return this.api.context.with(this.api.trace.setSpan(this.api.context.active(), span), work);
  }

  private fail(span: Span, error: RtSmsError): void {
    span.setAttribute('error.type', error.code);
    if (error.httpStatus !== undefined) span.setAttribute('http.response.status_code', error.httpStatus);
    if (error.requestId !== undefined) span.setAttribute('rt_sms.request_id', error.requestId);
    span.setStatus({ code: this.api.SpanStatusCode.ERROR, message: error.message });
  }

  status({ status, source, final }: RtSmsStatusEvent): void {
    this.statuses.add(1, { ...this.about, 'rt_sms.status': status, 'rt_sms.source': source });
    if (final && source === 'poll') this.lost.add(1, this.about);
  }
}
