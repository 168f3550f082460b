// The simulator, or a bare server that gives the same answer; started by simulator.ts.
import { createServer, type OutgoingHttpHeaders } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';

const gateway = await RtSmsSimulator.start({ lifecycle: false });
const { url, login, password } = gateway.options;
const authorization = `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;

async function startBare(): Promise<string> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ msisdn: '79270000001', shortcode: 'SHOP', text: 'x' }),
  });
  const headers: OutgoingHttpHeaders = Object.fromEntries(answer.headers);
  delete headers['date'];
  delete headers['connection'];
  delete headers['keep-alive'];
  const body = await answer.text();
  await gateway.close();
  const server = createServer((request, response) => {
    request.resume().once('end', () => response.writeHead(200, headers).end(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const at = process.argv[2] === 'bare' ? await startBare() : url;
process.once('disconnect', () => process.exit());
process.send!({ url: at, authorization });
