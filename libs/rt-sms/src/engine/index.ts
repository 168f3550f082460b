/**
 * For authors of engines: the rules that each engine shares with the one in memory.
 * @module nestjs-rt-sms/engine
 */
export {
  applyReport,
  finalOf,
  ignoredDuplicate,
  statusEvent,
  type DeliveryState,
  type StatusRecord,
  type Transition,
} from '../delivery/delivery-state.js';
export { idTaken, MAX_UNKNOWN_UIDS, PENDING_SENDS_WAIT_MS } from '../delivery/engine.js';
export { PollSchedule } from '../delivery/poll-schedule.js';
export { backoffMs } from '../gateway/retry.js';
export { isFinal } from '../message/status.js';
export { messageOf, redact, safeCause } from '../redact.js';
export { fromStored, toStored, type StoredError } from '../rt-sms.errors.js';
