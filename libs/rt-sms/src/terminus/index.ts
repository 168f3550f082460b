/** Needs `@nestjs/terminus`, for its types as well. @module nestjs-rt-sms/terminus */
import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { getRtSmsToken } from '../rt-sms.tokens.js';
import type { RtSmsService } from '../rt-sms.service.js';

/**
 * For `@nestjs/terminus`: whether the gateway takes this account. Asks at most once in 30 s, free of charge. For readiness;
 * as a liveness check it would restart processes that are well.
 */
@Injectable()
export class RtSmsHealthIndicator {
  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ModuleRef) private readonly modules: ModuleRef,
  ) {}

  /** Up while the gateway takes the account. @param key the name in the answer @param account a named one, else the default */
  async isHealthy(key = 'rt-sms', account?: string): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check(key);
    const sms = this.modules.get<RtSmsService>(getRtSmsToken(account), { strict: false });
    const { ok, latencyMs, checkedAt, reason } = await sms.checkHealth();
    const details = { latencyMs, checkedAt: checkedAt.toISOString() };
    return ok ? indicator.up(details) : indicator.down({ ...details, reason });
  }
}
