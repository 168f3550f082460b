// Memory that remains after messages are complete: sends with their callbacks, and the heap at two points.
import { RtSmsService } from 'nestjs-rt-sms';
import { messageOf, SECRET, startAccount, startGateway } from './account.js';
import { inFlight, report } from './figures.js';

const SENDS = 200_000;
/** Limit of what the account remembers on purpose; it is reached by the first plateau. */
const REMEMBERED = 10_000;

const app = await startAccount({ url: await startGateway(), tracking: { limit: REMEMBERED, remember: REMEMBERED } });
const sms = app.get(RtSmsService);
let next = 0;
async function send(count: number) {
  const from = next;
  next += count;
  await inFlight(50, count, async (n) => {
    const { uid } = await sms.send(messageOf(from + n));
    await sms.handleCallback({ id: uid, status: 'delivered', parts: '1' }, { secret: SECRET });
  });
}
function heapMb() {
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

await send(2 * REMEMBERED);
const plateau = heapMb();
await send(SENDS);
const after = heapMb();
await app.close();
report([
  { what: 'heap, first plateau', value: plateau, unit: 'MB' },
  {
    what: `heap, more after ${SENDS.toLocaleString('en')} sends`,
    value: after - plateau,
    unit: 'MB',
    bar: { atMost: 5 },
  },
]);
