import type { OpenUid, RtSmsError, RtSmsStatusEvent, SentSms } from 'nestjs-rt-sms';
import { Subject, type Observable } from 'rxjs';
import type { Message, MessageStatus } from './message.dto.js';

export type NewMessage = Pick<Message, 'msisdn' | 'text' | 'shortcode' | 'segments'> & { status: 'queued' | 'sending' };
/** A message by either of its keys. */
export type MessageKey = { id: string } | { uid: string };

const BEGUN: ReadonlySet<MessageStatus> = new Set(['queued', 'sending', 'outcome_unknown']);
const FINAL: ReadonlySet<MessageStatus> = new Set(['delivered', 'failed', 'rejected', 'insufficient_balance']);
/** Accepted, and not final: after a restart these are followed again. */
export const OPEN_STATUSES = ['accepted', 'awaiting_report', 'unknown'] as const;

/**
 * Where the application remembers its messages. A message is written before it is sent, so that none that was sent is
 * missing; its `id` goes along as `ref` and is on every event. Number and text are kept in full.
 */
export abstract class MessageJournal {
  protected readonly changes = new Subject<Message>();
  /** Every message as it begins, and each time something becomes known of it; of all replicas that share the journal. */
  readonly changes$: Observable<Message> = this.changes.asObservable();

  /** A message is about to be sent, or handed to the engine. */
  async begin(message: NewMessage): Promise<Message> {
    const [begun] = await this.beginMany([message]);
    return begun!;
  }

  abstract beginMany(messages: readonly NewMessage[]): Promise<Message[]>;

  /** The gateway took it. A status may be known already: callbacks are quick. Nothing if the message is forgotten. */
  accepted(id: string, sent: Pick<SentSms, 'uid'> & Partial<SentSms>): Promise<Message | undefined> {
    const { uid, msisdn, shortcode, segments } = sent;
    return this.change({ id }, ({ status }) => ({
      uid,
      ...(msisdn !== undefined && { msisdn }),
      ...(shortcode !== undefined && { shortcode }),
      ...(segments !== undefined && { segments }),
      ...(BEGUN.has(status) && { status: 'accepted' }),
    }));
  }

  /** It was not sent, or nobody can know. */
  async failed(id: string, error: RtSmsError & { reason?: string }): Promise<void> {
    const { code, outcome, reason, message } = error;
    await this.change({ id }, ({ uid }) =>
      // What the gateway has taken is beyond this.
      uid === undefined
        ? {
            status: outcome === 'unknown' ? 'outcome_unknown' : 'refused',
            error: { code, ...(outcome && { outcome }), ...(reason && { reason }), message },
          }
        : undefined,
    );
  }

  /** A status became known. May be called twice for the same event; one of another process's message is passed over. */
  async statusChanged({ ref, uid, status, errorCode, final }: RtSmsStatusEvent): Promise<void> {
    await this.change(ref === undefined ? { uid } : { id: ref }, (message) =>
      final || !FINAL.has(message.status) ? { uid, status, ...(errorCode !== undefined && { errorCode }) } : undefined,
    );
  }

  abstract find(key: MessageKey): Promise<Message | undefined>;

  /** The newest first. */
  abstract list(limit: number): Promise<Message[]>;

  /** What has no final status yet: after a restart it is followed again. */
  abstract open(): AsyncIterable<OpenUid>;

  /** What may never have reached the queue: the process may have ended between the two. */
  abstract queued(): AsyncIterable<Message>;

  /** Writes what `transition` makes of a message, one at a time for each. Nothing if there is no such message. */
  protected abstract change(
    key: MessageKey,
    transition: (message: Message) => Partial<Message> | undefined,
  ): Promise<Message | undefined>;

  /** Streams of changes end with the application. */
  onModuleDestroy(): void {
    this.changes.complete();
  }
}
