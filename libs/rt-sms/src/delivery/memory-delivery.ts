import { finalOf, type DeliveryState, type StatusRecord } from './delivery-state.js';
import { PollTask } from './poll-scheduler.js';

/** All that is stored about one uid. Events are not stored, because there are many. */
export class Delivery implements DeliveryState {
  ref: string | undefined;
  /** True if this process sent or tracked the message. Other uids come only from callbacks and are not polled. */
  isKnown = false;
  last: StatusRecord | undefined;
  seenStatuses: readonly string[] | undefined;
  corrected: boolean | undefined;
  /** Present while the message is to be polled. */
  pollTask: DeliveryPoll | undefined;

  constructor(readonly uid: string) {}

  get final(): StatusRecord | undefined {
    return finalOf(this);
  }
}

/** The polls of one message. */
export class DeliveryPoll extends PollTask {
  sentAt = performance.now();
  missingSince: number | undefined;
  /** Polls go on, even after a final status, until the gateway says which of two contradicting final statuses holds. */
  needsConfirmation = false;

  constructor(readonly delivery: Delivery) {
    super();
  }
}
