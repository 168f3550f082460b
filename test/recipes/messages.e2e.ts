// The recipes about what is sent to whom and when: two accounts, consent, quiet hours.
import { once } from 'node:events';
import type { INestApplication, Type } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { getRtSmsToken, RtSmsModule, type EnqueueOptions, type QueuedSms, type RtSmsService } from 'nestjs-rt-sms';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd, start } from '../platforms.js';
import { pageOfSuite } from './page.js';

const SECRET = 'a-secret-of-sixteen';
const TO = '79270000001';

async function gatewayOf(options: RtSmsSimulatorOptions = {}): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
  atEnd(() => gateway.close());
  return gateway;
}

/** Sets the variables of an account, for this test. */
function setAccount(prefix: string, { options: { login, password, url } }: RtSmsSimulator): void {
  const variables = { LOGIN: login, PASSWORD: password, URL: url, SHORTCODE: 'SHOP', CALLBACK_SECRETS: SECRET };
  for (const [name, value] of Object.entries(variables)) {
    process.env[`${prefix}_${name}`] = value;
    atEnd(() => delete process.env[`${prefix}_${name}`]);
  }
}

const happens = (app: INestApplication, event: string) => once(app.get(EventEmitter2), event);

/** Resolves at this event of this id. */
const happensTo = (app: INestApplication, event: string, id: string) =>
  new Promise<void>((done) => {
    app.get(EventEmitter2).on(event, (payload: { id: string }) => payload.id === id && done());
  });

describe('two accounts', () => {
  const page = pageOfSuite('docs/recipes/two-accounts.md');
  interface Messages {
    failedCodes: string[];
    delivered: string[];
    sendCode(msisdn: string, text: string, session: string): Promise<string>;
    startCampaign(name: string, customers: { id: string; msisdn: string }[], text: string): Promise<QueuedSms[]>;
  }

  it('have a gateway, limits, callbacks and listeners each; one that is rejected does not stop the other', async () => {
    const [codes, campaigns] = [await gatewayOf(), await gatewayOf()];
    setAccount('RT_SMS_CODES', codes);
    setAccount('RT_SMS_CAMPAIGNS', campaigns);
    const { AppModule } = await page.module<{ AppModule: Type }>('src/app.module.ts');
    const { MessagesService } = await page.module<{ MessagesService: Type<Messages> }>('src/messages.service.ts');
    const { app, url } = await start('express', { imports: [AppModule] });
    const messages = app.get(MessagesService);
    codes.callTo(`${url}/rt-sms/codes/callback/${SECRET}`);
    campaigns.callTo(`${url}/rt-sms/campaigns/callback/${SECRET}`);

    const customers = [{ id: 'c1', msisdn: TO }];
    await messages.startCampaign('sale', customers, 'Скидка');
    // The same campaign again adds nothing; another one within 24 hours is refused.
    await messages.startCampaign('sale', customers, 'Скидка');
    await expect(messages.startCampaign('spring', customers, 'Весна')).rejects.toMatchObject({ rule: 'perRecipient' });
    const { uid } = await campaigns.waitForMessage();
    const delivered = happens(app, 'rt-sms.status.delivered');
    await campaigns.report(uid, 'delivered');
    await delivered;

    // Three codes in ten minutes, whatever the campaigns have sent to this number.
    const code = await messages.sendCode(TO, 'Код 1234', 's1');
    await messages.sendCode(TO, 'Код 1234', 's1');
    const failed = happens(app, 'rt-sms.status.failed');
    await codes.report(code, 'failed');
    await failed;
    expect(messages).toMatchObject({ delivered: ['c1'], failedCodes: ['s1'] });
    expect([codes.messages.length, campaigns.messages.length]).toEqual([2, 1]);

    campaigns.nextSend('wrong_credentials');
    const rejected = once(campaigns, 'exchange');
    await messages.startCampaign('sale', [{ id: 'c2', msisdn: '79270000002' }], 'Скидка');
    await rejected;
    await messages.sendCode(TO, 'Код 1234', 's1');
    await expect(messages.sendCode(TO, 'Код 1234', 's1')).rejects.toMatchObject({ rule: 'perRecipient' });
    expect(codes.messages).toHaveLength(3);
  });
});

describe('consent', () => {
  const page = pageOfSuite('docs/recipes/consent.md');
  interface Campaign {
    invite(customer: string, msisdn: string, text: string, delayMs: number): Promise<void>;
    withdraw(customer: string, msisdn: string): Promise<boolean>;
  }
  interface Consents {
    give(msisdn: string): Promise<void>;
    check(msisdn: string): Promise<void>;
  }

  it('is asked for each message of the account, and a withdrawal takes waiting ones out of the queue', async () => {
    const gateway = await gatewayOf();
    setAccount('RT_SMS_CAMPAIGNS', gateway);
    const { AppModule } = await page.module<{ AppModule: Type }>('src/app.module.ts');
    const { CampaignService } = await page.module<{ CampaignService: Type<Campaign> }>('src/campaign.service.ts');
    const { ConsentService } = await page.module<{ ConsentService: Type<Consents> }>('src/consent.ts');
    const { app } = await start('express', { imports: [AppModule] });
    const [campaign, consents] = [app.get(CampaignService), app.get(ConsentService)];
    const sms = app.get<RtSmsService>(getRtSmsToken('campaigns'));
    const refused = { rule: 'beforeSend', outcome: 'not_sent', retryable: false };

    const without = await sms.send({ msisdn: TO, text: 'Скидка' }).catch((error: unknown) => error);
    expect(without).toMatchObject({ ...refused, cause: { message: 'no consent' } });
    await expect(campaign.invite('c1', TO, 'Скидка', 0)).rejects.toMatchObject(refused);

    await consents.give('8 927 000-00-01');
    await campaign.invite('c1', TO, 'Скидка', 0);
    await gateway.waitForMessage();

    await consents.give('+79270000002');
    await campaign.invite('c2', '+79270000002', 'Скидка', 3_600_000);
    const cancelled = happens(app, 'rt-sms.cancelled');
    await expect(campaign.withdraw('c2', '+79270000002')).resolves.toBe(true);
    await cancelled;
    await expect(campaign.withdraw('c1', TO)).resolves.toBe(false);
    await expect(sms.send({ msisdn: TO, text: 'Скидка' })).rejects.toMatchObject(refused);

    // A check that fails refuses too.
    consents.check = async () => {
      throw new Error('the database is down');
    };
    await expect(sms.send({ msisdn: TO, text: 'Скидка' })).rejects.toMatchObject(refused);
    expect(gateway.requests.post).toBe(1);
  });
});

describe('quiet hours', () => {
  const page = pageOfSuite('docs/recipes/quiet-hours.md');
  type InDaytime = (timeZone: string, now?: Date) => Required<Pick<EnqueueOptions, 'delayMs' | 'expiresAt'>>;
  interface Notice {
    order: string;
    msisdn: string;
    text: string;
    timeZone: string;
  }
  interface Notices {
    send(notice: Notice, now?: Date): Promise<void>;
  }
  const HOUR = 3_600_000;

  it.each([
    // Time zone, now, time of the send, time limit.
    ['Europe/Moscow', '2026-03-01T05:59:00Z', '2026-03-01T06:00:00Z', '2026-03-01T18:00:00Z'],
    ['Europe/Moscow', '2026-03-01T06:00:00Z', '2026-03-01T06:00:00Z', '2026-03-01T18:00:00Z'],
    ['Europe/Moscow', '2026-03-01T17:59:59Z', '2026-03-01T17:59:59Z', '2026-03-01T18:00:00Z'],
    ['Europe/Moscow', '2026-03-01T18:00:00Z', '2026-03-02T06:00:00Z', '2026-03-02T18:00:00Z'],
    // Morning in Vladivostok while it is night in Moscow, and a day later there.
    ['Asia/Vladivostok', '2026-02-28T23:30:00Z', '2026-02-28T23:30:00Z', '2026-03-01T11:00:00Z'],
    ['Asia/Kamchatka', '2026-12-31T10:00:00Z', '2026-12-31T21:00:00Z', '2027-01-01T09:00:00Z'],
    // Nights with 23 and 25 hours.
    ['Europe/Berlin', '2026-03-28T21:00:00Z', '2026-03-29T07:00:00Z', '2026-03-29T19:00:00Z'],
    ['Europe/Berlin', '2026-10-24T20:00:00Z', '2026-10-25T08:00:00Z', '2026-10-25T20:00:00Z'],
  ])('in %s at %s a message leaves at %s, until %s', async (zone, now, leaves, until) => {
    const { inDaytime } = await page.module<{ inDaytime: InDaytime }>('src/quiet-hours.ts');
    const { delayMs, expiresAt } = inDaytime(zone, new Date(now));
    expect(new Date(Date.parse(now) + delayMs)).toEqual(new Date(leaves));
    expect(expiresAt).toEqual(new Date(until));
    expect(() => inDaytime('Moscow/Europe')).toThrow(RangeError);
  });

  it('hold back a message to a place where it is night, and try an expired one the next day', async () => {
    const { NoticesService } = await page.module<{ NoticesService: Type<Notices> }>('src/notices.service.ts');
    const gateway = await gatewayOf();
    const { app } = await start('express', {
      imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...gateway.options, shortcode: 'SHOP' })],
      providers: [NoticesService],
    });
    const sms = app.get<RtSmsService>(getRtSmsToken());
    const notices = app.get(NoticesService);
    // Time zones in which it is now about 15:00 and 3:00. The sign in these names is reversed.
    const zoneAt = (hour: number) => {
      const offset = ((hour - new Date().getUTCHours() + 36) % 24) - 12;
      return `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`;
    };
    const notice = { msisdn: TO, text: 'Заказ собран' };
    const accepted = happensTo(app, 'rt-sms.accepted', 'notice-day-1');
    await notices.send({ ...notice, order: 'night', timeZone: zoneAt(3) });
    await notices.send({ ...notice, order: 'day', timeZone: zoneAt(15), text: 'Заказ в пути' });
    await accepted;
    await expect(sms.find('notice-night-1')).resolves.toMatchObject({ state: 'queued' });
    // The same notice an hour later is the same message.
    await notices.send({ ...notice, order: 'night', timeZone: zoneAt(3) }, new Date(Date.now() + HOUR));

    // It was to be sent a day ago, and could not leave before that evening.
    const expired = happensTo(app, 'rt-sms.expired', 'notice-late-1');
    const again = happensTo(app, 'rt-sms.accepted', 'notice-late-2');
    await notices.send({ ...notice, order: 'late', timeZone: zoneAt(15) }, new Date(Date.now() - 24 * HOUR));
    await Promise.all([expired, again]);
    expect(gateway.messages.map(({ text }) => text)).toEqual(['Заказ в пути', 'Заказ собран']);
  });
});
