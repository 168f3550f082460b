// Cost of telemetry for a send if no SDK is registered: the checks for one, relative to the CPU of the send.
import { RtSmsService } from 'nestjs-rt-sms';
import { Telemetry } from '../libs/rt-sms/src/telemetry.js';
import { messageOf, startAccount, startGateway } from './account.js';
import { inFlight, median, report } from './figures.js';

const ROUNDS = 9;
const SENDS = 2_000;
const LOOKS = 1_000_000;
/** Number of checks in a send: at its beginning, at its end, and at each of two statuses. */
const LOOKS_PER_SEND = 4;

const cpuMicros = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const sms = (await startAccount({ url: await startGateway() })).get(RtSmsService);
const telemetry = new Telemetry(
  { account: 'default', url: new URL('http://127.0.0.1') },
  {
    inFlight: () => 0,
    queued: () => 0,
    emptied: () => 0,
    tracked: () => 0,
    authOpen: () => 0,
    segmentsPerDay: () => undefined,
    handlerFailures: () => 0,
  },
);
const ratios: number[] = [];
for (let round = 0; round <= ROUNDS; round++) {
  const before = cpuMicros();
  await inFlight(50, SENDS, (n) => sms.send(messageOf(round * SENDS + n)));
  const between = cpuMicros();
  for (let i = 0; i < LOOKS; i++) if (telemetry.active) throw new Error('an SDK is registered');
  const look = (cpuMicros() - between) / LOOKS;
  // The first round warms up.
  if (round > 0) ratios.push((look * LOOKS_PER_SEND * 100) / ((between - before) / SENDS));
}
report([
  { what: 'telemetry without an SDK, of the CPU of a send', value: median(ratios), unit: '%', bar: { atMost: 2 } },
]);
