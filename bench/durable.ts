// Cost of the durable engine, compared with bare BullMQ. It starts its own Redis and PostgreSQL. All in one process, in
// turn, against one gateway. `npm run bench -- durable:cost` runs one part.
import { startStore, STORES } from '../test/durable/services.js';
import { callbacks } from './durable/callbacks.js';
import { cost } from './durable/cost.js';
import { queueing } from './durable/queueing.js';
import { sending } from './durable/sending.js';
import { transactions } from './durable/transactions.js';
import { attempt, figure, report, type Figure } from './figures.js';

const PARTS = { sending, cost, callbacks, queueing, transactions };

const [chosen] = process.argv.slice(2);
const names = (Object.keys(PARTS) as (keyof typeof PARTS)[]).filter((name) => chosen === undefined || chosen === name);
if (names.length === 0) throw new Error(`durable has no part '${chosen}'; its parts: ${Object.keys(PARTS).join(', ')}`);

const figures: Figure[] = [];
for (const name of names) {
  for (const kind of STORES) {
    // A new store for each part: a part that fails may leave work behind.
    const store = await startStore(kind);
    const measured = await attempt(() => PARTS[name](store));
    figures.push(...(measured instanceof Error ? [figure(`${kind}: ${name}`, measured)] : measured));
    await store.close();
  }
}
report(figures);
