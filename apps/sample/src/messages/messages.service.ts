import { Injectable, Logger } from '@nestjs/common';
import { countSegments, isRtSmsError, normalizeMsisdn, RtSmsService } from 'nestjs-rt-sms';
import { MessageJournal } from './message-journal.js';
import type { Message, SendMessageDto } from './message.dto.js';

@Injectable()
export class MessagesService {
  private readonly logger = new Logger('Messages');

  constructor(
    private readonly sms: RtSmsService,
    private readonly journal: MessageJournal,
  ) {}

  /** @throws RtSmsError, whose `outcome` says whether the message may have been sent all the same */
  async send(message: SendMessageDto): Promise<Message> {
    const { id } = await this.journal.begin({
      ...message,
      msisdn: normalizeMsisdn(message.msisdn),
      segments: countSegments(message.text).segments,
    });
    try {
      const sent = await this.sms.send({ ...message, ref: id });
      this.logger.log(`${sent.uid} accepted`);
      return await this.journal.accepted(id, sent);
    } catch (error) {
      if (isRtSmsError(error)) {
        this.logger.warn(`${id} ${error.outcome}: ${error.message}`);
        await this.journal.failed(id, error);
      }
      throw error;
    }
  }
}
