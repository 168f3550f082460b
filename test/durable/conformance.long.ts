import { jest } from '@jest/globals';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import { engineConformance, type EngineSetting } from '../engine-conformance.js';
import { overdueConformance } from '../overdue-conformance.js';
import { describeStores, startStore, type Service } from './services.js';

jest.setTimeout(60_000);

describeStores('on %s', (kind) => {
  let store: Service;
  beforeAll(async () => {
    store = await startStore(kind);
  }, 120_000);
  afterAll(() => store.close());

  const engine = ({ key }: EngineSetting) =>
    bullMq({ ...store.options, ...(kind === 'Redis' ? { prefix: key } : { schema: key.replaceAll('-', '_') }) });
  engineConformance(`bullMq on ${kind}`, engine);
  overdueConformance(`bullMq on ${kind}`, engine);
});
