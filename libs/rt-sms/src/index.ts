/** @module nestjs-rt-sms */
export { RtSmsModule } from './rt-sms.module.js';
export { RtSmsService } from './rt-sms.service.js';
export type { RtSmsHealth } from './rt-sms.health.js';
export { getRtSmsHttpToken, getRtSmsToken, InjectRtSms, InjectRtSmsHttp } from './rt-sms.tokens.js';
export { callbackUrl, newCallbackSecret } from './callback/callback-url.js';
export { rtSmsConfig, rtSmsConfigFor } from './options/rt-sms.config.js';
export { rtSmsEnvSchema, rtSmsEnvSchemaFor } from './options/environment-schema.js';
export type { RtSmsSchema, RtSmsSchemaIssue, RtSmsSchemaResult } from './standard-schema.js';
export type {
  OpenUid,
  RtSmsCallbackOptions,
  RtSmsExtras,
  RtSmsOptions,
  RtSmsOptionsFactory,
  RtSmsRate,
  RtSmsRetry,
  RtSmsTimeouts,
  RtSmsTls,
  RtSmsTracking,
} from './options/rt-sms.options.js';
export type { RtSmsLimit, RtSmsPolicy, SendVia } from './options/policy-options.js';
export type {
  LimitCharge,
  LimitCounter,
  LimitRefusal,
  LimitResult,
  LimitRule,
  LimitStore,
} from './policy/limit-store.js';
/** @internal For the terminal program. */
export { describePolicy } from './policy/describe-policy.js';
/** @internal For the terminal program. */
export { resolvePolicy, type ResolvedPolicy } from './policy/resolve-policy.js';
/** @internal For the terminal program. */
export { resolveTls } from './options/tls-material.js';
export { maskNumber } from './redact.js';
export {
  isRtSmsError,
  RT_SMS_OUTCOMES,
  RT_SMS_POLICY_RULES,
  RT_SMS_REASONS,
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsConfigError,
  RtSmsConnectionError,
  RtSmsError,
  RtSmsNotFoundError,
  RtSmsOverloadedError,
  RtSmsPolicyError,
  RtSmsRejectedError,
  RtSmsTimeoutError,
  RtSmsUnexpectedResponseError,
  RtSmsValidationError,
  type RtSmsErrorContext,
  type RtSmsOperation,
  type RtSmsOutcome,
  type RtSmsPolicyRule,
  type RtSmsReason,
} from './rt-sms.errors.js';
export { normalizeMsisdn } from './message/msisdn.js';
export { countSegments, explainSegments, type SmsSegments } from './message/segments.js';
export {
  IsMsisdn,
  IsSmsText,
  SmsMessageDto,
  type CheckedMessage,
  type SentSms,
  type SmsMessage,
} from './message/sms-message.js';
export { msisdnSchema, smsMessageSchema, smsTextSchema, type ParsedSmsMessage } from './message/message-schemas.js';
export { SMS_STATUSES, type DeliveryReport, type SmsStatus } from './message/status.js';
export type { SmsStatusReport } from './gateway/wire.js';
export type { CallFacts, CallOptions, RatePermit, SendOptions } from './gateway/call-options.js';
export { OnRtSmsOverdue, OnRtSmsStatus } from './events/on-status.js';
export {
  RtSmsEvents,
  RtSmsStatusEvent,
  type RtSmsAcceptedEvent,
  type RtSmsExpiredEvent,
  type RtSmsFailedEvent,
  type RtSmsOverdueEvent,
  type RtSmsUnresolvedEvent,
} from './events/events.js';
export type { SendResult } from './delivery/send-many.js';
export type { DeliveryTracker } from './delivery/delivery-tracker.js';
export {
  QUEUED_STATES,
  SMS_PRIORITIES,
  type EngineEvents,
  type EngineHost,
  type EngineItem,
  type EngineSettings,
  type EnqueueItemOptions,
  type EnqueueOptions,
  type QueuedSms,
  type QueuedSmsState,
  type SmsEngine,
  type SmsEngineFactory,
  type SmsPriority,
  type SqlTransaction,
} from './delivery/engine.js';
