// A gateway with minimal cost: valid bytes for any POST, on loopback, in a separate process.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const PREFIX = 'message-id-';
let count = 0;
const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume().once('end', () => {
    const uid = PREFIX + (++count).toString(36).padStart(12, '0');
    const body = `{"result":{"uid":"${uid}"},"status":"ok"}`;
    response.writeHead(200, {
      Server: 'nginx',
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': body.length,
      'x-request-id': count.toString(16).padStart(32, '0'),
    });
    response.end(body);
  });
});
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit());
