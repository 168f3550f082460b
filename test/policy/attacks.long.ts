import { jest } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';
import type { RtSmsPolicy, RtSmsPolicyError, RtSmsService } from 'nestjs-rt-sms';
import { gatewayOf, run } from '../durable/account.js';
import { describeStores, startStore, type Service } from '../durable/services.js';

jest.setTimeout(300_000);

const HOUR = 3_600_000;
const PER_RECIPIENT = 3;
const PER_PREFIX = 10;
/** Numbers of ordinary customers: one to three messages each, four of them in a prefix at most. */
const CUSTOMERS = 5_000;
const LOAD = 100;

describeStores('attacks on three replicas, on %s', (kind) => {
  let store: Service;
  let sms: RtSmsService[];
  const sent = new Map<string, number>();
  const prefixOf = (msisdn: string) => msisdn.slice(0, -4);
  const sentTo = (test: (msisdn: string) => boolean) =>
    [...sent].filter(([msisdn]) => test(msisdn)).reduce((sum, [, count]) => sum + count, 0);
  const refused = { attack: 0, customers: 0 };

  beforeAll(async () => {
    store = await startStore(kind);
  });
  afterAll(() => store.close());

  async function replicas(policy: RtSmsPolicy): Promise<void> {
    sent.clear();
    refused.attack = refused.customers = 0;
    const gateway = await gatewayOf();
    gateway.on('message', ({ msisdn }: { msisdn: string }) => sent.set(msisdn, (sent.get(msisdn) ?? 0) + 1));
    const place =
      kind === 'Redis' ? { prefix: `attack${Math.random()}` } : { schema: `attack${process.hrtime.bigint()}` };
    const running = [];
    for (let n = 0; n < 3; n++)
      running.push(await run(gateway, store.options, { engine: place, options: { policy, tracking: false } }));
    sms = running.map((each) => each.sms);
  }

  /** Sends to each number in turn, on a random replica, `LOAD` at a time. */
  async function traffic(who: keyof typeof refused, numbers: Iterable<string>): Promise<void> {
    const source = numbers[Symbol.iterator]();
    const worker = async () => {
      for (let next = source.next(); !next.done; next = source.next()) {
        const message = { msisdn: `+${next.value}`, text: 'Code 4711' };
        try {
          await sms[Math.floor(Math.random() * 3)]!.send(message, { timeoutMs: 120_000 });
        } catch (error) {
          expect((error as RtSmsPolicyError).rule).toMatch(/^(perRecipient|perPrefix|countries)$/);
          refused[who]++;
        }
      }
    };
    await Promise.all(Array.from({ length: LOAD }, worker));
  }

  function* customers(): Generator<string> {
    for (let round = 1; round <= 3; round++)
      for (let n = 0; n < CUSTOMERS; n++)
        if (n % 3 < 4 - round) yield String(79_100_000_000 + Math.floor(n / 3) * 10_000 + (n % 3) * 7);
  }
  const CUSTOMER_MESSAGES = [...customers()].length;
  const policy: RtSmsPolicy = {
    perRecipient: { messages: PER_RECIPIENT, perMs: HOUR },
    perPrefix: { messages: PER_PREFIX, perMs: HOUR },
  };

  it('ordinary traffic beside an attack on 10,000 neighbours and one on a single number is not refused', async () => {
    await replicas(policy);
    const neighbours = Array.from({ length: 10_000 }, (_, n) => String(79_270_000_000 + n));
    const bombing = async () => {
      for (let second = 0; second < 3; second++) {
        const round = traffic('attack', Array<string>(100).fill('79380000001'));
        await Promise.all([round, pause(1_000)]);
      }
    };
    await Promise.all([traffic('attack', neighbours), bombing(), traffic('customers', customers())]);
    const isVictim = (msisdn: string) => msisdn === '79380000001';
    const isNeighbour = (msisdn: string) => prefixOf(msisdn) === '7927000';
    expect(sentTo(isNeighbour)).toBe(PER_PREFIX);
    expect(sentTo(isVictim)).toBe(PER_RECIPIENT);
    expect(refused).toEqual({ attack: 10_000 - PER_PREFIX + 300 - PER_RECIPIENT, customers: 0 });
    expect(sentTo((msisdn) => !isVictim(msisdn) && !isNeighbour(msisdn))).toBe(CUSTOMER_MESSAGES);
    expect(Math.max(...sent.values())).toBe(PER_RECIPIENT);
  });

  it('of 200 prefixes of one country each gets its limit and not one more; with countries none', async () => {
    const numbers = Array.from({ length: 20 }, (_, n) =>
      Array.from({ length: 200 }, (_, prefix) => String(77_010_000_000 + prefix * 10_000 + n)),
    ).flat();
    await replicas(policy);
    await traffic('attack', numbers);
    const byPrefix = new Map<string, number>();
    for (const [msisdn, count] of sent) byPrefix.set(prefixOf(msisdn), (byPrefix.get(prefixOf(msisdn)) ?? 0) + count);
    expect(byPrefix.size).toBe(200);
    expect(new Set(byPrefix.values())).toEqual(new Set([PER_PREFIX]));
    await replicas({ ...policy, countries: ['RU'] });
    await traffic('attack', numbers);
    expect(sent.size).toBe(0);
    expect(refused.attack).toBe(4_000);
  });
});
