import { randomUUID } from 'node:crypto';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { isRtSmsError, type OpenUid } from 'nestjs-rt-sms';
import type { Message } from './message.dto.js';
import { MessageJournal, OPEN_STATUSES, type Enqueue, type MessageKey, type NewMessage } from './message-journal.js';

const KEPT = 100_000;
const OPEN: ReadonlySet<string> = new Set(OPEN_STATUSES);

/** Keeps the last 100,000 messages in the memory of the process. */
@Injectable()
export class InMemoryJournal extends MessageJournal implements OnModuleDestroy {
  private readonly messages = new Map<string, Message>();
  private readonly idOfUid = new Map<string, string>();

  async beginMany(messages: readonly NewMessage[], enqueue?: Enqueue): Promise<Message[]> {
    const now = new Date();
    const begun = messages.map((message) => ({ id: randomUUID(), ...message, createdAt: now, updatedAt: now }));
    for (const message of begun) {
      this.messages.set(message.id, message);
      if (this.messages.size > KEPT) this.forgetOldest();
      this.changes.next(message);
    }
    try {
      await enqueue?.(begun);
    } catch (error) {
      if (isRtSmsError(error)) for (const { id } of begun) await this.failed(id, error);
      throw error;
    }
    return begun;
  }

  async find(key: MessageKey): Promise<Message | undefined> {
    return this.get(key);
  }

  async list(limit: number): Promise<Message[]> {
    const all = [...this.messages.values()];
    return all.slice(Math.max(0, all.length - limit)).toReversed();
  }

  async *open(): AsyncIterable<OpenUid> {
    for (const { id, uid, status, createdAt } of this.messages.values()) {
      if (uid !== undefined && OPEN.has(status)) yield { uid, sentAt: createdAt, ref: id };
    }
  }

  protected async change(
    key: MessageKey,
    transition: (message: Message) => Partial<Message> | undefined,
  ): Promise<Message | undefined> {
    const message = this.get(key);
    const changes = message && transition(message);
    if (!changes) return message;
    const changed = { ...message, ...changes, updatedAt: new Date() };
    this.messages.set(changed.id, changed);
    if (changed.uid !== undefined) this.idOfUid.set(changed.uid, changed.id);
    this.changes.next(changed);
    return changed;
  }

  private get(key: MessageKey): Message | undefined {
    const id = 'id' in key ? key.id : this.idOfUid.get(key.uid);
    return id === undefined ? undefined : this.messages.get(id);
  }

  private forgetOldest(): void {
    const [oldest] = this.messages.values();
    this.messages.delete(oldest!.id);
    if (oldest!.uid !== undefined) this.idOfUid.delete(oldest!.uid);
  }
}
