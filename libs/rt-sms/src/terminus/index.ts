/** Requires `@nestjs/terminus` to be installed, also for its types. @module nestjs-rt-sms/terminus */
import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { getRtSmsToken } from '../rt-sms.tokens.js';
import type { RtSmsService } from '../rt-sms.service.js';

/**
 * Health indicator for `@nestjs/terminus`: up while the gateway accepts the account. It sends at most one request in 30 s, free
 * of charge. Use it for readiness; as a liveness check it would restart healthy processes.
 */
@Injectable()
export class RtSmsHealthIndicator {
  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ModuleRef) private readonly modules: ModuleRef,
  ) {}

  /**
   * Checks the account.
   * @param key name of the indicator in the health result
   * @param account name of the account, by default the default account
   */
  async isHealthy(key = 'rt-sms', account?: string): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check(key);
    const sms = this.modules.get<RtSmsService>(getRtSmsToken(account), { strict: false });
    const { ok, latencyMs, checkedAt, reason, policy } = await sms.checkHealth();
    const details = { latencyMs, checkedAt: checkedAt.toISOString(), ...(policy ? { policy } : {}) };
    return ok ? indicator.up(details) : indicator.down({ ...details, reason });
  }
}
