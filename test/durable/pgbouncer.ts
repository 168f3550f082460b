import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { findProgram, onPath, required } from '../programs.js';
import { freePort, postgresUser, stop, until } from './services.js';

export const pgBouncer = () => findProgram(() => onPath('pgbouncer'), 'pgbouncer');

/**
 * Starts PgBouncer with its default settings and these lines, in front of the PostgreSQL at `url`. Several `processes` share its
 * port. Returns the URL through it.
 */
export async function startPgBouncer(url: string, settings: string[], processes = 1) {
  const program = required(pgBouncer());
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-pgbouncer-'));
  const owner = postgresUser();
  const port = await freePort();
  const file = (name: string, ...lines: string[]) => {
    const path = join(folder, name);
    writeFileSync(path, lines.join('\n'));
    return path;
  };
  const { hostname, port: server, username } = new URL(url);
  const users = file('users.txt', `"${username}" ""`, '');
  const ini = file(
    'pgbouncer.ini',
    '[databases]',
    `* = host=${hostname} port=${server}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${users}`,
    ...(processes > 1 ? ['so_reuseport = 1'] : []),
    ...settings,
    '',
  );
  if (owner.uid !== undefined) for (const path of [folder, users, ini]) chownSync(path, owner.uid, owner.gid!);
  const children = Array.from({ length: processes }, () =>
    spawn(program, [ini], { ...owner, cwd: folder, stdio: 'ignore' }),
  );
  const through = url.replace(`:${server}/`, `:${port}/`);
  await until('PgBouncer', async () => {
    const client = new Client({ connectionString: through });
    client.on('error', () => undefined);
    try {
      await client.connect();
    } finally {
      await client.end();
    }
  });
  return {
    url: through,
    /** Stops answering, without closing a connection. */
    stall: () => children.forEach((child) => child.kill('SIGSTOP')),
    close: async () => {
      await Promise.all(children.map((child) => stop(child, 'SIGKILL')));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
