import { redact } from 'nestjs-rt-sms/engine';

/** Number of calls of failing event handlers for one event, over about a day. */
export const MAX_HANDLER_FAILURES = 30;

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 3_600_000;

/** Unix time in milliseconds of the next call of handlers that have failed `failures` times: back-off with half jitter. */
export const nextHandlerCall = (failures: number, now: number): number =>
  now + Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);

/** Log line for an event whose handlers have failed too often. */
export const notEmittedAgain = (eventId: string): string =>
  redact(`The handlers of ${eventId} failed ${MAX_HANDLER_FAILURES} times; the event will not be emitted again`);
