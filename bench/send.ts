// Cost of a send, compared with code that an application would write: in turn, each in a separate process, against one gateway.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { startGateway } from './account.js';
import { median, report, type Figure } from './figures.js';

const WARM_UP = 6_000;
const ROUNDS = 9;
const SENDS = 4_000;

const OWN = 'sms.send()';
const NEST = '@nestjs/axios';
const AXIOS = 'axios, keep-alive';
const NODE = 'node:http, keep-alive';
const UNDICI = 'undici request';

interface Round {
  perSecond: number;
  cpuMicros: number;
}

const url = await startGateway();
const ways = [OWN, NEST, AXIOS, NODE, UNDICI].map((way) => {
  const child = fork(new URL('./way.ts', import.meta.url), [url, way]);
  const round = async (sends: number): Promise<Round> => {
    child.send(sends);
    const [result] = (await once(child, 'message')) as [Round];
    return result;
  };
  return { way, child, round, rounds: [] as Round[] };
});
for (const { round } of ways) await round(WARM_UP);
for (let i = 0; i < ROUNDS; i++) for (const { round, rounds } of ways) rounds.push(await round(SENDS));
for (const { child } of ways) child.disconnect();

const seriesOf = (wanted: string, of: keyof Round) =>
  ways.find(({ way }) => way === wanted)!.rounds.map((round) => round[of]);
/** Median of the ratios per round, because both ways ran under the same conditions in a round. */
const ratio = (of: keyof Round, below: string) =>
  median(seriesOf(OWN, of).map((value, i) => value / seriesOf(below, of)[i]!));
const figures: Figure[] = [
  ...ways.flatMap(({ way }) => [
    { what: `${way}: throughput`, value: median(seriesOf(way, 'perSecond')), unit: '/s' },
    { what: `${way}: CPU`, value: median(seriesOf(way, 'cpuMicros')), unit: 'µs' },
  ]),
  { what: `${OWN} throughput ÷ ${NEST}`, value: ratio('perSecond', NEST), bar: { atLeast: 4 } },
  { what: `${OWN} throughput ÷ ${UNDICI}`, value: ratio('perSecond', UNDICI), bar: { atLeast: 0.45 } },
  { what: `${OWN} CPU ÷ ${NODE}`, value: ratio('cpuMicros', NODE), bar: { atMost: 0.8 } },
];
report(figures);
