// Cost of receiving a callback, compared with a route that does nothing and with one that an application would write: in
// turn, each in a separate process, under the same load from this one.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import autocannon, { type Options, type Result } from 'autocannon';
import type { Way } from './callback-app.js';
import { median, report, type Figure } from './figures.js';

const WAYS = ['module', 'bare', 'dto'] as const satisfies Way[];
const SECRET = 'hV3nR8sQ1xZ6bT0wK5yM2cF7dJ9gL4pA';
const CONNECTIONS = 10;
const WARM_UP = 20_000;
const ROUNDS = 9;
const CALLBACKS = 4_000;

interface Round {
  perSecond: number;
  cpuMicros: number;
}

let next = 0;
/** Different callbacks for one connection, generated before the load begins. */
const targets = (count: number) =>
  Array.from({ length: count }, () => ({
    path: `/rt-sms/callback/${SECRET}?id=message-id-${String(++next).padStart(12, '0')}&status=delivered&parts=2`,
  }));

async function load(url: string, callbacks: number): Promise<number> {
  const lists = Array.from({ length: CONNECTIONS }, () => targets(callbacks / CONNECTIONS));
  // autocannon measures once a second, which is too coarse here.
  let [began, ended] = [0, 0];
  const {
    non2xx,
    errors,
    '2xx': answered,
  } = await new Promise<Result>((resolve, reject) => {
    const options: Options = {
      url,
      connections: CONNECTIONS,
      amount: callbacks,
      sampleInt: 50,
      setupClient: (client) => client.setRequests(lists.pop()!),
    };
    const instance = autocannon(options, (error: Error | null, result) => (error ? reject(error) : resolve(result)));
    instance.once('response', () => (began = performance.now()));
    instance.on('response', () => (ended = performance.now()));
  });
  if (non2xx + errors > 0 || answered !== callbacks) throw new Error(`${non2xx + errors} of ${callbacks} failed`);
  return callbacks / ((ended - began) / 1_000);
}

async function startWay(platform: string, way: Way) {
  const child = fork(new URL('./callback-app.ts', import.meta.url), [platform, way, SECRET]);
  const [url] = (await once(child, 'message')) as [string];
  const measure = async () => {
    child.send('');
    return ((await once(child, 'message')) as [{ cpuMicros: number; received: number }])[0];
  };
  const round = async (callbacks: number): Promise<Round> => {
    const before = await measure();
    const perSecond = await load(url, callbacks);
    const after = await measure();
    if (way !== 'bare' && after.received - before.received !== 2 * callbacks) throw new Error('an event was lost');
    return { perSecond, cpuMicros: (after.cpuMicros - before.cpuMicros) / callbacks };
  };
  return { way, child, round, rounds: [] as Round[] };
}

const BARS = { fastify: { bare: 0.9, dto: 2 }, express: { bare: 0.9, dto: 1.05 } } as const;
const figures: Figure[] = [];
for (const platform of ['fastify', 'express'] as const) {
  const ways = await Promise.all(WAYS.map((way) => startWay(platform, way)));
  for (const { round } of ways) await round(WARM_UP);
  for (let i = 0; i < ROUNDS; i++) for (const { round, rounds } of ways) rounds.push(await round(CALLBACKS));
  for (const { child } of ways) child.disconnect();

  const seriesOf = (wanted: Way, of: keyof Round) =>
    ways.find(({ way }) => way === wanted)!.rounds.map((round) => round[of]);
  /** Median of the ratios per round, because both ways ran under the same conditions in a round. */
  const ratio = (of: keyof Round, below: Way) =>
    median(seriesOf('module', of).map((value, i) => value / seriesOf(below, of)[i]!));
  const names = { module: 'the callback', bare: 'a bare @Get()', dto: '@Query() dto, ValidationPipe, emit' };
  figures.push(
    ...WAYS.flatMap((way) => [
      { what: `${platform}, ${names[way]}: throughput`, value: median(seriesOf(way, 'perSecond')), unit: '/s' },
      { what: `${platform}, ${names[way]}: CPU`, value: median(seriesOf(way, 'cpuMicros')), unit: 'µs' },
    ]),
    ...(['bare', 'dto'] as const).map((below) => ({
      what: `${platform}: the callback throughput ÷ ${names[below]}`,
      value: ratio('perSecond', below),
      bar: { atLeast: BARS[platform][below] },
    })),
  );
}
report(figures);
