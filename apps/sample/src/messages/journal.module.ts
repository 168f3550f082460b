import { Module, type DynamicModule } from '@nestjs/common';
import { InMemoryJournal } from './in-memory-journal.js';
import { MessageJournal } from './message-journal.js';

/** A separate module, because `RtSmsModule` imports it to read the open messages. */
@Module({})
export class JournalModule {
  /** Keeps the journal in a table of this PostgreSQL, or in memory without a URL. Loads the client only if needed. */
  static async forRoot(databaseUrl: string | undefined): Promise<DynamicModule> {
    const common = { module: JournalModule, exports: [MessageJournal] };
    if (!databaseUrl) return { ...common, providers: [{ provide: MessageJournal, useClass: InMemoryJournal }] };
    const { TypeOrmModule } = await import('@nestjs/typeorm');
    const { openDataSource, PostgresJournal } = await import('./postgres-journal.js');
    return {
      ...common,
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({ type: 'postgres', toRetry: () => false }),
          dataSourceFactory: () => openDataSource(databaseUrl),
        }),
      ],
      providers: [{ provide: MessageJournal, useClass: PostgresJournal }],
    };
  }
}
