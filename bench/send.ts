// What a send costs, beside what an application would write itself. All in one process, in turn, against one gateway.
import { Agent, request as httpRequest } from 'node:http';
import { HttpService } from '@nestjs/axios';
import axios from 'axios';
import { RtSmsService } from 'nestjs-rt-sms';
import { firstValueFrom } from 'rxjs';
import { Pool } from 'undici';
import { LOGIN, messageOf, PASSWORD, startAccount, startGateway } from './account.js';
import { inFlight, median, tell, type Figure } from './figures.js';

const IN_FLIGHT = 50;
const CONNECTIONS = 10;
const WARM_UP = 3_000;
const ROUNDS = 9;
const SENDS = 4_000;

const url = await startGateway();
const app = await startAccount({ url, connections: CONNECTIONS });
const sms = app.get(RtSmsService);
const nestAxios = app.get(HttpService);
const { origin, pathname: path } = new URL(url);
const auth = { username: LOGIN, password: PASSWORD };
const authorization = `Basic ${Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64')}`;
const headers = { authorization, 'content-type': 'application/json', accept: 'application/json' };
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
const keepAlive = axios.create({ httpAgent: agent, auth });
const pool = new Pool(origin, { connections: CONNECTIONS });
type Answer = { result: { uid: string } };

function nodePost(body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve(text));
      response.once('error', reject);
    });
    request.once('error', reject);
    request.end(body);
  });
}

const WAYS: Record<string, (n: number) => Promise<string>> = {
  'sms.send()': async (n) => (await sms.send(messageOf(n))).uid,
  '@nestjs/axios, firstValueFrom(http.post())': async (n) =>
    (await firstValueFrom(nestAxios.post<Answer>(url, messageOf(n), { auth }))).data.result.uid,
  'axios, keep-alive agent': async (n) => (await keepAlive.post<Answer>(url, messageOf(n))).data.result.uid,
  'node:http, keep-alive agent': async (n) => {
    const answer = JSON.parse(await nodePost(JSON.stringify(messageOf(n)))) as Answer;
    return answer.result.uid;
  },
  'undici request, JSON.parse': async (n) => {
    const { body } = await pool.request({ method: 'POST', path, headers, body: JSON.stringify(messageOf(n)) });
    return (JSON.parse(await body.text()) as Answer).result.uid;
  },
};

let next = 0;
async function round(send: (n: number) => Promise<string>, sends: number) {
  const from = next;
  next += sends;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await inFlight(IN_FLIGHT, sends, async (n) => {
    const uid = await send(from + n);
    if (!uid.startsWith('message-id-')) throw new Error(`no uid: ${uid}`);
  });
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: sends / seconds, cpuMicros: (user + system) / sends };
}

const rounds = Object.fromEntries(
  Object.keys(WAYS).map((way) => [way, { perSecond: [] as number[], cpuMicros: [] as number[] }]),
);
for (const send of Object.values(WAYS)) await round(send, WARM_UP);
for (let i = 0; i < ROUNDS; i++) {
  for (const [way, send] of Object.entries(WAYS)) {
    const { perSecond, cpuMicros } = await round(send, SENDS);
    rounds[way]!.perSecond.push(perSecond);
    rounds[way]!.cpuMicros.push(cpuMicros);
  }
}

const ways = Object.keys(WAYS);
const [own, nest, , node, undici] = ways as [string, string, string, string, string];
/** The median of the ratios of each round, in which both had the machine as it was then. */
const ratio = (of: 'perSecond' | 'cpuMicros', above: string, below: string) =>
  median(rounds[above]![of].map((value, i) => value / rounds[below]![of][i]!));
const figures: Figure[] = [
  ...ways.flatMap((way) => [
    { what: `${way}: throughput`, value: median(rounds[way]!.perSecond), unit: '/s' },
    { what: `${way}: CPU`, value: median(rounds[way]!.cpuMicros), unit: 'µs' },
  ]),
  { what: `throughput ÷ ${nest}`, value: ratio('perSecond', own, nest), bar: { atLeast: 4 } },
  { what: `throughput ÷ ${undici}`, value: ratio('perSecond', own, undici), bar: { atLeast: 0.45 } },
  { what: `CPU ÷ ${node}`, value: ratio('cpuMicros', own, node), bar: { atMost: 0.8 } },
];
await app.close();
await pool.close();
agent.destroy();
tell(figures);
