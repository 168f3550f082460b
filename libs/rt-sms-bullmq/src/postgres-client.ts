import type pg from 'pg';
import type { Client, ClientConfig } from 'pg';
import { CONNECT_TIMEOUT } from './store-errors.js';

export interface ClientSettings {
  /** Milliseconds for opening a connection, `prepare` included; 0 for no limit. */
  connectMs: number;
  /** Runs before the first query. */
  prepare(client: Client): Promise<void>;
  /** The connections that are not closed yet. */
  clients: Set<Client>;
}

/** Class of connections for `pg`'s pool. */
export function clientClass(
  { Client: Base }: typeof pg,
  config: ClientConfig,
  { connectMs, prepare, clients }: ClientSettings,
): typeof Client {
  return class extends Base {
    constructor() {
      super(config);
      clients.add(this);
      // An error without a listener would end the process.
      this.on('error', () => undefined);
      this.once('end', () => clients.delete(this));
    }

    override connect(): Promise<Client>;
    override connect(done: ((error: Error) => void) | ((error: null, client: Client) => void)): void;
    override connect(done?: unknown): Promise<Client> | void {
      const connected = this.open();
      if (!done) return connected;
      const settle = done as (error: Error | null, client?: Client) => void;
      connected.then(
        () => settle(null, this),
        (error: Error) => settle(error),
      );
    }

    private async open(): Promise<Client> {
      try {
        await limited(
          connectMs,
          super.connect().then(() => prepare(this)),
        );
        return this;
      } catch (error) {
        destroy(this);
        clients.delete(this);
        throw error;
      }
    }
  };
}

/** Closes the socket, without waiting for PostgreSQL. */
export function destroy(client: Client): void {
  (client as unknown as { connection?: { stream: { destroy(): void } } }).connection?.stream.destroy();
}

async function limited(ms: number, connecting: Promise<void>): Promise<void> {
  if (ms === 0) return connecting;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${CONNECT_TIMEOUT} within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([connecting, limit]);
  } finally {
    clearTimeout(timer);
  }
}
