// One way to send, in a separate process, so that its garbage and its compiled code do not affect the figures of the others.
// It is started by send.ts with the gateway's address and the way's name, and runs a round for each message that it gets.
import { Agent, request as httpRequest } from 'node:http';
import { HttpService } from '@nestjs/axios';
import axios from 'axios';
import { RtSmsService } from 'nestjs-rt-sms';
import { firstValueFrom } from 'rxjs';
import { Pool } from 'undici';
import { LIMITS, LOGIN, messageOf, PASSWORD, startAccount } from './account.js';
import { inFlight } from './figures.js';

const CONNECTIONS = 10;
const IN_FLIGHT = 50;

const [url = '', way = ''] = process.argv.slice(2);
const auth = { username: LOGIN, password: PASSWORD };
const authorization = `Basic ${Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64')}`;
const headers = { authorization, 'content-type': 'application/json', accept: 'application/json' };
type Answer = { result: { uid: string } };
type Send = (n: number) => Promise<string>;

const WAYS: Record<string, () => Promise<Send> | Send> = {
  async 'sms.send()'() {
    const sms = (await startAccount({ url, connections: CONNECTIONS })).get(RtSmsService);
    return async (n) => (await sms.send(messageOf(n))).uid;
  },
  async 'sms.send() with all limits'() {
    const options = { url, connections: CONNECTIONS, policy: LIMITS };
    const sms = (await startAccount(options)).get(RtSmsService);
    return async (n) => (await sms.send(messageOf(n))).uid;
  },
  async '@nestjs/axios'() {
    const http = (await startAccount({ url })).get(HttpService);
    return async (n) => (await firstValueFrom(http.post<Answer>(url, messageOf(n), { auth }))).data.result.uid;
  },
  'axios, keep-alive'() {
    const client = axios.create({ httpAgent: new Agent({ keepAlive: true, maxSockets: CONNECTIONS }), auth });
    return async (n) => (await client.post<Answer>(url, messageOf(n))).data.result.uid;
  },
  'node:http, keep-alive'() {
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    const post = (body: string) =>
      new Promise<string>((resolve, reject) => {
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
    return async (n) => (JSON.parse(await post(JSON.stringify(messageOf(n)))) as Answer).result.uid;
  },
  'undici request'() {
    const { origin, pathname: path } = new URL(url);
    const pool = new Pool(origin, { connections: CONNECTIONS });
    return async (n) => {
      const { body } = await pool.request({ method: 'POST', path, headers, body: JSON.stringify(messageOf(n)) });
      return (JSON.parse(await body.text()) as Answer).result.uid;
    };
  },
};

const send = await WAYS[way]!();
let next = 0;

async function round(sends: number) {
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

process.on('message', (sends: number) => void round(sends).then((result) => process.send!(result)));
process.once('disconnect', () => process.exit());
