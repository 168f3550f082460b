import { PostgresConnection, PostgresQueueBackend, type BackendFactory } from 'bullmq';
import { PostgresPool, type PoolSettings } from './postgres-pool.js';

type ListenClient = Awaited<ReturnType<PostgresConnection['getListenClient']>>;

/** BullMQ's view of a shared pool. */
class SharedConnection extends PostgresConnection {
  private ending: Promise<void> | undefined;
  private readonly forward = (error: Error) => {
    if (this.listenerCount('error') > 0) this.emit('error', error);
  };
  private readonly wakeWorkers = () => this.emit('listenerinvalidated');

  constructor(
    readonly shared: PostgresPool,
    schema: string,
  ) {
    super({
      query: (sql: string, values?: unknown[]) => shared.query(sql, values),
      connect: () => Promise.reject(new Error('not used')),
      end: () => Promise.resolve(),
      on: () => undefined,
    });
    (this as { schema: string }).schema = schema;
    shared.on('error', this.forward);
    shared.notifications.on('lost', this.wakeWorkers);
  }

  override waitUntilReady(): Promise<void> {
    return this.shared.ready();
  }

  override getListenClient(): Promise<ListenClient> {
    return Promise.resolve(this.shared.listen() as unknown as ListenClient);
  }

  override get hasListenClientKeepAlive(): boolean {
    return true;
  }

  /** The connection that listens belongs to all workers of the process. */
  override setListenClientName(): Promise<void> {
    return Promise.resolve();
  }

  override get isClosing(): Promise<void> | undefined {
    return this.ending;
  }

  override close(): Promise<void> {
    this.ending ??= this.end();
    return this.ending;
  }

  private async end(): Promise<void> {
    this.shared.off('error', this.forward);
    this.shared.notifications.off('lost', this.wakeWorkers);
    await this.shared.release();
    this.emit('close');
  }
}

class SharedBackend extends PostgresQueueBackend {
  constructor(
    private readonly shared: PostgresPool,
    schema: string,
    ...[name, options]: Parameters<BackendFactory>
  ) {
    super(new SharedConnection(shared, schema), name, options as ConstructorParameters<typeof PostgresQueueBackend>[2]);
  }

  override waitForJob(seconds: number): ReturnType<PostgresQueueBackend['waitForJob']> {
    return super.waitForJob(Math.min(seconds, this.shared.longestSleep));
  }
}

/** Factory of BullMQ backends that use the connections of this process, see `PostgresPool`. */
export const sharedPostgresBackend =
  (settings: PoolSettings) =>
  (...[name, options]: Parameters<BackendFactory>) =>
    new SharedBackend(PostgresPool.acquire(settings), settings.schema, name, options);
