/** Handlers of one event that fail are called at most this often, over a day. */
export const MAX_HANDLER_FAILURES = 30;

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 3_600_000;

/** When handlers that have failed `failures` times are called again: later each time, and never all at once. */
export const nextHandlerCall = (failures: number): number =>
  Date.now() + Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);
