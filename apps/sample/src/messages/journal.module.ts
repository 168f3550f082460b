import { Module, type DynamicModule } from '@nestjs/common';
import { InMemoryJournal } from './in-memory-journal.js';
import { MessageJournal } from './message-journal.js';

/** A module of its own, since `RtSmsModule` reads the open messages from the journal. */
@Module({})
export class JournalModule {
  /** A table in that PostgreSQL, whose client is loaded only for it; without one, in memory. */
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
