/**
 * Kit for authors of engines: the ports, and the rules that every engine shares with the one in memory.
 * @module nestjs-rt-sms/engine
 */
export {
  applyReport,
  finalOf,
  gaveUp,
  ignoredDuplicate,
  statusEvent,
  type DeliveryState,
  type StatusRecord,
  type Transition,
} from '../delivery/delivery-state.js';
export { MAX_UNKNOWN_UIDS, PENDING_SENDS_WAIT_MS, type DeliveryTracker } from '../delivery/delivery-tracker.js';
export {
  idTaken,
  type EngineEvents,
  type EngineHost,
  type EngineItem,
  type EngineSettings,
  type SmsEngine,
} from '../delivery/engine.js';
export { OVERDUE_POLL_MS, OVERDUE_RECHECK_MS, type Overdue } from '../delivery/overdue-timers.js';
export { HINT_PAUSE_MS, parallelPolls, PollSchedule } from '../delivery/poll-schedule.js';
export { afterFailedSend, queueBackoffMs } from '../delivery/queue-retry.js';
export { MemoryLimits, refusalOf } from '../policy/memory-limits.js';
export {
  roundedTo,
  type LimitCharge,
  type LimitCounter,
  type LimitResult,
  type LimitStore,
} from '../policy/limit-store.js';
export { isFinal } from '../message/status.js';
export { messageOf, redact, safeCause } from '../redact.js';
export { fromStored, toStored, type StoredError } from '../stored-error.js';
