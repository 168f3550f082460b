import { chmodSync, chownSync, copyFileSync, readFileSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { BullMqOptions } from 'nestjs-rt-sms-bullmq';
import { Client } from 'pg';
import { atEnd } from '../platforms.js';
import { gatewayOf, run } from './account.js';
import { eventually, startStore } from './services.js';

jest.setTimeout(120_000);

const CERTS = join(import.meta.dirname, '../faults/certs');
const certificate = join(CERTS, 'localhost.pem');
const key = join(CERTS, 'server.key');
const ca = readFileSync(join(CERTS, 'ca.pem'), 'utf8');
const hello = { msisdn: '79271234567', text: 'Hello' };

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function redisOverTls(): Promise<(ca?: string) => BullMqOptions> {
  const port = await freePort();
  const files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', join(CERTS, 'ca.pem')];
  const store = await startStore('Redis', '--tls-port', String(port), '--tls-auth-clients', 'no', ...files);
  atEnd(() => store.close());
  return (ca) => ({ connection: { host: '127.0.0.1', port, tls: ca === undefined ? {} : { ca } } });
}

async function postgresOverTls(): Promise<(ca?: string) => BullMqOptions> {
  const store = await startStore('PostgreSQL');
  atEnd(() => store.close());
  const { postgres } = store.options as { postgres: string };
  const client = new Client({ connectionString: postgres });
  await client.connect();
  atEnd(() => client.end());
  const { rows } = await client.query<{ folder: string }>("SELECT current_setting('data_directory') AS folder");
  const { folder } = rows[0]!;
  const { uid, gid } = statSync(folder);
  for (const [from, name] of [
    [certificate, 'server.crt'],
    [key, 'server.key'],
  ] as const) {
    copyFileSync(from, join(folder, name));
    chownSync(join(folder, name), uid, gid);
    chmodSync(join(folder, name), 0o600);
  }
  await client.query('ALTER SYSTEM SET ssl = on');
  await client.query('SELECT pg_reload_conf()');
  const secured = () => client.query<{ ssl: string }>("SELECT current_setting('ssl') AS ssl");
  await eventually(async () => (await secured()).rows[0]!.ssl === 'on');
  return (ca) => ({ postgres: { connectionString: postgres, ssl: ca === undefined ? true : { ca } } });
}

it.each([
  ['Redis', redisOverTls],
  ['PostgreSQL', postgresOverTls],
])('%s over TLS: used with its CA, refused without', async (_, start) => {
  const optionsWith = await start();
  const gateway = await gatewayOf();
  const trusting = await run(gateway, optionsWith(ca) as { postgres: string });
  await trusting.sms.enqueue(hello, { id: 'a' });
  await trusting.heard('accepted', 'a');
  const warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
  atEnd(() => warn.mockRestore());
  const other = await run(gateway, optionsWith() as { postgres: string });
  await expect(other.sms.enqueue(hello)).rejects.toMatchObject({ outcome: 'not_sent' });
  expect(warn.mock.calls.map(([line]) => String(line)).join('\n')).toMatch(
    /The store of the queue failed: .*certificate/,
  );
  expect(gateway.messages).toHaveLength(1);
});
