import { jest } from '@jest/globals';
import { Controller, Get, Inject, Module } from '@nestjs/common';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { RtSmsHealthIndicator } from 'nestjs-rt-sms/terminus';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, PLATFORMS, start } from './platforms.js';

const SECRET = 'a-secret-of-sixteen';

@Controller('health')
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(RtSmsHealthIndicator) private readonly sms: RtSmsHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.sms.isHealthy(), () => this.sms.isHealthy('otp-sms', 'otp')]);
  }
}

describe.each(PLATFORMS)('health on %s', (platform) => {
  async function run() {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const options = { ...gateway.options, shortcode: 'SHOP', callback: { secrets: SECRET } };
    @Module({
      imports: [
        EventEmitterModule.forRoot(),
        TerminusModule.forRoot({ logger: false }),
        RtSmsModule.forRoot({ ...options, policy: { countries: ['RU'], segmentsPerDay: 50 } }),
        RtSmsModule.forRoot({ ...options, name: 'otp' }),
      ],
      controllers: [HealthController],
      providers: [RtSmsHealthIndicator],
    })
    class AppModule {}
    const { app, url } = await start(platform, { imports: [AppModule] });
    const health = async () => {
      const response = await fetch(`${url}/health`);
      return { code: response.status, ...((await response.json()) as { status: string; details: object }) };
    };
    return { gateway, sms: app.get(RtSmsService), health };
  }
  /** Advances only the clock. */
  function passMs(ms: number) {
    const clock = jest.spyOn(performance, 'now').mockReturnValue(performance.now() + ms);
    atEnd(() => clock.mockRestore());
  }

  it('is up while the gateway accepts all accounts, and has the latency', async () => {
    const { health } = await run();
    await expect(health()).resolves.toMatchObject({
      code: 200,
      status: 'ok',
      details: {
        'rt-sms': {
          status: 'up',
          latencyMs: expect.any(Number),
          checkedAt: expect.stringMatching(/^\d{4}-.*Z$/),
          policy: ['countries: RU', 'segmentsPerDay: 50'],
        },
        'otp-sms': { status: 'up' },
      },
    });
    // Each account has its own policy.
    expect((await health()).details).not.toHaveProperty(['otp-sms', 'policy']);
  });

  it.each(['wrong_ip', 'wrong_credentials', 'system_error'] as const)('is down on %s, and names it', async (reason) => {
    const { gateway, health } = await run();
    gateway.nextStatus(reason, Infinity);
    await expect(health()).resolves.toMatchObject({
      code: 503,
      status: 'error',
      details: { 'rt-sms': { status: 'down', reason }, 'otp-sms': { status: 'down', reason } },
    });
  });

  it('is down with the code of the error when the gateway cannot be reached', async () => {
    const { gateway, health } = await run();
    await gateway.close();
    await expect(health()).resolves.toMatchObject({
      code: 503,
      details: { 'rt-sms': { status: 'down', reason: 'RT_SMS_CONNECTION' } },
    });
  });

  it('sends one request at a time, once in 30 s, for a message that cannot exist', async () => {
    const { gateway, sms } = await run();
    const answers = await Promise.all(Array.from({ length: 20 }, () => sms.checkHealth()));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toMatchObject({ ok: true, account: 'default' });
    expect(gateway.requests).toEqual({ post: 0, get: 1 });
    expect(gateway.exchanges.at(-1)).toMatchObject({ path: expect.stringContaining('message-id-000000000000') });
    passMs(29_000);
    await sms.checkHealth();
    expect(gateway.requests.get).toBe(1);
    passMs(2_000);
    await Promise.all([sms.checkHealth(), sms.checkHealth()]);
    expect(gateway.requests).toEqual({ post: 0, get: 2 });
  });

  it('recovers with the gateway', async () => {
    const { gateway, sms } = await run();
    gateway.nextStatus('wrong_ip');
    await expect(sms.checkHealth()).resolves.toMatchObject({ ok: false, reason: 'wrong_ip' });
    passMs(31_000);
    await expect(sms.checkHealth()).resolves.toMatchObject({ ok: true });
  });
});
