import { jest } from '@jest/globals';
import fc from 'fast-check';
import type { Queue } from 'bullmq';
import type { RtSmsStatusEvent, SmsStatus } from 'nestjs-rt-sms';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { RtSmsRecorder } from 'nestjs-rt-sms/testing';
import { atEnd } from '../platforms.js';
import type { CheckData } from '../../libs/rt-sms-bullmq/src/check-data.js';
import { callback, gatewayOf, run, type Running, type Setting } from './account.js';
import { bareQueue, describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(300_000);

/**
 * One step in the history of a message. `truth` is the status that the gateway has from now on.
 * - `report`: its callback arrives; `lose`: its callback is lost
 * - `forge`: a callback arrives that differs from the truth, because it is late, repeated or forged
 * - `poll`: the gateway is polled; `restart`: the process is replaced
 */
type Step = { kind: 'report' | 'lose' | 'forge'; status: SmsStatus } | { kind: 'poll' } | { kind: 'restart' };

const FINAL: readonly SmsStatus[] = ['delivered', 'failed', 'rejected'];
const status = fc.constantFrom<SmsStatus>('awaiting_report', ...FINAL);
const simple = fc.oneof(
  fc.record({ kind: fc.constantFrom('report' as const, 'lose' as const, 'forge' as const), status }),
  fc.record({ kind: fc.constant('poll' as const) }),
);
const restart = fc.record({ kind: fc.constant('restart' as const) });

/** What a listener can tell apart in an event. */
const factsOf = ({ status, gatewayStatus, final, corrects, source, confirmed }: RtSmsStatusEvent) =>
  JSON.stringify({ status, gatewayStatus, final, corrects, source, confirmed });

/** The truth after each step. A gateway never returns from a final status to one that is not. */
function truths(steps: readonly Step[]): SmsStatus[] {
  let truth: SmsStatus = 'awaiting_report';
  return steps.map((step) => {
    const changes = step.kind === 'report' || step.kind === 'lose';
    if (changes && (FINAL.includes(step.status) || !FINAL.includes(truth))) truth = step.status;
    return truth;
  });
}

/** Number of events and of polls of the gateway after a step. */
interface Count {
  events: number;
  polls: number;
}

/** The events of the recorder, which knows the rules and has neither a gateway nor a store. */
async function recorded(steps: readonly Step[]): Promise<{ events: string[]; counts: Count[] }> {
  const sms = new RtSmsRecorder();
  const { uid } = await sms.send({ msisdn: '79270000001', text: 'Hello' });
  const events: RtSmsStatusEvent[] = [];
  const counts: Count[] = [];
  let polls = 0;
  sms.statuses$.subscribe((event) => events.push(event));
  for (const [index, truth] of truths(steps).entries()) {
    const step = steps[index]!;
    if (step.kind === 'poll') await poll('poll', truth);
    if (step.kind === 'report' || step.kind === 'forge')
      await call(step.kind === 'report' ? truth : step.status, truth);
    counts.push({ events: events.length, polls });
  }
  return { events: events.map(factsOf), counts };

  async function call(reported: SmsStatus, truth: SmsStatus): Promise<void> {
    const final = events.find((event) => event.final);
    await sms.emitStatus(uid, reported);
    // A contradiction makes the engines poll the gateway.
    const contradicts = final && final.status !== reported && FINAL.includes(reported);
    if (contradicts && !events.some(({ corrects }) => corrects)) await poll('callback', truth);
  }

  async function poll(source: 'callback' | 'poll', truth: SmsStatus): Promise<void> {
    polls++;
    await sms.emitStatus(uid, truth, { source, confirmed: true });
  }
}

/** Plays a history through the module against a simulated gateway. */
async function played(
  steps: readonly Step[],
  gateway: RtSmsSimulator,
  start: () => Promise<Running>,
  settled: (uid: string, step: number, seen: () => number) => Promise<void>,
): Promise<string[]> {
  let replica = await start();
  const statuses = () =>
    [...earlier, ...replica.events].filter((event) => event.event === 'status' && event.uid === uid);
  const earlier: Running['events'] = [];
  const { uid } = await replica.sms.send({ msisdn: '79270000001', text: 'Hello' });
  for (const [index, truth] of truths(steps).entries()) {
    const step = steps[index]!;
    if (step.kind === 'restart') {
      earlier.push(...replica.events);
      replica = await start();
      continue;
    }
    await gateway.report(uid, truth);
    if (step.kind === 'poll') await replica.sms.getStatus(uid);
    else if (step.kind === 'report') expect(await callback(replica.url, uid, truth)).toBe(200);
    else if (step.kind === 'forge') expect(await callback(replica.url, uid, step.status)).toBe(200);
    await settled(uid, index, () => statuses().length);
  }
  return statuses().map((event) => factsOf(event as unknown as RtSmsStatusEvent));
}

const OPTIONS: Setting['options'] = { tracking: { schedule: [3_600_000] } };

describeStores('random histories of a message on %s', (kind) => {
  const store = storeOfSuite(kind);
  let checks: Queue;

  /** Resolves once the check job waits for its next poll with an empty inbox, or is completed. */
  const settled = (uid: string) =>
    eventually(async () => {
      const job = (await checks.getJob(uid))!;
      const state = await job.getState();
      const { count } = await checks.getJobLogs(uid);
      return state === 'completed' || (state === 'delayed' && ((job.data as CheckData).inboxRead ?? 0) === count);
    });

  it('emit the same events in memory, with BullMQ and from the recorder', async () => {
    const gateway = await gatewayOf();
    // `undefined` replaces the engine of the store.
    const inMemory = { ...OPTIONS, engine: undefined as never };
    const memory = await run(gateway, store.options, { options: inMemory });
    const durable = await run(gateway, store.options, { options: OPTIONS });
    checks = await bareQueue(store, rtSmsQueueNames().check);
    atEnd(() => checks.close());
    await fc.assert(
      fc.asyncProperty(fc.array(simple, { minLength: 1, maxLength: 8 }), async (history) => {
        // The last poll is answered after any confirmation that the history has started.
        const steps: Step[] = [...history, { kind: 'poll' }];
        const { events, counts } = await recorded(steps);
        let polls = 0;
        const count = ({ method }: { method: string }) => void (polls += method === 'GET' ? 1 : 0);
        gateway.on('exchange', count);
        const counted = (_: string, step: number, seen: () => number) =>
          eventually(async () => seen() >= counts[step]!.events && polls >= counts[step]!.polls);
        expect(await played(steps, gateway, async () => memory, counted)).toEqual(events);
        gateway.off('exchange', count);
        expect(await played(steps, gateway, async () => durable, settled)).toEqual(events);
      }),
      { numRuns: 60, endOnFailure: true },
    );
  });

  it('emit the same events with BullMQ across restarts', async () => {
    const gateway = await gatewayOf();
    checks = await bareQueue(store, rtSmsQueueNames().check);
    atEnd(() => checks.close());
    let replica: Running | undefined;
    const start = async () => {
      await replica?.app.close();
      return (replica = await run(gateway, store.options, { options: OPTIONS }));
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ arbitrary: simple, weight: 3 }, { arbitrary: restart, weight: 1 }), {
          minLength: 2,
          maxLength: 6,
        }),
        async (steps) => {
          expect(await played(steps, gateway, start, settled)).toEqual((await recorded(steps)).events);
        },
      ),
      { numRuns: 12, endOnFailure: true },
    );
  });
});
