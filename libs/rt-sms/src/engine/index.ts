/**
 * For authors of engines: the rules that each engine shares with the one in memory.
 * @module nestjs-rt-sms/engine
 */
export { idTaken } from '../delivery/engine.js';
export { messageOf, redact, safeCause } from '../redact.js';
export { fromStored, toStored, type StoredError } from '../rt-sms.errors.js';
