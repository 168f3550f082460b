// Cost of the send policy: the same calls with all limits and without any, in turn. `send` counts in memory, and each variant runs
// in a separate process; `enqueue` counts in the store of the queue. `npm run bench -- policy:memory` measures one part.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { RtSmsService, type RtSmsPolicy } from 'nestjs-rt-sms';
import { startStore, STORES, type StoreKind } from '../test/durable/services.js';
import { LIMITS, messageOf, startAccount, startGateway } from './account.js';
import { ACCOUNT, engine, perSecond } from './durable/setup.js';
import { attempt, figure, inFlight, median, report, type Figure } from './figures.js';

const ROUNDS = 7;
const WARM_UP = 6_000;
const SENDS = 4_000;
const CALLS = { Redis: 3_000, PostgreSQL: 1_000 };
const IN_FLIGHT = 50;

/** Median of the ratios per round of two ways, which are run in turn. */
async function ratioOf(limited: () => Promise<number>, plain: () => Promise<number>): Promise<number> {
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const [first, second] = round % 2 === 0 ? [limited, plain] : [plain, limited];
    const [a, b] = [await first(), await second()];
    ratios.push(round % 2 === 0 ? a / b : b / a);
  }
  return median(ratios);
}

async function sending(): Promise<number> {
  const url = await startGateway();
  const ways = ['sms.send() with all limits', 'sms.send()'].map((way) => {
    const child = fork(new URL('./way.ts', import.meta.url), [url, way]);
    const round = async (sends: number): Promise<number> => {
      child.send(sends);
      const [{ perSecond: rate }] = (await once(child, 'message')) as [{ perSecond: number }];
      return rate;
    };
    return { child, round };
  });
  for (const { round } of ways) await round(WARM_UP);
  const [limited, plain] = ways.map(
    ({ round }) =>
      () =>
        round(SENDS),
  );
  const ratio = await ratioOf(limited!, plain!);
  for (const { child } of ways) child.disconnect();
  return ratio;
}

async function enqueueing(kind: StoreKind): Promise<number> {
  const store = await startStore(kind);
  const calls = CALLS[kind];
  let next = 0;
  const start = async (policy?: RtSmsPolicy) => {
    const app = await startAccount({ ...ACCOUNT, engine: engine(store, 'producer'), ...(policy && { policy }) });
    const enqueue = () => inFlight(IN_FLIGHT, calls, () => app.get(RtSmsService).enqueue(messageOf(next++)));
    return { app, round: () => perSecond(calls, enqueue) };
  };
  const [limited, plain] = [await start(LIMITS), await start()];
  for (const { round } of [limited, plain]) await round();
  const ratio = await ratioOf(limited.round, plain.round);
  for (const { app } of [limited, plain]) await app.close();
  await store.close();
  return ratio;
}

const PARTS = {
  memory: async () => [
    figure('Send policy: `send` with all limits in memory ÷ without', await attempt(sending), {
      bar: { atLeast: 0.9 },
    }),
  ],
  store: async () => {
    const figures: Figure[] = [];
    for (const kind of STORES) {
      const what = `Send policy on ${kind}: \`enqueue\` with all limits ÷ without`;
      figures.push(figure(what, await attempt(() => enqueueing(kind)), { bar: { atLeast: 0.8 } }));
    }
    return figures;
  },
};
const [chosen] = process.argv.slice(2);
const figures: Figure[] = [];
for (const [name, measure] of Object.entries(PARTS))
  if (chosen === undefined || chosen === name) figures.push(...(await measure()));
report(figures);
