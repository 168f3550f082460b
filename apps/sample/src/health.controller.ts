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

  /** Readiness check: the gateway is reachable and accepts the login. Do not use it as a liveness check. */
  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([() => this.sms.isHealthy()]);
  }
}
