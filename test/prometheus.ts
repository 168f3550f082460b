import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { atEnd } from './platforms.js';

/** Registers an exporter for all metrics until the end of the test. It is read without a server. */
export function registerExporter(): PrometheusExporter {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meters = new MeterProvider({ readers: [exporter] });
  metrics.setGlobalMeterProvider(meters);
  atEnd(async () => {
    metrics.disable();
    await meters.shutdown();
  });
  return exporter;
}
