import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import type { RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { gatewayOf } from './account.js';
import type { ReplicaSetting } from './replica.js';
import { Replicas, type ReplicaProcess } from './replicas.js';
import { describeStores, eventually, storeOfSuite } from './services.js';

jest.setTimeout(150_000);

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const QUICK = { lockDurationMs: 1_500, stalledIntervalMs: 700 };
const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);

const isAboutClock = (level: 'error' | 'warn') => (line: { level: string; text: string }) =>
  line.level === level && /clock/i.test(line.text);
/** True if the replica refuses to work with its clock. */
const refuses = ({ lines }: ReplicaProcess) => lines.some(isAboutClock('error'));

describeStores('a replica whose clock is wrong, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  async function set(setting: Partial<ReplicaSetting> = {}, simulator: RtSmsSimulatorOptions = {}) {
    const gateway = await gatewayOf(simulator);
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      engine: QUICK,
      ...setting,
    });
    const sentAt: number[] = [];
    gateway.on('message', () => sentAt.push(performance.now()));
    return { gateway, replicas, sentAt };
  }

  it('5 s ahead, under a rate: both send, together no faster than the rate, and one goes on alone after a kill', async () => {
    const perSecond = 10;
    const { gateway, replicas: right, sentAt } = await set({ options: { rate: { perSecond } } }, { latencyMs: 50 });
    const ahead = new Replicas({ ...right.setting, clockShiftMs: 5 * SECOND_MS });
    const [sender, doomed] = await Promise.all([right.start(), ahead.fork()]);
    const count = 40;
    await sender.enqueue(ids(3 * count));
    await gateway.waitForMessage(() => gateway.messages.length >= count);
    await doomed.kill();
    const killedAt = performance.now();
    const accepted = ({ events }: Replicas) => events.filter(({ event }) => event === 'accepted').length;
    expect(accepted(ahead)).toBeGreaterThanOrEqual(4);
    expect(accepted(right)).toBeGreaterThanOrEqual(4);
    // The rate may be exceeded by a tenth.
    expect(sentAt[count - 1]! - sentAt[0]!).toBeGreaterThan(((count - 1) * SECOND_MS) / (1.2 * perSecond));
    const before = gateway.messages.length;
    await gateway.waitForMessage(() => gateway.messages.length >= before + 5);
    expect(performance.now() - killedAt).toBeLessThan(4 * SECOND_MS);
  });

  it('10 minutes ahead: what expires in 5 minutes does not expire', async () => {
    const { gateway, replicas } = await set();
    const ahead = await replicas.fork({ clockShiftMs: 10 * MINUTE_MS });
    const right = await replicas.start({ engine: { ...QUICK, role: 'producer' } });
    const all = ids(20);
    const settled = () => all.every((id) => replicas.outcomes(id).length > 0);
    await right.enqueue(all, { expiresInMs: 5 * MINUTE_MS });
    await eventually(async () => settled() || refuses(ahead));
    await replicas.start();
    await eventually(async () => settled());
    expect(all.map((id) => replicas.outcomes(id))).toEqual(all.map(() => ['accepted']));
    expect(gateway.messages).toHaveLength(all.length);
  });

  it.each([
    ['behind', -10 * MINUTE_MS],
    ['ahead', 10 * MINUTE_MS],
  ])('10 minutes %s: a delay of 2 s is one of 2 s', async (_, clockShiftMs) => {
    const { replicas, sentAt } = await set();
    await replicas.start();
    const producer = await replicas.fork({ engine: { ...QUICK, role: 'producer' }, clockShiftMs });
    const began = performance.now();
    // It may also refuse to queue anything with such a clock.
    const refusal = await producer.enqueue(['late'], { delayMs: 2 * SECOND_MS }).catch((error: Error) => error);
    if (refusal !== undefined) {
      expect(refusal.message).toMatch(/clock/i);
      await sleep(SECOND_MS);
      expect(sentAt).toEqual([]);
      return;
    }
    await eventually(async () => sentAt.length > 0);
    expect(sentAt[0]! - began).toBeGreaterThan(1.9 * SECOND_MS);
  });

  it('10 minutes ahead, killed while it sends: its message is taken up by another worker', async () => {
    const { gateway, replicas } = await set();
    const ahead = await replicas.fork({ clockShiftMs: 10 * MINUTE_MS });
    const right = await replicas.start({ engine: { ...QUICK, role: 'producer' } });
    gateway.nextSend({ fault: 'timeout', accepted: true });
    await right.enqueue(['m0']);
    await eventually(async () => gateway.requests.post > 0 || refuses(ahead));
    await ahead.kill();
    await replicas.start();
    await eventually(async () => replicas.outcomes('m0').length > 0);
    expect(replicas.outcomes('m0')).toEqual(['outcome-unknown']);
    expect(gateway.requests.post).toBe(1);
  });

  it('more than 1 s: a warning, and it sends; more than 30 s: an error, and it takes no job', async () => {
    const { gateway, replicas } = await set();
    const producer = await replicas.start({ engine: { ...QUICK, role: 'producer' } });
    const slow = await replicas.fork({ clockShiftMs: -5 * SECOND_MS });
    await producer.enqueue(['m0']);
    await eventually(async () => gateway.messages.length === 1);
    await eventually(async () => slow.lines.some(isAboutClock('warn')));
    expect(refuses(slow)).toBe(false);
    await slow.kill();
    const fast = await replicas.fork({ clockShiftMs: MINUTE_MS });
    await producer.enqueue(['m1']);
    await eventually(async () => refuses(fast));
    await sleep(2 * SECOND_MS);
    expect(gateway.messages).toHaveLength(1);
    const good = await replicas.fork();
    await eventually(async () => gateway.messages.length === 2);
    expect(good.lines.filter(({ text }) => /clock/i.test(text))).toEqual([]);
  });
});
