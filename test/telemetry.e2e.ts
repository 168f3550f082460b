import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { jest } from '@jest/globals';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { context, metrics, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { RT_SMS_REASONS, RtSmsEvents, RtSmsModule, RtSmsService, type RtSmsOptions } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, start } from './platforms.js';
import { registerExporter } from './prometheus.js';

const SECRET = 'a-secret-of-more-than-thirty-two-characters';
const MESSAGE = { msisdn: '79270000001', text: 'Никому не говорите код 4711', shortcode: 'SHOP' };

/** Registers an SDK, as an application does before Nest starts. */
function registerSdk() {
  const spans = new InMemorySpanExporter();
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }));
  metrics.setGlobalMeterProvider(meters);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  atEnd(async () => {
    await meters.shutdown();
    trace.disable();
    metrics.disable();
    context.disable();
  });
  /** All points by `name{attribute=value}`, with the value, or the count of a histogram. */
  const points = async () => {
    exporter.reset();
    await reader.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics: each }) => each));
    return Object.fromEntries(
      all.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => {
          const { 'rt_sms.account': account, ...rest } = attributes;
          const labels = Object.entries(rest).map(([name, of]) => `${name.replace('rt_sms.', '')}=${String(of)}`);
          expect(account).toBe('default');
          return [
            `${descriptor.name}{${labels.toSorted().join()}}`,
            typeof value === 'object' ? (value as { count: number }).count : value,
          ];
        }),
      ),
    );
  };
  return { spans: (name: string) => spans.getFinishedSpans().filter((span) => span.name === name), all: spans, points };
}

async function run(options: Partial<RtSmsOptions> = {}) {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  const { app, url } = await start('express', {
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({ ...gateway.options, callback: { secrets: SECRET }, ...options }),
    ],
  });
  const callback = (query: string, secret = SECRET) => fetch(`${url}/rt-sms/callback/${secret}?${query}`);
  gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
  return { gateway, app, sms: app.get(RtSmsService), emitter: app.get(EventEmitter2), callback };
}

describe('with an OpenTelemetry SDK', () => {
  it('a send is a child span of its caller’s span', async () => {
    const { spans } = registerSdk();
    const { gateway, sms } = await run();
    const caller = trace.getTracer('test').startSpan('order');
    const { uid } = await context.with(trace.setSpan(context.active(), caller), () => sms.send(MESSAGE));
    const [span] = spans('rt_sms.send');
    expect(span).toMatchObject({
      kind: SpanKind.CLIENT,
      parentSpanContext: { spanId: caller.spanContext().spanId },
      status: { code: SpanStatusCode.UNSET },
      attributes: {
        'rt_sms.account': 'default',
        'messaging.system': 'rt_sms',
        'messaging.operation.name': 'send',
        'messaging.message.id': uid,
        'server.address': '127.0.0.1',
        'server.port': Number(new URL(gateway.options.url).port),
        'rt_sms.attempts': 1,
      },
    });
  });

  it('a failure has its code and reason in the span and in the metrics', async () => {
    const { spans, points } = registerSdk();
    const { gateway, sms } = await run({ timeouts: { sendMs: 2_000 } });
    gateway.nextSend('invalid_field_shortcode');
    await expect(sms.send(MESSAGE)).rejects.toThrow('invalid_field_shortcode');
    gateway.nextSend('timeout');
    await expect(sms.send(MESSAGE)).rejects.toMatchObject({ outcome: 'unknown' });
    await sms.send(MESSAGE);
    expect(spans('rt_sms.send').map(({ attributes, status }) => [attributes['error.type'], status.code])).toEqual([
      ['RT_SMS_REJECTED', SpanStatusCode.ERROR],
      ['RT_SMS_TIMEOUT', SpanStatusCode.ERROR],
      [undefined, SpanStatusCode.UNSET],
    ]);
    expect(await points()).toMatchObject({
      'rt_sms.sends{outcome=rejected,reason=invalid_field_shortcode}': 1,
      'rt_sms.sends{outcome=unknown,reason=RT_SMS_TIMEOUT}': 1,
      'rt_sms.sends{outcome=accepted}': 1,
      'rt_sms.send.duration_seconds{outcome=accepted}': 1,
      'rt_sms.in_flight{}': 0,
      'rt_sms.followed{}': 1,
    });
  });

  it('callbacks are counted by verdict, statuses by source, and those that no callback told as lost', async () => {
    const { spans, points } = registerSdk();
    const { gateway, sms, callback } = await run({ tracking: { schedule: [1_500] } });
    const told = await sms.send(MESSAGE);
    await gateway.report(told.uid, 'delivered');
    await callback('status=delivered');
    await callback(`id=${told.uid}&status=delivered`, 'wrong');
    const untold = await sms.send(MESSAGE);
    gateway.callTo(undefined);
    await gateway.report(untold.uid, 'failed');
    await sms.waitForFinal(untold.uid);
    const seen = await points();
    expect(seen).toMatchObject({
      'rt_sms.callbacks{verdict=believed}': 1,
      'rt_sms.callbacks{verdict=unreadable}': 1,
      'rt_sms.callbacks{verdict=refused}': 1,
      'rt_sms.statuses{source=callback,status=delivered}': 1,
      'rt_sms.statuses{source=poll,status=failed}': 1,
      'rt_sms.callbacks.lost{}': 1,
      'rt_sms.followed{}': 0,
    });
    expect(spans('rt_sms.callback').map(({ attributes }) => attributes['rt_sms.verdict'])).toEqual(['believed']);
    expect(spans('rt_sms.status').length).toBeGreaterThan(0);
  });

  it('the processing of a queued message is one span with its send inside', async () => {
    const { spans, points } = registerSdk();
    const { sms, emitter } = await run();
    const accepted = emitter.waitFor('rt-sms.accepted');
    await sms.enqueue(MESSAGE);
    await sms.enqueue({ ...MESSAGE, msisdn: '79270000002' }, { delayMs: 3_600_000 });
    await accepted;
    await setImmediate();
    const [send] = spans('rt_sms.send');
    const [job] = spans('rt_sms.job');
    expect(job).toMatchObject({ kind: SpanKind.CONSUMER });
    expect(send?.parentSpanContext?.spanId).toBe(job?.spanContext().spanId);
    expect(await points()).toMatchObject({ 'rt_sms.queue.depth{}': 1 });
  });

  it('requests beyond the first are counted', async () => {
    const { points } = registerSdk();
    const { gateway, sms } = await run();
    gateway.nextSend('system_error');
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 2 });
    expect(await points()).toMatchObject({ 'rt_sms.retries{messaging.operation.name=send}': 1 });
  });

  it('whatever the gateway says, the series of an exporter are those of a closed set', async () => {
    const exporter = registerExporter();
    const { gateway, sms } = await run({ retry: { send: 0 } });
    const labels = async () => {
      const { resourceMetrics, errors } = await exporter.collect();
      expect(errors).toEqual([]);
      const text = new PrometheusSerializer().serialize(resourceMetrics);
      return text.split('\n').filter((line) => line.startsWith('rt_sms_sends_total{'));
    };
    const letters = (n: number) => String.fromCharCode(97 + Math.floor(n / 26), 97 + (n % 26));
    const reasons = [
      ...Array.from({ length: 60 }, (_, n) => `unknown_subscriber_791114321${n + 10}`),
      ...Array.from({ length: 60 }, (_, n) => `operator_${letters(n)}_unavailable`),
      'no way',
      ...RT_SMS_REASONS,
    ];
    for (const reason of reasons) {
      gateway.nextSend({ status: 200, body: JSON.stringify({ status: 'error', reason }) });
      await expect(sms.send(MESSAGE)).rejects.toMatchObject({ outcome: 'rejected' });
    }
    gateway.nextSend('html');
    await expect(sms.send(MESSAGE)).rejects.toMatchObject({ outcome: 'unknown' });
    await sms.send(MESSAGE);
    const seen = (await labels()).map((line) => /rt_sms_reason="([^"]*)"/.exec(line)?.[1]);
    const codes = ['ABORTED', 'CONNECTION', 'OVERLOADED', 'TIMEOUT', 'UNEXPECTED_RESPONSE'];
    const closed = [...RT_SMS_REASONS, 'other', ...codes.map((code) => `RT_SMS_${code}`), undefined];
    expect(new Set(seen)).toEqual(new Set(closed));
  });

  it('nothing personal is in it', async () => {
    const { all, points } = registerSdk();
    const { gateway, sms } = await run();
    const { uid } = await sms.send(MESSAGE);
    await gateway.report(uid, 'delivered');
    gateway.nextSend({
      status: 200,
      body: JSON.stringify({ status: 'error', reason: `no ${MESSAGE.text} to ${MESSAGE.msisdn}` }),
    });
    await expect(sms.send(MESSAGE)).rejects.toThrow();
    const everything = inspect([all.getFinishedSpans(), await points()], { depth: 10, maxStringLength: null });
    expect(everything).toContain(uid);
    for (const secret of [MESSAGE.text, MESSAGE.msisdn, gateway.options.password, SECRET])
      expect(everything).not.toContain(secret);
  });

  it('an SDK that is registered after the start is used from the next call on', async () => {
    const { sms } = await run();
    await sms.send(MESSAGE);
    const { spans } = registerSdk();
    await sms.send(MESSAGE);
    await sms.send(MESSAGE);
    expect(spans('rt_sms.send')).toHaveLength(2);
  });

  it('its API is read from the global object, never loaded: a bundle does not need the package', async () => {
    const loaded = jest.fn();
    jest.unstable_mockModule('@opentelemetry/api', () => {
      loaded();
      return {};
    });
    const { spans } = registerSdk();
    const { sms } = await run();
    await sms.send(MESSAGE);
    expect(spans('rt_sms.send')).toHaveLength(1);
    expect(loaded).not.toHaveBeenCalled();
  });

  it.each([
    ['metrics', () => metrics.disable()],
    ['spans', () => trace.disable()],
    ['a context manager', () => context.disable()],
  ])('that registers everything but %s is enough', async (missing, disable) => {
    const { spans, points } = registerSdk();
    disable();
    const { sms, callback } = await run();
    const { uid } = await sms.send(MESSAGE);
    await callback(`id=${uid}&status=delivered`);
    await expect(sms.waitForFinal(uid)).resolves.toMatchObject({ status: 'delivered' });
    expect(spans('rt_sms.send')).toHaveLength(missing === 'spans' ? 0 : 1);
    if (missing !== 'metrics') expect(await points()).toMatchObject({ 'rt_sms.sends{outcome=accepted}': 1 });
  });
});

describe('in Prometheus', () => {
  /** Reads the metrics as a scrape does. */
  function registerPrometheus() {
    const exporter = registerExporter();
    const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
    return async () => serializer.serialize((await exporter.collect()).resourceMetrics);
  }

  it('all series that an alert may use exist before the first message', async () => {
    const scrape = registerPrometheus();
    await run();
    const text = await scrape();
    expect(text).toMatchSnapshot();
    for (const line of text.split('\n').filter((each) => each && !each.startsWith('#'))) expect(line).toMatch(/ 0$/);
  });

  it('the duration of a send is in seconds, by its name, and its buckets tell sends apart', async () => {
    const scrape = registerPrometheus();
    const { gateway, sms } = await run();
    await sms.send(MESSAGE);
    gateway.nextSend({ delayMs: 600 });
    await sms.send(MESSAGE);
    const text = await scrape();
    const bucket = (le: string) =>
      Number(new RegExp(`^rt_sms_send_duration_seconds_bucket\\{.*le="${le}".*\\} (\\d+)$`, 'm').exec(text)?.[1]);
    expect([bucket('0\\.5'), bucket('2\\.5'), bucket('30'), bucket('\\+Inf')]).toEqual([1, 2, 2, 2]);
  });

  it('handlers that failed are counted', async () => {
    const scrape = registerPrometheus();
    const { emitter, sms, callback } = await run();
    emitter.on(RtSmsEvents.status, () => {
      throw new Error('not today');
    });
    const { uid } = await sms.send(MESSAGE);
    await callback(`id=${uid}&status=delivered`);
    await sms.waitForFinal(uid);
    expect(await scrape()).toMatch(/^rt_sms_handler_failures_total\{rt_sms_account="default"\} 1$/m);
  });
});

describe('cost and policy', () => {
  it('segments by outcome, refusals by rule, a different count of the gateway, and the limit', async () => {
    const { points } = registerSdk();
    const { gateway, sms } = await run({ policy: { maxSegments: 2, segmentsPerDay: 100 }, retry: { send: 0 } });
    const two = await sms.send({ ...MESSAGE, text: 'я'.repeat(71) });
    const same = await sms.send({ ...MESSAGE, text: 'a'.repeat(161) });
    gateway.nextSend('invalid_field_text');
    await expect(sms.send(MESSAGE)).rejects.toMatchObject({ outcome: 'rejected' });
    await expect(sms.send({ ...MESSAGE, text: 'я'.repeat(135) })).rejects.toMatchObject({ rule: 'maxSegments' });
    await gateway.report(two.uid, 'delivered', { parts: 3 });
    await gateway.report(same.uid, 'delivered', { parts: 2 });
    await sms.waitForFinal(same.uid);
    expect(await points()).toMatchObject({
      'rt_sms.segments{outcome=accepted}': 4,
      'rt_sms.segments{outcome=rejected}': 1,
      'rt_sms.segments{outcome=not_sent}': 0,
      'rt_sms.segments.mismatches{}': 1,
      'rt_sms.policy.refusals{rule=maxSegments}': 1,
      'rt_sms.policy.refusals{rule=perRecipient}': 0,
      'rt_sms.policy.segments_per_day{}': 100,
      'rt_sms.auth.open{}': 0,
    });
  });

  it('a rejected login shows as open', async () => {
    const { points } = registerSdk();
    const { gateway, sms } = await run();
    gateway.nextSend('wrong_ip');
    await expect(sms.send(MESSAGE)).rejects.toMatchObject({ code: 'RT_SMS_AUTH' });
    expect(await points()).toMatchObject({ 'rt_sms.auth.open{}': 1 });
  });
});
