import { Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { isRtSmsError } from 'nestjs-rt-sms';
import { MessageFile } from 'nestjs-rt-sms/message-file';
import type { Subscription } from 'rxjs';
import { MessageJournal } from '../messages/message-journal.js';
import { MessagesService } from '../messages/messages.service.js';
import { Bulk, type BulkRow } from './bulk.js';

/** Limit of rows in a file, because all of them are kept in memory. */
const MAX_ROWS = 200_000;
/** Number of files kept, so that their results can be downloaded. */
const KEPT = 5;

/** Keeps files of messages in the memory of the process that received them. Outcomes are also in the journal. */
@Injectable()
export class BulkService implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('Bulk');
  private readonly bulks = new Map<string, Bulk>();
  private readonly rowOfMessage = new Map<string, { bulk: Bulk; row: BulkRow }>();
  private following: Subscription | undefined;

  constructor(
    private readonly messages: MessagesService,
    private readonly journal: MessageJournal,
  ) {}

  onModuleInit(): void {
    this.following = this.journal.changes$.subscribe((message) => {
      const place = this.rowOfMessage.get(message.id);
      place?.bulk.change(place.row, message);
    });
  }

  onModuleDestroy(): void {
    this.following?.unsubscribe();
    for (const bulk of this.bulks.values()) {
      bulk.stop();
      bulk.changes$.complete();
    }
  }

  /** @throws MessageFileError */
  async take(bytes: Buffer, shortcode: string | undefined): Promise<Bulk> {
    const bulk = await Bulk.check(await MessageFile.open(() => [bytes], { shortcode, maxRows: MAX_ROWS }));
    this.forgetOldest();
    this.bulks.set(bulk.id, bulk);
    return bulk;
  }

  find(id: string): Bulk | undefined {
    return this.bulks.get(id);
  }

  /** Starts to send the valid rows; a second call is ignored. */
  start(bulk: Bulk): void {
    if (bulk.state === 'ready') void this.send(bulk);
  }

  private async send(bulk: Bulk): Promise<void> {
    bulk.become('sending');
    // Messages get their ids in the order of their rows.
    const going: BulkRow[] = [];
    try {
      await this.messages.sendMany(
        bulk.messages((row) => going.push(row)),
        (message) => {
          const row = this.rowOfMessage.get(message.id)?.row ?? going.shift()!;
          this.rowOfMessage.set(message.id, { bulk, row });
          bulk.change(row, message);
        },
        bulk.signal,
      );
      bulk.become(bulk.signal.aborted ? 'stopped' : 'done');
    } catch (error) {
      if (bulk.signal.aborted) return bulk.become('stopped');
      const { message } = error as Error;
      this.logger.error(`${bulk.id} stopped: ${message}`);
      bulk.become('stopped', isRtSmsError(error) ? { code: error.code, message } : { message });
    }
  }

  private forgetOldest(): void {
    for (const [id, bulk] of this.bulks) {
      if (this.bulks.size < KEPT) return;
      if (bulk.state === 'sending') continue;
      this.bulks.delete(id);
      bulk.changes$.complete();
      for (const [message, place] of this.rowOfMessage) if (place.bulk === bulk) this.rowOfMessage.delete(message);
    }
  }
}
