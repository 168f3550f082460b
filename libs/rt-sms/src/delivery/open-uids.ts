import type { Logger } from '@nestjs/common';
import { readUid } from '../message/status.js';
import { isObject } from '../options/option-rules.js';
import type { RtSmsTracking } from '../options/rt-sms.options.js';
import { messageOf, redact } from '../redact.js';
import type { DeliveryTracker } from './delivery-tracker.js';

/** Tracks the messages that `tracking.open` returns, until `signal` fires. Invalid uids are logged and skipped. */
export async function trackOpenUids(
  open: RtSmsTracking['open'],
  tracker: Pick<DeliveryTracker, 'follow'>,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const item of (await open?.()) ?? []) {
      if (signal.aborted) return;
      const { uid, ...about } = isObject(item) ? item : { uid: item };
      const known = readUid(uid);
      if (known) await tracker.follow(known, about);
      else logger.warn(`tracking.open returned an invalid uid: ${redact(String(uid))}`);
    }
  } catch (error) {
    logger.error(`tracking.open failed, the uids it did not return are not tracked: ${redact(messageOf(error))}`);
  }
}
