import { Injectable, Logger } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import {
  countSegments,
  isRtSmsError,
  type RtSmsError,
  normalizeMsisdn,
  RtSmsAbortedError,
  RtSmsOverloadedError,
  RtSmsPolicyError,
  RtSmsService,
  type SmsMessage,
  type SmsPriority,
  type SqlTransaction,
} from 'nestjs-rt-sms';
import { Store } from '../store.js';
import { failureOf, MessageJournal, type NewMessage } from './message-journal.js';
import type { Message, SendMessageDto } from './message.dto.js';

const BATCH = 500;

@Injectable()
export class MessagesService {
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
    if (this.store.queue) return (await this.journal.find({ id })) ?? begun!;
    try {
      const sent = await this.sms.send({ ...message, ref: id });
      this.logger.log(`${sent.uid} accepted`);
      return (await this.journal.accepted(id, sent)) ?? begun!;
    } catch (error) {
      if (isRtSmsError(error)) {
        this.logger.warn(`${id} ${error.outcome}: ${error.message}`);
        await this.journal.failed(id, error);
      }
      throw error;
    }
  }

  /**
   * Sends the messages of `source`, at the speed of the gateway or of the queue. Calls `begun` with each message when it
   * has an id, and again if it could not be queued; other outcomes are in the journal. Rejects early if sending cannot continue.
   */
  async sendMany(
    source: AsyncIterable<SmsMessage>,
    begun: (message: Message) => void,
    signal: AbortSignal,
  ): Promise<void> {
    return this.store.queue ? this.queueMany(source, begun, signal) : this.sendEach(source, begun, signal);
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
      let entries: readonly Message[] = [];
      try {
        await this.begin(batch.splice(0), 'bulk', (messages) => {
          entries = messages;
          // Before they are queued, because their outcomes may be known at once.
          for (const message of messages) begun(message);
        });
      } catch (error) {
        if (isRtSmsError(error)) for (const entry of entries) begun({ ...entry, ...failureOf(error) });
        throw error;
      }
    };
    for await (const message of source) {
      signal.throwIfAborted();
      if (batch.push(message) >= BATCH) await flush();
    }
    if (batch.length > 0) await flush();
  }

  /** Records messages, and enqueues them if there is a queue. */
  private async begin(
    messages: readonly (SmsMessage | SendMessageDto)[],
    priority: SmsPriority = 'normal',
    begun: (messages: readonly Message[]) => void = () => undefined,
  ): Promise<Message[]> {
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
      if (!this.store.queue) return await this.journal.beginMany(entries);
      const refused = new Map<string, RtSmsError>();
      const recorded = await this.journal.beginMany(entries, (recorded, tx) => {
        begun(recorded);
        return this.enqueue(recorded, priority, tx, refused);
      });
      for (const [id, error] of refused) await this.journal.failed(id, error);
      return recorded;
    } catch (error) {
      if (isRtSmsError(error)) throw error;
      // A database error is logged by its message alone: its other fields may contain the written data.
      this.logger.error((error as Error).message);
      throw new RtSmsOverloadedError('Nothing was sent: the journal of messages cannot be written', {});
    }
  }

  /** Enqueues messages. Of several, those that cannot be queued are put into `refused` if the policy refuses one of them. */
  private async enqueue(
    messages: readonly Message[],
    priority: SmsPriority,
    tx: SqlTransaction | undefined,
    refused: Map<string, RtSmsError>,
  ): Promise<void> {
    const items = messages.map(({ id, msisdn, text, shortcode }) => ({
      id,
      priority,
      // The number is normalised already; with a plus the module does not change it.
      message: { msisdn: `+${msisdn}`, text, ...(shortcode !== undefined && { shortcode }), ref: id },
    }));
    try {
      await this.sms.enqueueMany(items, { tx });
    } catch (error) {
      if (!(error instanceof RtSmsPolicyError) || items.length === 1) throw error;
      for (const { message, id, priority } of items)
        await this.sms.enqueue(message, { id, priority, tx }).catch((each: unknown) => {
          // Without a transaction the messages before this one are queued, so its error must not be theirs.
          if (!isRtSmsError(each) || (tx && !(each instanceof RtSmsPolicyError))) throw each;
          refused.set(id, each);
        });
    }
  }
}
