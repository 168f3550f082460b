/** @module nestjs-rt-sms-otp */
export { RtSmsOtpModule, type RtSmsOtpExtras } from './otp.module.js';
export { RtSmsOtpService, type OtpChallenge, type OtpVerification } from './otp.service.js';
export type { OtpTextInput, RtSmsOtpOptions } from './otp.options.js';
export { RtSmsOtpError } from './otp.errors.js';
export { OnRtSmsOtpUndelivered, RtSmsOtpEvents, type RtSmsOtpUndeliveredEvent } from './otp.events.js';
export { memoryOtpStore } from './memory-store.js';
export { redisOtpStore, type RedisOtpStoreOptions } from './redis-store.js';
export { postgresOtpStore, type PostgresOtpStoreOptions } from './postgres-store.js';
export type { NewOtpChallenge, OtpRecord, OtpState, OtpStep, OtpStore } from './store.js';
