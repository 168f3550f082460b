import type { Client } from 'pg';
import { within } from './store-requests.js';

/** Connections opened for the test behind a pooler. Several processes of it may share an address. */
const BEHIND_POOLER = 6;
/** Milliseconds for a connection to get its backend: in session mode there may be none left. */
const ANSWER_MS = 2_000;
const ROUNDS = 2;

const backendOf = async (client: Client): Promise<number> =>
  (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;

/**
 * Opens connections and compares their backends. `isByTransaction` is true if two of them share a backend or one of them
 * changes its backend: only a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`, does that.
 */
export async function detectPooling(
  connect: () => Promise<Client>,
  max: number,
): Promise<{ isByTransaction: boolean; clients: Client[] }> {
  const first = await connect();
  // The key with which a query is cancelled has the process id of the backend, or one that the pooler made up.
  const isPooled = (first as unknown as { processID?: number }).processID !== (await backendOf(first));
  const others = isPooled ? Math.min(BEHIND_POOLER - 1, max) : 1;
  const opened = await Promise.all(
    Array.from({ length: others }, async () => {
      const client = await connect();
      const answered = within(ANSWER_MS, backendOf(client)).then(
        () => true,
        () => false,
      );
      return (await answered) ? client : undefined;
    }),
  );
  const clients = [first, ...opened.filter((client) => client !== undefined)];
  if (clients.length === 1)
    throw new Error(
      'the pooler in front of PostgreSQL has no second connection; raise its pool size (PgBouncer: default_pool_size)',
    );
  const owners = new Map<number, Client>();
  const backends = new Map<Client, number>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const client of clients) {
      // Twice, because a pooler may use its backends in turn.
      for (const pid of [await backendOf(client), await backendOf(client)]) {
        if ((owners.get(pid) ?? client) !== client || (backends.get(client) ?? pid) !== pid)
          return { isByTransaction: true, clients };
        owners.set(pid, client);
        backends.set(client, pid);
      }
    }
  }
  return { isByTransaction: false, clients };
}
