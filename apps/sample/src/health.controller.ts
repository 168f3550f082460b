import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { HealthCheck, HealthCheckService, type HealthCheckResult } from '@nestjs/terminus';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';

@ApiTags('health')
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly sms: RtSmsHealthIndicator,
  ) {}

  /** Ready to send: the gateway can be reached and takes our login. Not a liveness check. */
  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([() => this.sms.isHealthy()]);
  }
}
