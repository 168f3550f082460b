import type { OpenUid, RtSmsError, RtSmsStatusEvent, SentSms } from 'nestjs-rt-sms';
import type { Message } from './message.dto.js';

export type NewMessage = Pick<Message, 'msisdn' | 'text' | 'shortcode' | 'segments'>;

/**
 * Where the application remembers its messages. A message is written before it is sent, so that none that was sent is
 * missing; its `id` goes along as `ref` and is on every event. A table with `id` and `uid` as keys can stand in here.
 */
export abstract class MessageJournal {
  /** A message is about to be sent. */
  abstract begin(message: NewMessage): Promise<Message>;

  /** The gateway took it. A status may be known already: callbacks are quick. */
  abstract accepted(id: string, sent: SentSms): Promise<Message>;

  /** It was not sent, or nobody can know. */
  abstract failed(id: string, error: RtSmsError): Promise<void>;

  /** A status became known. May be called twice for the same event. */
  abstract statusChanged(event: RtSmsStatusEvent): Promise<void>;

  abstract find(uid: string): Promise<Message | undefined>;

  /** The newest first. */
  abstract list(): Promise<Message[]>;

  /** What has no final status yet: after a restart it is followed again. */
  abstract open(): AsyncIterable<OpenUid>;
}
