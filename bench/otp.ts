// Cost of `verify` on Redis, compared with a bare EVAL of the same script with the same arguments: what is not the step of the
// store is decryption, derivation and comparison.
import { Redis } from 'ioredis';
import { redisOtpStore, RtSmsOtpService } from 'nestjs-rt-sms-otp';
import { resolveOtpOptions } from '../libs/rt-sms-otp/src/otp.options.js';
import { startStore } from '../test/durable/services.js';
import { attempt, figure, inFlight, median, report } from './figures.js';

const ROUNDS = 9;
/** Calls of one side in a round: as many as a challenge has attempts, for each of the challenges. */
const ATTEMPTS = 100;
const CHALLENGES = 30;
const CALLS = ATTEMPTS * CHALLENGES;
const WIDTH = 1;
const LOGIN = { purpose: 'login' };

const service = await startStore('Redis');
const { connection } = service.options as { connection: string };
const client = new Redis(connection);
const store = redisOtpStore({ connection: client });
/** The script that `verify` has sent, which Redis did not have yet, and its arguments. */
let sent: [script: string, keys: number, ...rest: string[]] | undefined;
const evaluate = client.eval.bind(client) as (...args: unknown[]) => Promise<unknown>;
client.eval = (async (...args: typeof sent & {}) => {
  if (args.includes('attempt')) sent = args;
  return evaluate(...args);
}) as typeof client.eval;

const options = { secret: 's'.repeat(32), text: ({ code }: { code: string }) => code, attempts: ATTEMPTS, store };
const sms = {
  account: 'default',
  isDurable: false,
  send: async () => ({ uid: '', msisdn: '', shortcode: '', segments: 1, attempts: 1 }),
  enqueue: async () => ({ id: '' }),
};
const otp = new RtSmsOtpService(resolveOtpOptions(options, 'default'), sms);

async function perSecond(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (count * 1_000) / (performance.now() - began);
}

async function challenges(): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < CHALLENGES; n++) ids.push((await otp.start('+79270000001', LOGIN)).challengeId);
  return ids;
}

async function measure(): Promise<number> {
  const { challengeId } = await otp.start('+79270000001', LOGIN);
  await otp.verify(challengeId, 'x', LOGIN);
  client.eval = evaluate;
  const [script, keys] = sent!;
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const [ids, others] = [await challenges(), await challenges()];
    const verify = () =>
      perSecond(CALLS, () => inFlight(WIDTH, CALLS, (n) => otp.verify(ids[n % CHALLENGES]!, '000000', LOGIN)));
    const evalOnly = () =>
      perSecond(CALLS, () =>
        inFlight(WIDTH, CALLS, (n) => evaluate(script, keys, `rt-sms-otp:${others[n % CHALLENGES]}`, 'attempt')),
      );
    // In turn, so that a change of the machine's speed affects both.
    const [first, second] = round % 2 === 0 ? [verify, evalOnly] : [evalOnly, verify];
    const [a, b] = [await first(), await second()];
    ratios.push(round % 2 === 0 ? a / b : b / a);
  }
  return median(ratios.slice(1));
}

const ratio = await attempt(measure);
client.disconnect();
await service.close();
report([figure('One-time codes on Redis: `verify` ÷ a bare EVAL', ratio, { bar: { atLeast: 0.7 } })]);
