// Throughput of the simulator, compared with a bare server that sends the same bytes: in turn, each in a separate process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import autocannon, { type Result } from 'autocannon';
import { median, report } from './figures.js';

const CONNECTIONS = 10;
const REQUESTS = 5_000;
const ROUNDS = 9;
const BODY = JSON.stringify({ msisdn: '79270000001', shortcode: 'SHOP', text: 'Ваш заказ собран и ждёт вас' });

async function startServer(kind: 'simulator' | 'bare') {
  const child = fork(new URL('./simulator-server.ts', import.meta.url), [kind]);
  const [{ url, authorization }] = (await once(child, 'message')) as [{ url: string; authorization: string }];
  const perSecond: number[] = [];
  const round = async (requests: number) => {
    const headers = { authorization, 'content-type': 'application/json' };
    const options = { url, method: 'POST', headers, body: BODY, connections: CONNECTIONS, amount: requests } as const;
    // autocannon measures once a second, which is too coarse here.
    let [began, ended] = [0, 0];
    const result = await new Promise<Result>((resolve, reject) => {
      const instance = autocannon(options, (error: Error | null, all) => (error ? reject(error) : resolve(all)));
      instance.once('response', () => (began = performance.now()));
      instance.on('response', () => (ended = performance.now()));
    });
    if (result['2xx'] !== requests) throw new Error(`${result['2xx']} of ${requests} were answered`);
    return requests / ((ended - began) / 1_000);
  };
  return { child, round, perSecond };
}

const simulator = await startServer('simulator');
const bare = await startServer('bare');
const servers = [simulator, bare];
for (const { round } of servers) await round(REQUESTS);
for (let i = 0; i < ROUNDS; i++) for (const { round, perSecond } of servers) perSecond.push(await round(REQUESTS));
for (const { child } of servers) child.disconnect();
report([
  { what: 'the simulator: throughput', value: median(simulator.perSecond), unit: '/s' },
  { what: 'a bare node:http server, the same answer: throughput', value: median(bare.perSecond), unit: '/s' },
  {
    what: 'the simulator ÷ the bare server',
    value: median(simulator.perSecond.map((value, i) => value / bare.perSecond[i]!)),
    bar: { atLeast: 0.5 },
  },
]);
