/** @module nestjs-rt-sms-testing */
export { RtSmsSimulator, type RtSmsSimulatorEvents } from './simulator.js';
export { type RtSmsSimulatorAdjustments, type RtSmsSimulatorOptions } from './options.js';
export { runSimulator } from './program/program.js';
export { type ScriptStep } from './program/script.js';
export { type MessageStatus, type SimulatedCallback, type SimulatedMessage, type StatusDetails } from './messages.js';
export { type SimulatedExchange } from './exchange.js';
export { type Fault, type FaultDetails, TRANSPORT_FAULTS, type TransportFault } from './faults.js';
export { MAGIC_NUMBERS, type MagicNumber } from './magic-numbers.js';
export { type CredentialsPlace, type Reason, REASONS, type SmsStatus, STATUSES } from './protocol.js';
