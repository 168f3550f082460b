/** Requires `@nestjs/terminus` to be installed, also for its types. @module nestjs-rt-sms/terminus */
import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { getRtSmsToken } from '../rt-sms.tokens.js';
import type { RtSmsService } from '../rt-sms.service.js';

/** Id that no message has. */
const UNUSED_ID = 'rt-sms-health';

/**
 * Health indicator for `@nestjs/terminus`: `up` while the gateway accepts the account. If it does not, the account is `degraded`
 * while a durable engine keeps the messages, and otherwise `down`. Terminus 11 has no `degraded`, so it shows `up` with the
 * detail `degraded: true`. The indicator sends at most one request in 30 s, free of charge. Use it for readiness; as a liveness
 * check it would restart healthy processes.
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
    if (ok) return indicator.up(details);
    if (!(await keepsMessages(sms))) return indicator.down({ ...details, reason });
    const { degraded } = indicator as { degraded?: typeof indicator.degraded };
    return degraded ? indicator.degraded({ ...details, reason }) : indicator.up({ ...details, reason, degraded: true });
  }
}

/** True if the engine is durable and its store answers. */
async function keepsMessages(sms: RtSmsService): Promise<boolean> {
  if (!sms.isDurable) return false;
  return sms.find(UNUSED_ID).then(
    () => true,
    () => false,
  );
}
