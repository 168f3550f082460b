import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import {
  countSegments,
  isRtSmsError,
  normalizeMsisdn,
  RtSmsAbortedError,
  RtSmsOverloadedError,
  RtSmsService,
  type SmsMessage,
  type SmsPriority,
} from 'nestjs-rt-sms';
import { Store } from '../store.js';
import { MessageJournal, type NewMessage } from './message-journal.js';
import type { Message, SendMessageDto } from './message.dto.js';

/** Maximum age of a message that is enqueued again; the queue may have deleted the ids of older ones. */
const REQUEUE_WITHIN_MS = 24 * 3_600_000;
const BATCH = 500;

@Injectable()
export class MessagesService implements OnApplicationBootstrap {
  private readonly logger = new Logger('Messages');

  constructor(
    private readonly sms: RtSmsService,
    private readonly journal: MessageJournal,
    private readonly store: Store,
    private readonly config: ConfigService,
  ) {}

  /**
   * Sends a message now, or puts it into the queue of the durable engine.
   * @throws RtSmsError, whose `outcome` shows whether the message may have been sent
   */
  async send(message: SendMessageDto): Promise<Message> {
    const [begun] = await this.begin([message]);
    const { id } = begun!;
    try {
      if (this.store.queue) {
        await this.enqueue([begun!], 'normal');
        return (await this.journal.find({ id })) ?? begun!;
      }
      const sent = await this.sms.send({ ...message, ref: id });
      this.logger.log(`${sent.uid} accepted`);
      return (await this.journal.accepted(id, sent)) ?? begun!;
    } catch (error) {
      await this.failed([begun!], error);
      throw error;
    }
  }

  /**
   * Sends the messages of `source`, at the speed of the gateway or of the queue. Calls `begun` with each message when it
   * has an id; outcomes are in the journal. Rejects early if sending cannot continue.
   */
  async sendMany(
    source: AsyncIterable<SmsMessage>,
    begun: (message: Message) => void,
    signal: AbortSignal,
  ): Promise<void> {
    return this.store.queue ? this.queueMany(source, begun, signal) : this.sendEach(source, begun, signal);
  }

  /** Enqueues waiting messages again. The queue ignores ids that it has already, so none is sent twice. */
  async onApplicationBootstrap(): Promise<void> {
    if (!this.store.queue || this.store.role === 'worker') return;
    const waiting: Message[] = [];
    for await (const message of this.journal.queued()) {
      if (Date.now() - message.createdAt.getTime() < REQUEUE_WITHIN_MS) waiting.push(message);
    }
    while (waiting.length > 0) await this.enqueue(waiting.splice(0, BATCH), 'normal').catch(this.logError);
  }

  private async sendEach(
    source: AsyncIterable<SmsMessage>,
    begun: (message: Message) => void,
    signal: AbortSignal,
  ): Promise<void> {
    /** Ids of messages that have begun and do not have a result yet. */
    const waiting = new Set<string>();
    let over = false;
    const giveUp = async () => {
      const error = new RtSmsAbortedError('Not sent: sending stopped before this message', 'not_sent', {});
      for (const id of waiting) await this.journal.failed(id, error);
      waiting.clear();
    };
    const begin = async function* (this: MessagesService): AsyncIterable<SmsMessage> {
      for await (const message of source) {
        const [entry] = await this.begin([message]);
        waiting.add(entry!.id);
        begun(entry!);
        // Sending may have ended while the journal was being written.
        if (over) {
          await giveUp();
          return;
        }
        yield { ...message, ref: entry!.id };
      }
    };
    try {
      for await (const result of this.sms.sendMany(begin.call(this), { signal })) {
        const id = result.message.ref!;
        waiting.delete(id);
        if (result.ok) await this.journal.accepted(id, result.sent);
        else await this.journal.failed(id, result.error);
      }
    } finally {
      over = true;
      await giveUp();
    }
  }

  private async queueMany(
    source: AsyncIterable<SmsMessage>,
    begun: (message: Message) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const batch: SmsMessage[] = [];
    const flush = async () => {
      const entries = await this.begin(batch.splice(0));
      for (const entry of entries) begun(entry);
      try {
        await this.enqueue(entries, 'bulk');
      } catch (error) {
        await this.failed(entries, error);
        throw error;
      }
    };
    for await (const message of source) {
      signal.throwIfAborted();
      if (batch.push(message) >= BATCH) await flush();
    }
    if (batch.length > 0) await flush();
  }

  private async begin(messages: readonly (SmsMessage | SendMessageDto)[]): Promise<Message[]> {
    const shortcode = this.config.get<string>('RT_SMS_SHORTCODE') || undefined;
    const entries = messages.map((message): NewMessage => {
      const sender = message.shortcode ?? shortcode;
      return {
        msisdn: normalizeMsisdn(message.msisdn),
        text: message.text,
        ...(sender !== undefined && { shortcode: sender }),
        segments: countSegments(message.text).segments,
        status: this.store.queue ? 'queued' : 'sending',
      };
    });
    try {
      return await this.journal.beginMany(entries);
    } catch (error) {
      if (isRtSmsError(error)) throw error;
      this.logError(error);
      throw new RtSmsOverloadedError('Nothing was sent: the journal of messages cannot be written', {});
    }
  }

  private async enqueue(messages: readonly Message[], priority: SmsPriority): Promise<void> {
    const items = messages.map(({ id, msisdn, text, shortcode }) => ({
      id,
      priority,
      // The number is normalised already; with a plus the module does not change it.
      message: { msisdn: `+${msisdn}`, text, ...(shortcode !== undefined && { shortcode }), ref: id },
    }));
    await this.sms.enqueueMany(items);
  }

  private async failed(messages: readonly Message[], error: unknown): Promise<void> {
    if (!isRtSmsError(error)) return;
    // The store did not acknowledge it: it may be queued, and is enqueued again at the next start.
    if (this.store.queue && error.outcome === 'unknown') return;
    for (const { id } of messages) {
      this.logger.warn(`${id} ${error.outcome}: ${error.message}`);
      await this.journal.failed(id, error);
    }
  }

  private readonly logError = (error: unknown): void => {
    // A database error is logged by its message alone: its other fields may contain the written data.
    this.logger.error((error as Error).message);
  };
}
