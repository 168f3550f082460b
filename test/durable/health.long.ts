import { HealthCheckService, HealthIndicatorService, TerminusModule } from '@nestjs/terminus';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';
import { gatewayOf, run } from './account.js';
import { describeStores, storeOfSuite } from './services.js';

/** The session of Terminus 11, which does not have `degraded`. */
class Terminus11 extends HealthIndicatorService {
  override check<const Key extends string>(key: Key) {
    return Object.assign(super.check(key), { degraded: undefined as never });
  }
}

describeStores('health with a durable engine on %s', (kind) => {
  const store = storeOfSuite(kind);

  async function start(more: object = {}) {
    const gateway = await gatewayOf();
    const { app } = await run(gateway, store.options, {
      imports: [TerminusModule.forRoot({ logger: false })],
      providers: [RtSmsHealthIndicator, { provide: HealthIndicatorService, useClass: HealthIndicatorService, ...more }],
    });
    const indicator = app.get(RtSmsHealthIndicator);
    const check = () => app.get(HealthCheckService).check([() => indicator.isHealthy()]);
    return { gateway, check };
  }

  it('is up while the gateway accepts the account', async () => {
    const { check } = await start();
    await expect(check()).resolves.toMatchObject({ status: 'ok', details: { 'rt-sms': { status: 'up' } } });
  });

  it('is degraded with the reason while it does not, and down if the store does not answer either', async () => {
    const { gateway, check } = await start();
    gateway.nextStatus('wrong_ip', Infinity);
    await expect(check()).resolves.toMatchObject({
      status: 'degraded',
      details: { 'rt-sms': { status: 'degraded', reason: 'wrong_ip', latencyMs: expect.any(Number) } },
    });
    await store.kill();
    try {
      await expect(check()).rejects.toMatchObject({
        status: 503,
        response: { details: { 'rt-sms': { status: 'down', reason: 'wrong_ip' } } },
      });
    } finally {
      await store.restart();
    }
  });

  it('on Terminus 11 is up with a detail', async () => {
    const { gateway, check } = await start({ useClass: Terminus11 });
    gateway.nextStatus('wrong_ip', Infinity);
    await expect(check()).resolves.toMatchObject({
      status: 'ok',
      details: { 'rt-sms': { status: 'up', degraded: true, reason: 'wrong_ip' } },
    });
  });
});
