import type { NestApplicationOptions, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { isRtSmsError, RtSmsService, type RtSmsHealth } from 'nestjs-rt-sms';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { AppModule } from './app.module.js';
import { OrdersService } from './orders.service.js';

export const SECRET = 'a-secret-of-sixteen';

/** Expected result, in all applications and on both platforms. */
export const EXPECTED = {
  sent: ['79270000001'],
  delivered: ['42 by callback'],
  healthy: true,
  refusal: 'not_sent',
  engine: 'function',
};

/** Sends a message, receives its callback and waits for the event. */
export async function mainJob(
  platform: 'express' | 'fastify',
  module: Type = AppModule,
  options: NestApplicationOptions = {},
  atEnd: (url: string) => Promise<void> = async () => undefined,
): Promise<typeof EXPECTED> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  const { login, password, url } = gateway.options;
  process.env['RT_SMS_LOGIN'] = login;
  process.env['RT_SMS_PASSWORD'] = password;
  process.env['RT_SMS_URL'] = url;
  process.env['RT_SMS_SHORTCODE'] = 'SHOP';
  process.env['RT_SMS_CALLBACK_SECRETS'] = SECRET;
  const adapter = platform === 'fastify' ? new FastifyAdapter() : new ExpressAdapter();
  const app = await NestFactory.create(module, adapter, { logger: ['error', 'warn'], ...options });
  try {
    await app.listen(0, '127.0.0.1');
    gateway.callTo(`${await app.getUrl()}/rt-sms/callback/${SECRET}`);
    const orders = app.get(OrdersService);
    await gateway.report(await orders.shipped('8 927 000-00-01', '42'), 'delivered');
    const health: RtSmsHealth = await app.get(RtSmsService).checkHealth();
    const refusal: unknown = await orders.shipped('7927', '43').catch((error: unknown) => error);
    await atEnd(await app.getUrl());
    return {
      sent: gateway.messages.map(({ msisdn }) => msisdn),
      delivered: orders.delivered,
      healthy: health.ok,
      refusal: isRtSmsError(refusal) ? String(refusal.outcome) : 'no RtSmsError',
      // The engine is created but not used, because an application of this kind does not have a store.
      engine: typeof bullMq({ connection: 'redis://127.0.0.1:6379' }),
    };
  } finally {
    await app.close();
    await gateway.close();
  }
}
