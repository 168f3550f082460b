import 'reflect-metadata';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Module, type INestApplicationContext } from '@nestjs/common';
import { HttpModule } from '@nestjs/axios';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, type RtSmsOptions, type RtSmsPolicy } from 'nestjs-rt-sms';

export const LOGIN = 'shop';
export const PASSWORD = 'a password';
export const SECRET = 'a-secret-of-sixteen';

/** A send policy with all limits, which refuses none of the messages of `messageOf`. */
export const LIMITS: RtSmsPolicy = {
  countries: ['RU'],
  maxSegments: 10,
  perRecipient: [
    { messages: 3, perMs: 600_000 },
    { messages: 10, perMs: 86_400_000 },
  ],
  perPrefix: { messages: 100_000, perMs: 3_600_000 },
  segmentsPerDay: 100_000_000,
};

/** Starts an application with one account as in the documentation, and with Nest's HttpModule for comparison. */
export async function startAccount(options: Partial<RtSmsOptions> & { url: string }): Promise<INestApplicationContext> {
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      HttpModule,
      RtSmsModule.forRoot({
        login: LOGIN,
        password: PASSWORD,
        shortcode: 'SHOP',
        callback: { secrets: SECRET },
        ...options,
      }),
    ],
  })
  class AppModule {}
  return NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
}

/** Starts the gateway in a separate process, which ends with this one. Returns its address. */
export async function startGateway(): Promise<string> {
  const child = fork(new URL('./gateway.ts', import.meta.url));
  child.unref();
  const [port] = (await once(child, 'message')) as [number];
  child.channel?.unref();
  return `http://127.0.0.1:${port}/api/v2/send_message`;
}

const CYRILLIC = 'абвгдежзийклмнопрстуфхцчшщъыьэюя    ';
const letters = (n: number, length: number) =>
  Array.from({ length }, (_, i) => CYRILLIC[(n * 7 + i * 31 + (i >> 3) * n) % CYRILLIC.length]).join('');
// Generated in advance, so that the figures do not include it; the number in front makes each text different.
const TAILS = [33, 330].map((length) => Array.from({ length: 997 }, (_, n) => letters(n, length - 9)));

/** The n-th message, with a different number and Cyrillic text each time, of 33 and 330 characters in turn. */
export function messageOf(n: number): { msisdn: string; shortcode: string; text: string } {
  const text = `${String(100_000_000 + n)}${TAILS[n % 2]![n % 997]!}`;
  return { msisdn: `7927${String(n % 10_000_000).padStart(7, '0')}`, shortcode: 'SHOP', text };
}
