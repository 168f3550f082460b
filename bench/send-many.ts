// A million rows through sendMany: throughput, and memory that remains.
import { RtSmsService } from 'nestjs-rt-sms';
import { messageOf, startAccount, startGateway } from './account.js';
import { report } from './figures.js';

const ROWS = 1_000_000;
/** Limit of what the account remembers on purpose; it is reached long before the first figure. */
const REMEMBERED = 10_000;

const app = await startAccount({ url: await startGateway(), tracking: { limit: REMEMBERED, remember: REMEMBERED } });
function* rows() {
  for (let n = 0; n < ROWS; n++) yield messageOf(n);
}
const residentMb: number[] = [];
let done = 0;
const began = performance.now();
for await (const result of app.get(RtSmsService).sendMany(rows(), { concurrency: 50 })) {
  if (!result.ok) throw result.error;
  if (++done % (ROWS / 100) === 0) {
    globalThis.gc!();
    residentMb.push(process.memoryUsage().rss / 2 ** 20);
  }
}
const seconds = (performance.now() - began) / 1_000;
await app.close();
report([
  { what: 'sendMany of a million rows', value: ROWS / seconds, unit: 'messages a second' },
  {
    what: 'resident set, more in the last 900,000 of them',
    value: Math.max(...residentMb.slice(10)) - Math.max(...residentMb.slice(0, 10)),
    unit: 'MB',
    bar: { atMost: 20 },
  },
]);
