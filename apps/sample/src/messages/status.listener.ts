import { Injectable, Logger } from '@nestjs/common';
import { OnRtSmsStatus, RtSmsStatusEvent } from 'nestjs-rt-sms';
import { MessageJournal } from './message-journal.js';

/** Reacts to what becomes of the messages; told by a callback or found by asking, that makes no difference here. */
@Injectable()
export class StatusListener {
  private readonly logger = new Logger('Messages');

  constructor(private readonly journal: MessageJournal) {}

  @OnRtSmsStatus()
  async onStatus(event: RtSmsStatusEvent): Promise<void> {
    this.logger.log(`${event.uid} ${event.status}`);
    await this.journal.statusChanged(event);
  }
}
