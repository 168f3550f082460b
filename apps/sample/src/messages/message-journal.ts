import type { OpenUid, RtSmsError, RtSmsPolicyRule, RtSmsStatusEvent, SentSms, SqlTransaction } from 'nestjs-rt-sms';
import { Subject, type Observable } from 'rxjs';
import type { Message, MessageStatus } from './message.dto.js';

export type NewMessage = Pick<Message, 'msisdn' | 'text' | 'shortcode' | 'segments'> & { status: 'queued' | 'sending' };
export type Enqueue = (messages: readonly Message[], tx?: SqlTransaction) => Promise<void>;
type Failed = RtSmsError & { readonly reason?: string; readonly rule?: RtSmsPolicyRule };
/** The key of a message: its id or its uid. */
export type MessageKey = { id: string } | { uid: string };

const BEGUN: ReadonlySet<MessageStatus> = new Set(['queued', 'sending', 'outcome_unknown']);
const FINAL: ReadonlySet<MessageStatus> = new Set(['delivered', 'failed', 'rejected', 'insufficient_balance']);
/** Statuses of accepted messages that are not final; these are tracked again after a restart. */
export const OPEN_STATUSES = ['accepted', 'awaiting_report', 'unknown'] as const;

/**
 * The application's record of its messages. A message is written before it is sent, so that no sent message is missing.
 * Its `id` is passed as `ref`, which all events carry. Number and text are kept in full.
 */
export abstract class MessageJournal {
  protected readonly changes = new Subject<Message>();
  /** Emits messages when they begin and when they change, on all replicas that share the journal. */
  readonly changes$: Observable<Message> = this.changes.asObservable();

  /** Records a message before it is sent. */
  async begin(message: NewMessage): Promise<Message> {
    const [begun] = await this.beginMany([message]);
    return begun!;
  }

  /**
   * Records messages before they are sent. `enqueue` puts them into the queue: in the transaction `tx` that also records them,
   * if the journal has one.
   * @throws the error of `enqueue`; nothing is recorded then, or that they failed
   */
  abstract beginMany(messages: readonly NewMessage[], enqueue?: Enqueue): Promise<Message[]>;

  /** Records that the gateway accepted a message. It may have a status already, because callbacks are fast. */
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

  /** Records that a message was not sent, or that its outcome is unknown. */
  async failed(id: string, error: Failed): Promise<void> {
    // A message that the gateway accepted cannot fail to be sent.
    await this.change({ id }, ({ uid }) => (uid === undefined ? failureOf(error) : undefined));
  }

  /** Records a status. It may be called twice for the same event; events of unknown messages are ignored. */
  async statusChanged({ ref, uid, status, errorCode, final }: RtSmsStatusEvent): Promise<void> {
    await this.change(ref === undefined ? { uid } : { id: ref }, (message) =>
      final || !FINAL.has(message.status) ? { uid, status, ...(errorCode !== undefined && { errorCode }) } : undefined,
    );
  }

  abstract find(key: MessageKey): Promise<Message | undefined>;

  /** The newest `limit` messages, newest first. */
  abstract list(limit: number): Promise<Message[]>;

  /** Messages without a final status, to be tracked again after a restart. */
  abstract open(): AsyncIterable<OpenUid>;

  /** Writes the result of `transition`, one call at a time per message. Returns `undefined` for an unknown message. */
  protected abstract change(
    key: MessageKey,
    transition: (message: Message) => Partial<Message> | undefined,
  ): Promise<Message | undefined>;

  /** Completes the streams of changes during shutdown. */
  onModuleDestroy(): void {
    this.changes.complete();
  }
}

/** What a message shows that was not sent, or whose outcome is unknown. */
export function failureOf(error: Failed): Pick<Message, 'status' | 'error'> {
  const { code, outcome, reason, rule, message } = error;
  return {
    status: outcome === 'unknown' ? 'outcome_unknown' : 'refused',
    error: { code, ...(outcome && { outcome }), ...(reason && { reason }), ...(rule && { rule }), message },
  };
}
