import { jest } from '@jest/globals';
import { bullMq } from 'nestjs-rt-sms-bullmq';
import { engineConformance, type EngineSetting } from '../engine-conformance.js';
import { overdueConformance } from '../overdue-conformance.js';
import { describeStores, storeOfSuite } from './services.js';

jest.setTimeout(60_000);

describeStores('on %s', (kind) => {
  const store = storeOfSuite(kind);

  const engine = ({ key }: EngineSetting) =>
    bullMq({ ...store.options, ...(kind === 'Redis' ? { prefix: key } : { schema: key.replaceAll('-', '_') }) });
  engineConformance(`bullMq on ${kind}`, engine);
  overdueConformance(`bullMq on ${kind}`, engine);
});
