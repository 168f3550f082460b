import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RtSmsService } from 'nestjs-rt-sms';
import { parse } from 'yaml';
import { runEngine } from '../engine-conformance.js';
import { pageOfSuite } from './page.js';

const SKILL = 'libs/rt-sms/SKILL.md';

type Notify = (sms: RtSmsService, msisdn: string, text: string) => Promise<object>;

describe('the skill of the package', () => {
  const page = pageOfSuite(SKILL);

  it('has the front matter by which assistants find it', () => {
    const text = readFileSync(resolve(import.meta.dirname, '../..', SKILL), 'utf8');
    const { name, description, ...more } = parse(/^---\n([^]*?)\n---\n/.exec(text)![1]!) as Record<string, string>;
    expect(name).toMatch(/^[a-z0-9-]{1,64}$/);
    expect(description!.length).toBeGreaterThan(50);
    expect(description!.length).toBeLessThanOrEqual(1_024);
    expect(more).toEqual({});
  });

  it('shows a send that is never repeated when its outcome is unknown', async () => {
    const { notify } = await page.module<{ notify: Notify }>('src/notify.ts');
    const { sms, gateway } = await runEngine(() => undefined);
    await expect(notify(sms, '+79270000001', 'Hello')).resolves.toMatchObject({ sent: { msisdn: '79270000001' } });
    gateway.nextSend({ fault: 'reset', accepted: true });
    await expect(notify(sms, '+79270000001', 'Hello')).resolves.toEqual({ review: 'RT_SMS_UNEXPECTED_RESPONSE' });
    gateway.nextSend('invalid_source_address');
    await expect(notify(sms, '+79270000001', 'Hello')).rejects.toMatchObject({ outcome: 'rejected' });
    expect(gateway.requests.post).toBe(3);
    await gateway.close();
    await expect(notify(sms, '+79270000001', 'Hello')).resolves.toEqual({ later: true });
  });
});
