import { readFile } from 'node:fs/promises';
import { jest } from '@jest/globals';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import type { Browser, Page } from 'playwright-core';
import { AppModule } from '../../apps/sample/src/app.module.js';
import { atEnd, start } from '../platforms.js';
import { gatewayInEnvironment, SECRET } from '../sample/environment.js';
import { openPage, seriousFindings, startChromium, XSS } from './chromium.js';

// What must be quick is measured; a busy machine takes its time.
jest.setTimeout(60_000);

let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
}, 300_000);
afterAll(() => browser?.close());

/** Chromium's own word about an answer that is no success; these tests ask for some. */
const REFUSED = /^Failed to load resource: the server responded with a status of (422|502|503)/;

async function startSample(): Promise<{ gateway: RtSmsSimulator; url: string }> {
  const gateway = await gatewayInEnvironment({ inbox: true });
  process.env.INBOX_URL = gateway.inboxUrl;
  atEnd(() => delete process.env.INBOX_URL);
  const { url } = await start('express', { imports: [AppModule] });
  gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
  return { gateway, url };
}

async function open(url: string, options: Parameters<typeof openPage>[2] = {}): Promise<Page> {
  const { page, complaints } = await openPage(browser, url, options);
  atEnd(async () => {
    await page.context().close();
    expect(complaints.filter((complaint) => !REFUSED.test(complaint))).toEqual([]);
  });
  page.setDefaultTimeout(20_000);
  await page.waitForSelector('.live.on');
  return page;
}

async function send(page: Page, text: string, msisdn = '8 927 000-00-01'): Promise<void> {
  await page.fill('#msisdn', msisdn);
  await page.fill('#text', text);
  await page.click('#send');
}

const first = (page: Page) => page.locator('#messages li').first();
const shows = (page: Page, selector: string, text: string | RegExp) =>
  page.locator(selector).filter({ hasText: text }).first().waitFor();
/** Anything that a text made of itself. */
const made = (page: Page) => page.locator('main img, main script, table img').count();

describe("the sample's page", () => {
  it('sends what is typed, the inbox gets it, and a status pushed there is seen here within a second', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url);
    await shows(page, '#empty', 'Nothing was sent yet');
    await page.fill('#text', 'Your code is 4821');
    await shows(page, '#count', '17 / 160 · 1 SMS · GSM 7-bit');
    await page.fill('#text', `Заказ №42 собран. ${'Ждём вас! '.repeat(6)}`);
    await shows(page, '#count', '78 / 134 · 2 SMS · UCS-2');
    await send(page, 'Заказ №42 собран');
    await shows(page, '#outcome', /accepted\s+message-id-/);
    await shows(page, '#messages li', /\+7 927 000-00-01\s*SHOP\s*accepted\s*Заказ №42 собран\s*1 SMS/);

    const inbox = await open((await page.locator('#inbox').getAttribute('href'))!);
    await shows(inbox, '.bubble.current', 'Заказ №42 собран');
    const began = performance.now();
    await inbox.click('[data-push=delivered]');
    await first(page).locator('.tone-delivered').waitFor();
    expect(performance.now() - began).toBeLessThan(1_000);
    await shows(page, '#outcome', 'delivered');

    // What others send is seen, too, and a page that is opened later has it all.
    await fetch(`${url}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ msisdn: '+375291234567', text: 'From elsewhere', shortcode: 'OTHER' }),
    });
    await shows(page, '#messages li', /\+375291234567\s*OTHER\s*accepted\s*From elsewhere/);
    await gateway.report(gateway.messages[1]!.uid, 'rejected', { err: '11' });
    await shows(page, '#messages li', 'rejected 11');
    const second = await open(url, { locale: 'ru-RU' });
    await expect(second.locator('#messages .status').allTextContents()).resolves.toEqual([
      'отклонено 11',
      'доставлено',
    ]);
    await second.click('#language');
    await expect(second.locator('#messages .status').allTextContents()).resolves.toEqual(['rejected 11', 'delivered']);
  });

  it('says of a failure what became of the message, and what to do', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url);
    await send(page, 'Hello', '+7 927');
    await shows(page, '#outcome .failure', /Not sent\s*RT_SMS_VALIDATION.*Correct the message.*msisdn /);
    gateway.nextSend('invalid_source_address');
    await send(page, 'Hello');
    await shows(page, '#outcome .failure', /said no: not sent\s*RT_SMS_REJECTED · invalid_source_address.*agree it in/);
    gateway.nextSend({ status: 503 });
    await page.click('#send');
    await shows(
      page,
      '#outcome .failure',
      /may have been sent\s*RT_SMS_UNEXPECTED_RESPONSE.*Do not send it again blindly/,
    );
    // The text is still there for another try, and the list keeps what happened.
    await expect(page.inputValue('#text')).resolves.toBe('Hello');
    await shows(page, '#messages .trouble', /may have been sent\s*RT_SMS_UNEXPECTED_RESPONSE/);
    await shows(page, '#messages .trouble', 'invalid_source_address');
    await expect(page.locator('#messages .status').allTextContents()).resolves.toEqual(['perhaps sent', 'refused']);
  });

  it('sends 1,000 rows of a CSV, shows how far it is, and gives the results', async () => {
    const { gateway, url } = await startSample();
    const page = await open(`${url}/#many`);
    await page.fill('#csv', 'телефон;текст\n79270000001;"never closed');
    await page.click('#check');
    await shows(page, '#csv-problem', /Not sent\s+Row 2: A quote \("\) is opened and never closed/);

    const rows = Array.from({ length: 1_000 }, (_, n) => `${79_270_000_000 + n};Строка ${n}: "акция"`);
    rows[9] = '12345;no number';
    rows[99] = '79270000099;one cell;too many';
    rows[999] = `79270000999;${XSS.replaceAll(';', ',')}`;
    const latin = [...`телефон;текст\r\n${rows.join('\r\n\r\n')}\r\n`].map((character) => {
      const code = character.codePointAt(0)!;
      return code >= 0x410 ? code - 0x410 + 0xc0 : code;
    });
    const file = { name: 'campaign.csv', mimeType: 'text/csv', buffer: Buffer.from(latin) };
    await page.setInputFiles('#file', file);
    await shows(page, '#bulk-about', /998 messages, 998 SMS.*read as windows-1251, separated by semicolons/);
    await shows(page, '#bulk-about', '2 rows are wrong');
    await shows(page, '#bulk-first td', 'Строка 0: "акция"');
    await page.click('#bulk-filter [data-status=wrong]');
    await shows(page, '#bulk-rows tr', /^20\s*12345\s*wrong\s*This is no phone number\. msisdn/);
    await shows(page, '#bulk-rows tr', /^200.*in quotes\. columns has 3 cells where the first row has 2/);
    expect(gateway.requests.post).toBe(0);

    gateway.nextSend('invalid_field_msisdn');
    await page.click('#start');
    await page.locator('#bulk[data-state=done]').waitFor();
    await shows(page, '#bar-text', 'All 998 are through.');
    expect(gateway.requests.post).toBe(998);
    expect(gateway.messages.find(({ msisdn }) => msisdn === '79270000999')?.text).toBe(XSS.replaceAll(';', ','));
    await page.click('#bulk-filter [data-status=refused]');
    await shows(page, '#bulk-rows tr', /refused.*RT_SMS_REJECTED · invalid_field_msisdn.*check it/);
    await page.click('#bulk-filter [data-status=""]');
    await shows(page, '#bulk-pages', '1–100 of 1,000');
    await page.click('#later');
    await shows(page, '#bulk-pages', '101–200 of 1,000');
    expect(await page.locator('#bulk-rows tbody tr').count()).toBe(100);
    expect(await page.locator('#messages li').count()).toBe(200);
    await Promise.all(gateway.messages.slice(0, 500).map(({ uid }) => gateway.report(uid, 'delivered')));
    await shows(page, '#bulk-filter [data-status=delivered]', 'delivered 500');

    const downloading = page.waitForEvent('download');
    await page.click('#download');
    const results = await readFile(await (await downloading).path(), 'utf8');
    const lines = results.trimEnd().split('\r\n');
    expect(lines).toHaveLength(1_001);
    expect(lines[0]).toBe('\uFEFFrow;msisdn;status;uid;code;outcome;what');
    expect(lines.filter((line) => /^\d+;\d{11};delivered;message-id-\w+;;;$/.test(line))).toHaveLength(500);
    expect(lines[10]).toMatch(/^20;12345;wrong;;;not_sent;"?msisdn /);
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await made(page)).toBe(0);
  });

  it('shows a text as text, whatever is in it', async () => {
    const { url } = await startSample();
    const page = await open(url);
    await send(page, XSS);
    await shows(page, '#messages .text', XSS);
    await page.click('#tab-many');
    await page.fill('#csv', `79270000001;"${XSS.replaceAll('"', '""')}"`);
    await page.click('#check');
    await shows(page, '#bulk-first td', XSS);
    await page.click('#another');
    await page.fill('#csv', `${XSS};text`);
    await page.click('#check');
    await shows(page, '#csv-problem', 'Row 1');
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await made(page)).toBe(0);
  });

  it('is worked by the keyboard alone', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url);
    await page.focus('#msisdn');
    await page.keyboard.type('+79270000001');
    await page.keyboard.press('Tab');
    await page.keyboard.type('KEYS');
    await page.keyboard.press('Tab');
    await page.keyboard.type('Typed');
    await page.keyboard.press('Control+Enter');
    await shows(page, '#messages li', 'Typed');
    await page.focus('#tab-one');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Tab');
    await page.keyboard.type('79270000002;Pasted');
    for (let n = 0; n < 3; n++) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#start').press('Enter');
    await page.locator('#bulk[data-state=done]').waitFor();
    expect(gateway.messages).toMatchObject([
      { text: 'Typed', shortcode: 'KEYS' },
      { text: 'Pasted', shortcode: 'SHOP' },
    ]);
  });

  it.each([
    ['light', {}],
    ['dark and Russian', { colorScheme: 'dark', locale: 'ru-RU' }],
    ['small', { viewport: { width: 360, height: 740 } }],
  ] as const)('has nothing serious for axe: %s', async (_, options) => {
    const { gateway, url } = await startSample();
    const page = await open(url, { ...options, reducedMotion: 'reduce' });
    const statuses = ['delivered', 'awaiting_report', 'failed', 'rejected', 'insufficient_balance', 'odd'];
    for (const status of statuses) {
      await send(page, `${status} ${XSS}`);
      await shows(page, '#messages .text', status);
      await gateway.report(gateway.messages.at(-1)!.uid, status);
    }
    gateway.nextSend({ status: 503 });
    await send(page, 'no answer');
    await page.locator('#messages .tone-unknown').waitFor();
    await page.locator('#outcome .failure').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    // Nothing sticks out at the side.
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    await page.click('#tab-many');
    await page.fill('#csv', '79270000001;"never closed');
    await page.click('#check');
    await page.locator('#csv-problem .failure').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await page.fill('#csv', Array.from({ length: 150 }, (_, n) => `${79_270_000_000 + n};Hello`).join('\n') + '\n1;no');
    await page.click('#check');
    await page.click('#start');
    await page.locator('#bulk[data-state=done]').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
  });
});
