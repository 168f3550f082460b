import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, start } from '../platforms.js';
import { describeWith, findProgram, onPath, required } from '../programs.js';

const folder = resolve(import.meta.dirname, '../../docs/operations');
const RULES = join(folder, 'prometheus-rules.yml');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const namesIn = (text: string) =>
  new Set(
    [...text.matchAll(/\brt_sms_[a-z_]+\b/g)]
      .map(([name]) => name)
      .filter((name) => !/^rt_sms_(account|rule|outcome|status)$/.test(name)),
  );

describe.each(['prometheus-rules.yml', 'grafana-dashboard.json'])('%s', (name) => {
  it('uses only series that the exporter has, with its labels', async () => {
    const exporter = new PrometheusExporter({ preventServerStart: true });
    const meters = new MeterProvider({ readers: [exporter] });
    metrics.setGlobalMeterProvider(meters);
    atEnd(async () => {
      metrics.disable();
      await meters.shutdown();
    });
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const options = { ...gateway.options, shortcode: 'SHOP', policy: { segmentsPerDay: 10 } };
    const { app } = await start('express', { imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(options)] });
    await app.get(RtSmsService).send({ msisdn: '79270000001', text: 'Hello' });
    const { resourceMetrics } = await exporter.collect();
    const text = new PrometheusSerializer().serialize(resourceMetrics);
    const series = new Set([...text.matchAll(/^(rt_sms_\w+?)\{/gm)].map(([, each]) => each!));
    const used = [...namesIn(read(name))];
    expect(used.length).toBeGreaterThan(6);
    expect(used.filter((each) => !series.has(each))).toEqual([]);
    // Negative control.
    expect(series.has('rt_sms_sent_total')).toBe(false);
    for (const label of ['account', 'rule', 'outcome', 'status']) expect(text).toContain(`rt_sms_${label}="`);
  });
});

describeWith({ promtool: () => findProgram(() => onPath('promtool'), 'prometheus') }, 'the alert rules, by', () => {
  const promtool = () => required(findProgram(() => onPath('promtool'), 'prometheus'));

  it('are valid', () => {
    expect(String(execFileSync(promtool(), ['check', 'rules', RULES]))).toMatch(/6 rules found/);
  });
});
