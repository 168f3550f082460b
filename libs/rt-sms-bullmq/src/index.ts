/** @module nestjs-rt-sms-bullmq */
import type { SmsEngineFactory } from 'nestjs-rt-sms';
import { BullMqEngine } from './engine.js';
import type { BullMqOptions } from './options.js';

/**
 * The durable engine of an account, for the option `engine` of `RtSmsModule`. Queued messages and the delivery of sent ones are
 * stored in Redis (`connection`) or PostgreSQL (`postgres`), shared by any number of replicas.
 *
 * ```ts
 * engine: bullMq({ connection: 'redis://localhost:6379' })
 * engine: bullMq({ postgres: process.env.DATABASE_URL, role: 'worker' })
 * ```
 * An invalid option or an unusable store stops the start of the application with an `RtSmsConfigError`.
 */
export function bullMq(options: BullMqOptions): SmsEngineFactory {
  return (host) => new BullMqEngine(options, host);
}

export { BULLMQ_ROLES, rtSmsQueueNames, type BullMqOptions, type BullMqRole } from './options.js';
export { fromDrizzle, fromKnex, fromPrisma, fromTypeOrm } from './sql-transaction.js';
