/** @module nestjs-rt-sms-bullmq */
import type { SmsEngineFactory } from 'nestjs-rt-sms';
import { BullMqEngine } from './engine.js';
import type { BullMqOptions } from './options.js';

/**
 * The durable engine of an account, for the option `engine` of `RtSmsModule`: queued messages and what is known of sent
 * ones live in Redis (`connection`) or PostgreSQL (`postgres`), and any number of replicas share them.
 *
 * ```ts
 * engine: bullMq({ connection: 'redis://localhost:6379' })
 * engine: bullMq({ postgres: process.env.DATABASE_URL, role: 'worker' })
 * ```
 * A wrong option, or a store that can never be used, stops the start of the application with an `RtSmsConfigError`.
 */
export function bullMq(options: BullMqOptions): SmsEngineFactory {
  return (host) => new BullMqEngine(options, host);
}

export { BULLMQ_ROLES, rtSmsQueueNames, type BullMqOptions, type BullMqRole } from './options.js';
