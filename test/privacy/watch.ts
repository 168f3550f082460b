import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import { metrics, trace } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';

/** Collects everything that an application records: log, spans and metrics. */
export class Watch {
  private readonly logged: string[] = [];
  private readonly spans = new InMemorySpanExporter();
  private readonly metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  private readonly meters = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: this.metrics, exportIntervalMillis: 2 ** 31 - 1 })],
  });

  constructor() {
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.spans)] }));
    metrics.setGlobalMeterProvider(this.meters);
  }

  /** Replaces Nest's logger, at all levels. */
  takeLog(): void {
    const keep = (...words: unknown[]) => void this.logged.push(words.map((word) => show(word)).join(' '));
    Logger.overrideLogger(['verbose', 'debug', 'log', 'warn', 'error', 'fatal']);
    Logger.overrideLogger({ verbose: keep, debug: keep, log: keep, warn: keep, error: keep, fatal: keep });
  }

  /** Returns what was recorded since the last call, and the counts. */
  async take(): Promise<{ text: string; lines: number; spans: number; metrics: number }> {
    await this.meters.forceFlush();
    const lines = this.logged.splice(0);
    const spans = this.spans
      .getFinishedSpans()
      .map(({ name, attributes, events, links, status, resource }) =>
        show({ name, attributes, events, links, status, resource: resource.attributes }),
      );
    const points = this.metrics
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      .map(({ descriptor, dataPoints }) => show({ descriptor, dataPoints }));
    this.spans.reset();
    this.metrics.reset();
    return {
      text: [...lines, ...spans, ...points].join('\n'),
      lines: lines.length,
      spans: spans.length,
      metrics: points.length,
    };
  }

  async close(): Promise<void> {
    Logger.overrideLogger(false);
    trace.disable();
    metrics.disable();
    await this.meters.shutdown();
  }
}

/** All representations of a value that a logger or an error reporter could show. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value;
  const chain: Error[] = [];
  for (let link = value; link instanceof Error && chain.length < 20; link = link.cause) chain.push(link);
  return [
    ...chain.flatMap((link) => [String(link), link.message, link.stack, JSON.stringify(link)]),
    ...chain.map((link) => JSON.stringify(link, Object.getOwnPropertyNames(link))),
    inspect(value, { depth: 10, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null }),
    JSON.stringify(value),
  ].join('\n');
}

/** All forms of a text that must not appear. */
export function formsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    inspect(text).slice(1, -1),
    encodeURIComponent(text),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ];
}

/** The forms of a Russian number, `79271234567`. */
export function formsOfNumber(msisdn: string): string[] {
  const [, area, a, b, c] = /^7(\d{3})(\d{3})(\d{2})(\d{2})$/.exec(msisdn)!;
  return [`${area}${a}${b}${c}`, `${area} ${a}-${b}-${c}`, `(${area}) ${a}-${b}-${c}`, `${area} ${a} ${b} ${c}`];
}

/** Names of the forbidden words that are in the text. */
export function leaksIn(text: string, forbidden: Record<string, readonly string[]>): string[] {
  return Object.entries(forbidden).flatMap(([name, forms]) =>
    forms.some((form) => text.includes(form)) ? [name] : [],
  );
}

/** All forms of the data of an account and its message that must not be recorded. */
export function forbiddenForms(about: {
  login: string;
  password: string;
  msisdn: string;
  text: string;
  secret?: string;
}): Record<string, string[]> {
  const { login, password, msisdn, text, secret } = about;
  return {
    password: formsOf(password),
    'Basic header': [Buffer.from(`${login}:${password}`).toString('base64').replace(/=+$/, '')],
    number: [...formsOfNumber(msisdn), ...formsOf(msisdn)],
    text: formsOf(text),
    ...(secret !== undefined && { secret: formsOf(secret) }),
  };
}
