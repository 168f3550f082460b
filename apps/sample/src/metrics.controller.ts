import { Controller, Get, Header, InternalServerErrorException } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

// Registered before the application is created: a meter that is requested earlier does not record anything.
const exporter = new PrometheusExporter({ preventServerStart: true });
const resource = resourceFromAttributes({ 'service.name': 'sample' });
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter], resource }));
const serializer = new PrometheusSerializer();

@ApiExcludeController()
@Controller('metrics')
export class MetricsController {
  /** Metrics of this process in the format of Prometheus. */
  @Get()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  @Header('cache-control', 'no-store')
  async read(): Promise<string> {
    const { resourceMetrics, errors } = await exporter.collect();
    if (errors.length > 0) throw new InternalServerErrorException('The metrics could not be collected');
    return serializer.serialize(resourceMetrics);
  }
}
