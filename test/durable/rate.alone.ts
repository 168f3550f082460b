import { jest } from '@jest/globals';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { lateness, mostInASecond, starts, sustained } from '../engine-conformance.js';
import { atEnd } from '../platforms.js';
import { Replicas } from './replicas.js';
import { bareQueue, describeStores, storeOfSuite } from './services.js';

jest.setTimeout(240_000);

const ids = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

describeStores('the rate: %s', (kind) => {
  const store = storeOfSuite(kind);

  it.each([
    [10, 35, 11, 9],
    [100, 300, 110, 90],
  ])('three replicas under one rate of %i', async (perSecond, count, most, least) => {
    await store.clear();
    const gateway = await RtSmsSimulator.start({ latencyMs: 100, lifecycle: false });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const replicas = new Replicas({
      gateway: { login, password, url },
      store: store.options,
      options: { tracking: { schedule: [500, 1_000], perSecond: 1_000 }, rate: { perSecond } },
      engine: { lockDurationMs: 1_500, stalledIntervalMs: 700, concurrency: 20 },
    });
    gateway.on('exchange', () => replicas.look());
    const [first] = await Promise.all([replicas.start(), replicas.start(), replicas.start()]);
    // The first messages open the connections.
    await first.enqueue(ids('first', 9));
    await replicas.until(() => replicas.events.length === 9);
    const at = starts(gateway.url);
    const queue = await bareQueue(store, 'laps');
    atEnd(() => queue.close());
    const late = lateness(() => queue.add('lap', {}));
    const all = ids('m', count);
    await first.enqueue(all);
    await replicas.until(() => all.every((id) => replicas.outcomes(id).length > 0));
    expect(mostInASecond(at)).toBeLessThanOrEqual(most);
    expect(sustained(at, perSecond) * (await late())).toBeGreaterThanOrEqual(least);
  });
});
