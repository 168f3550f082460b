import { randomUUID } from 'node:crypto';
import {
  Injectable,
  Logger,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { OpenUid } from 'nestjs-rt-sms';
import { fromTypeOrm } from 'nestjs-rt-sms-bullmq';
import { Client } from 'pg';
import {
  DataSource,
  EntitySchema,
  In,
  MoreThan,
  MoreThanOrEqual,
  type MigrationInterface,
  type QueryRunner,
} from 'typeorm';
import { StartError } from '../ports.js';
import type { Message } from './message.dto.js';
import { MessageJournal, OPEN_STATUSES, type Enqueue, type MessageKey, type NewMessage } from './message-journal.js';

export const MESSAGES = new EntitySchema<Message>({
  name: 'Message',
  tableName: 'sample_messages',
  columns: {
    id: { type: 'uuid', primary: true },
    uid: { type: 'text', nullable: true },
    msisdn: { type: 'text' },
    text: { type: 'text' },
    shortcode: { type: 'text', nullable: true },
    segments: { type: 'int' },
    status: { type: 'text' },
    errorCode: { type: 'text', name: 'error_code', nullable: true },
    error: { type: 'jsonb', nullable: true },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    updatedAt: { type: 'timestamptz', name: 'updated_at' },
  },
});

export class CreateMessages1764000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE sample_messages (
        id uuid PRIMARY KEY,
        uid text UNIQUE,
        msisdn text NOT NULL,
        text text NOT NULL,
        shortcode text,
        segments int NOT NULL,
        status text NOT NULL,
        error_code text,
        error jsonb,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
      )`);
    await runner.query('CREATE INDEX sample_messages_newest ON sample_messages (created_at DESC)');
    await runner.query(`
      CREATE INDEX sample_messages_open ON sample_messages (id)
      WHERE status IN ('queued', 'accepted', 'awaiting_report', 'unknown')`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE sample_messages');
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MIGRATION_LOCK = 7_390_217;
const CHANNEL = 'sample_messages';
const BATCH = 500;
/** Delay between the first notification and reading the changes, so that many changes need one query. */
const GATHER_MS = 20;
const RECONNECT_MS = 1_000;

/**
 * Returns a connected DataSource with its table. Replicas that start together migrate one after the other.
 * @throws StartError if the database cannot be used
 */
export async function openDataSource(url: string): Promise<DataSource> {
  const source = new DataSource({
    type: 'postgres',
    url,
    entities: [MESSAGES],
    migrations: [CreateMessages1764000000000],
    migrationsTableName: 'sample_migrations',
    connectTimeoutMS: 5_000,
  });
  try {
    await source.initialize();
    const runner = source.createQueryRunner();
    try {
      await runner.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
      await source.runMigrations();
    } finally {
      await runner.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
      await runner.release();
    }
    return source;
  } catch (error) {
    if (source.isInitialized) await source.destroy();
    const { code, message } = error as Error & { code?: string };
    throw new StartError(`The PostgreSQL of DATABASE_URL cannot be used: ${message || code}`, { cause: error });
  }
}

/** Keeps the messages in a table that all replicas share and that survives a restart. */
@Injectable()
export class PostgresJournal extends MessageJournal implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  private readonly logger = new Logger('Journal');
  private listener: Client | undefined;
  private readonly changedIds = new Set<string>();
  private seen = new Date();
  private ended = false;

  constructor(private readonly source: DataSource) {
    super();
  }

  async onModuleInit(): Promise<void> {
    await this.listen();
  }

  async beginMany(messages: readonly NewMessage[], enqueue?: Enqueue): Promise<Message[]> {
    const now = new Date();
    const begun: Message[] = messages.map((message) => ({
      id: randomUUID(),
      ...message,
      createdAt: now,
      updatedAt: now,
    }));
    await this.source.transaction(async (manager) => {
      await manager.insert(MESSAGES, begun);
      await enqueue?.(begun, fromTypeOrm(manager));
    });
    await this.announce(begun.map(({ id }) => id));
    return begun;
  }

  async find(key: MessageKey): Promise<Message | undefined> {
    const row = isKey(key) && (await this.source.manager.findOneBy(MESSAGES, key));
    return row ? fromRow(row) : undefined;
  }

  async list(limit: number): Promise<Message[]> {
    const rows = await this.source.manager.find(MESSAGES, { order: { createdAt: 'DESC', id: 'ASC' }, take: limit });
    return rows.map(fromRow);
  }

  async *open(): AsyncIterable<OpenUid> {
    for await (const { id, uid, createdAt } of this.withStatus(OPEN_STATUSES)) {
      if (uid !== undefined) yield { uid, sentAt: createdAt, ref: id };
    }
  }

  protected async change(
    key: MessageKey,
    transition: (message: Message) => Partial<Message> | undefined,
  ): Promise<Message | undefined> {
    if (!isKey(key)) return undefined;
    let isChanged = false;
    const result = await this.source.transaction(async (manager) => {
      const row = await manager.findOne(MESSAGES, { where: key, lock: { mode: 'pessimistic_write' } });
      const message = row && fromRow(row);
      const changes = message && transition(message);
      if (!changes) return message ?? undefined;
      const changed = { ...message, ...changes, updatedAt: new Date() };
      await manager.update(MESSAGES, changed.id, { ...changes, updatedAt: changed.updatedAt });
      isChanged = true;
      return changed;
    });
    if (isChanged) await this.announce([result!.id]);
    return result;
  }

  async onApplicationShutdown(): Promise<void> {
    this.ended = true;
    await this.listener?.end().catch(() => undefined);
  }

  /** Notifies outside of the change's transaction: PostgreSQL commits notifying transactions one at a time, each to disk. */
  private async announce(ids: readonly string[]): Promise<void> {
    try {
      await this.source.query('SELECT pg_notify($1, id) FROM unnest($2::text[]) id', [CHANNEL, ids]);
    } catch (error) {
      // The change is stored; only the notification is missing.
      this.logger.warn(`A change of the journal could not be announced: ${(error as Error).message}`);
    }
  }

  /** Reads in pages by key, because the table may be large. */
  private async *withStatus(statuses: readonly Message['status'][]): AsyncIterable<Message> {
    let after = '00000000-0000-0000-0000-000000000000';
    for (;;) {
      const rows = await this.source.manager.find(MESSAGES, {
        where: { status: In(statuses), id: MoreThan(after) },
        order: { id: 'ASC' },
        take: BATCH,
      });
      yield* rows.map(fromRow);
      if (rows.length < BATCH) return;
      after = rows.at(-1)!.id;
    }
  }

  /** Listens to PostgreSQL for changes of all replicas; after a lost connection it reads the missed ones. */
  private async listen(): Promise<void> {
    const { url } = this.source.options as { url: string };
    const listener = new Client({ connectionString: url, connectionTimeoutMillis: 5_000, keepAlive: true });
    const again = () => {
      if (this.ended || this.listener !== listener) return;
      this.listener = undefined;
      listener.end().catch(() => undefined);
      setTimeout(() => void this.listen().catch(() => undefined), RECONNECT_MS).unref();
    };
    this.listener = listener;
    listener.on('error', again);
    listener.on('end', again);
    listener.on('notification', ({ payload }) => {
      if (payload !== undefined) this.collect(payload);
    });
    try {
      await listener.connect();
      await listener.query(`LISTEN ${CHANNEL}`);
      const missed = await this.source.manager.find(MESSAGES, {
        where: { updatedAt: MoreThanOrEqual(this.seen) },
        order: { updatedAt: 'ASC' },
      });
      for (const { id } of missed) this.collect(id);
    } catch (error) {
      this.logger.warn(`The journal's changes cannot be followed for now: ${(error as Error).message}`);
      again();
    }
  }

  private collect(id: string): void {
    if (this.changedIds.size === 0) setTimeout(() => void this.readChanges(), GATHER_MS);
    this.changedIds.add(id);
  }

  private async readChanges(): Promise<void> {
    const ids = [...this.changedIds];
    this.changedIds.clear();
    try {
      const rows = await this.source.manager.find(MESSAGES, { where: { id: In(ids) }, order: { createdAt: 'ASC' } });
      for (const row of rows) {
        if (row.updatedAt > this.seen) this.seen = row.updatedAt;
        this.changes.next(fromRow(row));
      }
    } catch (error) {
      if (!this.ended) this.logger.warn(`Changes of the journal could not be read: ${(error as Error).message}`);
    }
  }
}

/** True if the id is a UUID: other applications on the same queue may use other ids. */
const isKey = (key: MessageKey): boolean => !('id' in key) || UUID.test(key.id);

/** Turns a row into a message: unknown fields are missing instead of null. */
function fromRow(row: Message): Message {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as unknown as Message;
}
