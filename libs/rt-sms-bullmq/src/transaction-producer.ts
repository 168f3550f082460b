import { randomUUID } from 'node:crypto';
import {
  isRtSmsError,
  RtSmsOverloadedError,
  RtSmsValidationError,
  type EngineHost,
  type EngineItem,
  type SqlTransaction,
} from 'nestjs-rt-sms';
import { jobIdOf } from './job-id.js';
import type { NewJobOptions } from './jobs.js';
import type { KnownJob } from './operations.js';
import { BATCH, compareIds, distinctItems, overdueTimers, sendJob } from './send-jobs.js';
import { rowsOf } from './sql-transaction.js';
import { reason, safeStoreError } from './store-errors.js';
import type { Store } from './store.js';
import { transactionSql, type KnownRow, type Place, type Rights, type SqlJob } from './transaction-sql.js';

/** A job as `add_job` takes it. */
function sqlJob(queue: string, { name, data, opts }: { name: string; data: object; opts: NewJobOptions }): SqlJob {
  const { jobId: id, priority = 0, delay = 0, timestamp: at, attempts } = opts;
  return { queue, id, name, data, opts, priority, delay, at, attempts };
}

/**
 * Queues messages inside transactions of the application: by BullMQ's own function `add_job`, on the connection of the
 * application, so that the message exists once the transaction commits.
 */
export class TransactionProducer {
  private readonly sql: ReturnType<typeof transactionSql>;
  /** Proves that two statements run in one transaction, see `transactionSql`. */
  private readonly proof = randomUUID();
  /** Places, see `transactionSql`, at which the queue can be used. */
  private readonly usable = new Set<string>();

  constructor(
    private readonly store: Store,
    private readonly host: EngineHost,
  ) {
    this.sql = transactionSql(store.options.schema);
  }

  async enqueue(tx: SqlTransaction, given: EngineItem[]): Promise<void> {
    const { account } = this.host.options;
    // The key of the digests lies in the store.
    await this.store.guard('enqueue', async () => undefined);
    const items = distinctItems(given, account).toSorted((a, b) => (jobIdOf(a.id) < jobIdOf(b.id) ? -1 : 1));
    const named = items.filter(({ hasGeneratedId }) => !hasGeneratedId);
    try {
      await this.begin(tx);
      // A single job needs no look before, because it replaces nothing.
      const areMany = items.length > 1 || items.some(({ overdueAfterMs }) => overdueAfterMs !== undefined);
      if (areMany) await this.compare(tx, named);
      await this.add(tx, items);
      await this.confirm(tx, named, areMany);
    } catch (error) {
      if (isRtSmsError(error)) throw error;
      const secrets = items.flatMap(({ msisdn, text }) => [msisdn, text]);
      throw new RtSmsOverloadedError(
        `Nothing was queued: the transaction failed (${reason(error, secrets)}). Fix: roll it back and run it again`,
        { account, cause: safeStoreError(error, secrets) },
      );
    }
  }

  /** Marks the transaction, and checks whether its database has the schema of the queue and its role the rights. */
  private async begin(tx: SqlTransaction): Promise<void> {
    const { schema } = this.store.options;
    const [found] = rowsOf<Place>(await tx.query(this.sql.begin, [this.proof]));
    if (!found) this.refuse('its query function returns no rows, so it is not a transaction of PostgreSQL');
    if (this.usable.has(found.place)) return;
    const [rights] = rowsOf<Rights>(await tx.query(this.sql.rights, [schema]));
    if (!rights?.hasSchema)
      this.refuse(`its database '${found.database}' is not that of the queue: it has no schema '${schema}'`);
    if (rights.grants !== null) this.refuse(`its role lacks rights. Fix: ${rights.grants}`);
    this.usable.add(found.place);
  }

  private async add(tx: SqlTransaction, items: EngineItem[]): Promise<void> {
    for (let begin = 0; begin < items.length; begin += BATCH) {
      const jobs = JSON.stringify(this.sqlJobs(items.slice(begin, begin + BATCH)));
      if (await this.addJobs(tx, jobs)) continue;
      // Another replica may have found the store emptied, and marked it again.
      await this.store.look();
      if (!(await this.addJobs(tx, jobs))) await this.refuseUnguarded(tx);
    }
  }

  private async addJobs(tx: SqlTransaction, jobs: string): Promise<boolean> {
    const { queue, jobId, id } = this.store.mark;
    return rowsOf(await tx.query(this.sql.add, [jobs, this.proof, queue, jobId, id])).length > 0;
  }

  /** The jobs of messages, and of their timers. */
  private sqlJobs(items: EngineItem[]): SqlJob[] {
    return [
      ...overdueTimers(this.store.clock, items).map((timer) => sqlJob(this.store.name('check'), timer)),
      ...items.map((item) => sqlJob(this.store.name('send'), sendJob(this.store, item))),
    ];
  }

  /** Checks after the insertion which message has each id, because `add_job` keeps a job that is there. */
  private async confirm(tx: SqlTransaction, named: EngineItem[], areMany: boolean): Promise<void> {
    try {
      const forgotten = await this.compare(tx, named);
      if (forgotten.length === 0) return;
      await this.store.removeCompleted('send', this.store.clock.now() - this.host.options.idempotencyMs);
      await this.add(tx, forgotten);
      if ((await this.compare(tx, forgotten)).length > 0) throw new Error('expired messages could not be removed');
    } catch (error) {
      // Another transaction has taken an id since the first look, and some messages were added: they must not be committed.
      if (areMany) await tx.query(this.sql.fail, []).catch(() => undefined);
      throw error;
    }
  }

  /** Returns the items whose ids are free. @throws RtSmsValidationError if an id belongs to a different message */
  private async compare(tx: SqlTransaction, items: EngineItem[]): Promise<EngineItem[]> {
    const { seal, clock } = this.store;
    const about = { seal, options: this.host.options, now: clock.now() };
    const { free } = await compareIds(items, (jobIds) => this.lookUp(tx, jobIds), about);
    return free;
  }

  private async lookUp(tx: SqlTransaction, jobIds: string[]): Promise<(KnownJob | undefined)[]> {
    // Job ids consist of letters, digits, - and _.
    const values = [this.store.name('send'), `{${jobIds.join()}}`];
    // In an isolated transaction a job that has been removed may be visible beside the new one, which comes last.
    const known = new Map<string, KnownJob>();
    for (const { id, digest, finishedOn } of rowsOf<KnownRow>(await tx.query(this.sql.lookUp, values)))
      known.set(id, { digest: String(digest), finishedOn: finishedOn === null ? undefined : Number(finishedOn) });
    return jobIds.map((id) => known.get(id));
  }

  /** Explains why `add` added nothing. */
  private async refuseUnguarded(tx: SqlTransaction): Promise<never> {
    const [found] = rowsOf<{ isOpen: boolean }>(await tx.query(this.sql.isOpen, [this.proof]));
    return this.refuse(
      found?.isOpen
        ? 'its database is not that of the queue of this account'
        : 'it has ended, or was not begun, so that the message would be queued whatever happens. Fix: pass the connection between BEGIN and COMMIT',
    );
  }

  private refuse(problem: string): never {
    throw new RtSmsValidationError([`tx: ${problem}`], { account: this.host.options.account });
  }
}
