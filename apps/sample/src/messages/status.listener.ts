import { Injectable, Logger } from '@nestjs/common';
import { OnEvent } from '@nestjs/event-emitter';
import {
  OnRtSmsStatus,
  RtSmsEvents,
  RtSmsStatusEvent,
  type RtSmsAcceptedEvent,
  type RtSmsFailedEvent,
} from 'nestjs-rt-sms';
import { MessageJournal } from './message-journal.js';

/** Lets a failure of a handler reach the engine, which runs the handler again. */
const REPEATED = { suppressErrors: false };

/** Records the outcomes and statuses of messages, both from callbacks and from polls. */
@Injectable()
export class StatusListener {
  private readonly logger = new Logger('Messages');

  constructor(private readonly journal: MessageJournal) {}

  @OnRtSmsStatus()
  async onStatus(event: RtSmsStatusEvent): Promise<void> {
    this.logger.log(`${event.uid} ${event.status}`);
    await this.journal.statusChanged(event);
  }

  /** Handles the acceptance of a queued message. */
  @OnEvent(RtSmsEvents.accepted, REPEATED)
  async onAccepted({ id, uid }: RtSmsAcceptedEvent): Promise<void> {
    this.logger.log(`${uid} accepted`);
    if (id !== undefined) await this.journal.accepted(id, { uid });
  }

  @OnEvent(RtSmsEvents.refused, REPEATED)
  @OnEvent(RtSmsEvents.outcomeUnknown, REPEATED)
  async onFailed({ id, error }: RtSmsFailedEvent): Promise<void> {
    this.logger.warn(`${id} ${error.outcome}: ${error.message}`);
    await this.journal.failed(id, error);
  }
}
