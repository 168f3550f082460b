import { randomUUID } from 'node:crypto';
import { Module } from '@nestjs/common';
import type { OpenUid, RtSmsError, RtSmsStatusEvent, SentSms } from 'nestjs-rt-sms';
import type { Message } from './message.dto.js';
import { MessageJournal, type NewMessage } from './message-journal.js';

const KEPT = 10_000;
const OPEN: ReadonlySet<string> = new Set(['accepted', 'awaiting_report', 'unknown']);

/** The last 10,000 messages, gone with the process. */
export class InMemoryJournal extends MessageJournal {
  private readonly messages = new Map<string, Message>();
  private readonly idOfUid = new Map<string, string>();

  async begin(message: NewMessage): Promise<Message> {
    const now = new Date();
    const begun: Message = { id: randomUUID(), ...message, status: 'sending', createdAt: now, updatedAt: now };
    this.messages.set(begun.id, begun);
    if (this.messages.size > KEPT) this.forgetOldest();
    return begun;
  }

  async accepted(id: string, { uid, msisdn, shortcode, segments }: SentSms): Promise<Message> {
    const { status } = this.get(id);
    return this.change(id, { uid, msisdn, shortcode, segments, ...(status === 'sending' && { status: 'accepted' }) });
  }

  async failed(id: string, { code, outcome }: RtSmsError): Promise<void> {
    this.change(id, {
      status: outcome === 'unknown' ? 'outcome_unknown' : 'refused',
      error: { code, ...(outcome && { outcome }) },
    });
  }

  async statusChanged({ ref, uid, status, errorCode }: RtSmsStatusEvent): Promise<void> {
    const id = ref ?? this.idOfUid.get(uid);
    // Of an earlier run, or of another process.
    if (id === undefined || !this.messages.has(id)) return;
    this.change(id, { uid, status, ...(errorCode !== undefined && { errorCode }) });
  }

  async find(uid: string): Promise<Message | undefined> {
    const id = this.idOfUid.get(uid);
    return id === undefined ? undefined : this.messages.get(id);
  }

  async list(): Promise<Message[]> {
    return [...this.messages.values()].toReversed();
  }

  async *open(): AsyncIterable<OpenUid> {
    for (const { id, uid, status, createdAt } of this.messages.values()) {
      if (uid !== undefined && OPEN.has(status)) yield { uid, sentAt: createdAt, ref: id };
    }
  }

  private get(id: string): Message {
    const message = this.messages.get(id);
    if (!message) throw new Error(`The journal has forgotten the message ${id}`);
    return message;
  }

  private change(id: string, changes: Partial<Message>): Message {
    const changed = { ...this.get(id), ...changes, updatedAt: new Date() };
    this.messages.set(id, changed);
    if (changed.uid !== undefined) this.idOfUid.set(changed.uid, id);
    return changed;
  }

  private forgetOldest(): void {
    const [oldest] = this.messages.values();
    this.messages.delete(oldest!.id);
    if (oldest!.uid !== undefined) this.idOfUid.delete(oldest!.uid);
  }
}

/** A module of its own, since `RtSmsModule` reads the open messages from the journal. */
@Module({
  providers: [{ provide: MessageJournal, useClass: InMemoryJournal }],
  exports: [MessageJournal],
})
export class JournalModule {}
