// A kept-alive connection that the gateway closes at the moment in which the next send takes it.
import { RtSmsService } from 'nestjs-rt-sms';
import { FaultServer } from '../test/faults/fault-server.js';
import { messageOf, startAccount } from './account.js';
import { report, type Figure } from './figures.js';

const SENDS = 100;

async function failures(tls: boolean, how: 'fin' | 'rst') {
  const server = await FaultServer.start('stale-keep-alive', { tls });
  const app = await startAccount({ url: server.url, connections: 1, ...(tls ? { tls: { ca: server.ca } } : {}) });
  const sms = app.get(RtSmsService);
  await sms.send(messageOf(0));
  let failed = 0;
  for (let n = 1; n <= SENDS; n++) {
    if (server.closeIdle(how) !== 1) throw new Error('the connection was not idle');
    await sms.send(messageOf(n)).catch(() => failed++);
  }
  if (server.twice.length > 0) throw new Error('sent twice');
  await app.close();
  await server.close();
  return failed;
}

const figures: Figure[] = [];
for (const tls of [false, true]) {
  for (const how of ['fin', 'rst'] as const) {
    figures.push({
      what: `stale keep-alive, ${how.toUpperCase()}${tls ? ' over TLS' : ''}: failed of ${SENDS} sends`,
      value: await failures(tls, how),
      bar: { atMost: 0 },
    });
  }
}
report(figures);
