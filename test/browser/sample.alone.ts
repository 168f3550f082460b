import { readFile } from 'node:fs/promises';
import { jest } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { seriousFindings, startChromium, XSS } from './chromium.js';
import { openSample, shows, startSample } from './sample-page.js';

// Speed is measured separately; this limit is for a busy machine.
jest.setTimeout(60_000);

let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
}, 300_000);
afterAll(() => browser?.close());

async function open(url: string, options: Parameters<typeof openSample>[2] = {}, ready = '.live.on'): Promise<Page> {
  const page = await openSample(browser, url, options, [422, 429, 502, 503]);
  await page.waitForSelector(ready);
  return page;
}

async function send(page: Page, text: string, msisdn = '8 927 000-00-01'): Promise<void> {
  await page.fill('#msisdn', msisdn);
  await page.fill('#text', text);
  await page.click('#send');
}

const first = (page: Page) => page.locator('#messages li').first();
/** Elements that a text has created as markup. */
const made = (page: Page) => page.locator('main img, main script, table img').count();

/** Code for the page: returns words of cells that are broken over two lines or outside the window. */
const BROKEN_OR_OUT_OF_SIGHT = `(selector) => {
  const found = [];
  for (const cell of document.querySelectorAll(selector)) {
    if (!cell.checkVisibility()) continue;
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const { 0: word, index } of texts.currentNode.data.matchAll(/\\p{L}+/gu)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, index);
        range.setEnd(texts.currentNode, index + word.length);
        const boxes = [...range.getClientRects()];
        const lines = new Set(boxes.map(({ top }) => Math.round(top)));
        if (lines.size !== 1 || boxes.some(({ left, right }) => left < 0 || right > innerWidth)) found.push(word);
      }
    }
  }
  return found;
}`;

describe("the sample's page", () => {
  it('sends a message to the inbox, and shows a status reported there within a second', async () => {
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
    await inbox.click('[data-push=delivered]');
    await first(page).locator('.tone-delivered').waitFor();
    await shows(page, '#outcome', 'delivered');

    // Messages of others are shown too, and a page that is opened later has all of them.
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

  it('shows the outcome of a failed message, and the advice', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url);
    await send(page, 'Hello', '+7 927');
    await shows(page, '#outcome .failure', /Not sent\s*RT_SMS_VALIDATION.*Correct the message/);
    await shows(page, '#msisdn-problem', /^Number /);
    expect(await page.innerText('main')).not.toContain('msisdn');
    gateway.nextSend('invalid_source_address');
    await send(page, 'Hello');
    await shows(
      page,
      '#outcome .failure',
      /Rejected by the gateway: not sent\s*RT_SMS_REJECTED · invalid_source_address.*agree it in/,
    );
    gateway.nextSend({ status: 503 });
    await page.click('#send');
    await shows(
      page,
      '#outcome .failure',
      /may have been sent\s*RT_SMS_UNEXPECTED_RESPONSE.*Do not send it again blindly/,
    );
    // The text stays for another try, and the list keeps the failure.
    await expect(page.inputValue('#text')).resolves.toBe('Hello');
    await shows(page, '#messages .trouble', /may have been sent\s*RT_SMS_UNEXPECTED_RESPONSE/);
    await shows(page, '#messages .trouble', 'invalid_source_address');
    await expect(page.locator('#messages .status').allTextContents()).resolves.toEqual(['perhaps sent', 'refused']);
  });

  it.each([
    ['en-US', "Enter the recipient's number.", 'Enter a text.'],
    ['ru-RU', 'Укажите номер получателя.', 'Введите текст.'],
  ])(
    'says at each field what is missing, sends nothing, and puts the focus there: %s',
    async (locale, number, text) => {
      const { gateway, url } = await startSample();
      const page = await open(url, { locale });
      await page.click('#send');
      await shows(page, '#msisdn-problem', number);
      await shows(page, '#text-problem', text);
      expect(await page.evaluate('document.activeElement.id')).toBe('msisdn');
      expect(await page.getAttribute('#msisdn', 'aria-describedby')).toContain('msisdn-problem');
      expect(await page.getAttribute('#text', 'aria-invalid')).toBe('true');
      expect(await page.innerText('#outcome')).toBe('');
      expect(await seriousFindings(page)).toEqual([]);
      await page.keyboard.type('+79270000001');
      await page.locator('#msisdn-problem').waitFor({ state: 'hidden' });
      await page.fill('#text', ' ');
      await page.click('#send');
      await shows(page, '#text-problem', text);
      expect(await page.evaluate('document.activeElement.id')).toBe('text');
      expect(gateway.requests.post).toBe(0);
    },
  );

  it('has translated texts for the problems of a text', async () => {
    const { url } = await startSample();
    const page = await open(url);
    await send(page, 'x'.repeat(153 * 256));
    await shows(page, '#text-problem', 'The text takes 256 SMS, and at most 255 can be joined');
    await page.click('#language');
    await shows(page, '#text-problem', 'Текст занимает 256 SMS, а склеить можно не больше 255');
    await page.click('#language');
    // Typing cannot produce half of a character, so the value is set by script; a browser would repair it in its JSON.
    await page.evaluate(`document.querySelector('#text').value = '\\ud83d'`);
    await page.click('#send');
    await shows(page, '#text-problem', 'half of a character');
    expect(await page.innerText('main')).not.toMatch(/surrogate|segment/);
  });

  it('names the characters that make a text expensive, while the user types', async () => {
    const { url } = await startSample();
    const page = await open(url);
    const costly = page.locator('#costly');
    await page.locator('#text').pressSequentially('Its here');
    await shows(page, '#count', '8 / 160 · 1 SMS · GSM 7-bit');
    expect(await costly.isHidden()).toBe(true);
    await page.locator('#text').press('Home');
    await page.locator('#text').press('ArrowRight');
    await page.locator('#text').press('ArrowRight');
    await page.keyboard.insertText('’');
    await shows(page, '#count', '9 / 70 · 1 SMS · UCS-2');
    await shows(page, '#costly', 'because of: ’ (curly apostrophe)');
    await page.fill('#text', `It’s 5\u00A0kg – “now” 👩‍🚀 ✔ \u202E ${'a'.repeat(50)}`);
    await shows(page, '#count', /\d+ \/ 134 · 2 SMS/);
    const names =
      '’ (curly apostrophe), non-breaking space, – (long dash), “ (curly quote), ” (curly quote), and others';
    await shows(page, '#costly', `70 characters in one SMS instead of 160, because of: ${names}`);
    await page.fill('#text', 'Ok 👩‍🚀 \u202E\u200B');
    await shows(page, '#costly', 'because of: 👩 (emoji), 🚀 (emoji), U+202E, U+200B');
    await page.fill('#text', 'Заказ №42, ёлка');
    await shows(page, '#costly', 'because of: Cyrillic letters, №');
    // A letter that looks Latin.
    await page.fill('#text', 'Code: с');
    await shows(page, '#costly', 'because of: с (Cyrillic letter)');
    expect(await page.getAttribute('#text', 'aria-describedby')).toContain('costly');
    await page.click('#language');
    await shows(page, '#costly', 'потому что в тексте есть: с (буква кириллицы)');
    await page.fill('#text', "It's 5€ [~]");
    await costly.waitFor({ state: 'hidden' });

    // Even an answer that is not the server's is shown as text.
    const forged = { encoding: 'ucs2', characters: 1, perSegment: 70, segments: 1, costly: [XSS] };
    await page.route('**/segments', (route) => route.fulfill({ json: forged }));
    await page.fill('#text', 'x');
    await shows(page, '#costly', XSS);
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await made(page)).toBe(0);
    // Without an answer, no count of another text stays.
    await page.unroute('**/segments');
    await page.route('**/segments', (route) => route.fulfill({ status: 503, json: {} }));
    await page.fill('#text', 'xy');
    await costly.waitFor({ state: 'hidden' });
    expect(await page.textContent('#count')).toBe('');
  });

  it('shows staging mode in its head, without a whole number, and refuses other numbers in words', async () => {
    const { gateway, url } = await startSample({ RT_SMS_ONLY_TO: '+79270000002, 3752' });
    const page = await open(url);
    await shows(page, '#staging', 'only to the numbers of a list (2 entries: 7927…, 3752…)');
    await send(page, 'Hello', '+79991234567');
    await shows(
      page,
      '#outcome .failure',
      /Not sent\s*RT_SMS_POLICY · onlyTo\s*What to do: Use a number of the list\./,
    );
    await shows(page, '#outcome .failure', 'In staging mode this application sends only to the numbers of a list.');
    expect(await page.innerText('body')).not.toContain('79270000002');
    expect(await seriousFindings(page)).toEqual([]);
    await page.click('#language');
    await shows(page, '#staging', 'только на номера из списка (2 записи: 7927…, 3752…)');
    await shows(page, '#outcome .failure', 'Что делать: Укажите номер из списка.');
    expect(gateway.requests.post).toBe(0);
    await send(page, 'Hello', '+375291234567');
    await shows(page, '#outcome', 'принято');
    const { url: other } = await startSample();
    const without = await open(other);
    await without.locator('#mode').waitFor();
    expect(await without.locator('#staging').isHidden()).toBe(true);
  });

  it('says in words that a number has had enough messages, and when to try again', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url);
    for (let n = 1; n <= 5; n++) {
      await send(page, `Message ${n}`);
      await shows(page, '#messages .text', `Message ${n}`);
      await shows(page, '#outcome code', /^message-id-/);
    }
    await send(page, 'One too many');
    const failure = '#outcome .failure';
    await shows(page, failure, /Not sent\s*RT_SMS_POLICY · perRecipient\s*What to do: Try again in \d+ minutes\./);
    await shows(page, failure, 'This number has been sent as many messages as this application allows.');
    // In the list, which stays, without the time.
    await shows(page, '#messages .trouble', /perRecipient\s*What to do: Try again later\./);
    await page.click('#language');
    await shows(page, failure, /Что делать: Повторите через \d+ минут/);
    await shows(page, failure, 'На этот номер уже отправлено столько сообщений');
    expect(gateway.messages).toHaveLength(5);
    await send(page, 'Another number', '+79270000002');
    await shows(page, '#outcome', 'принято');

    const signIn = await open(`${url}/sign-in`, {}, '#start:not(:empty)');
    await signIn.fill('#msisdn', '8 927 000-00-01');
    await signIn.click('#start');
    await shows(signIn, '#problem', /Too many codes were requested\. Try again in \d+ minutes\./);
  });

  it('is Russian on the Russian page: what is wrong, what happened and what to do', async () => {
    const { gateway, url } = await startSample();
    const page = await open(url, { locale: 'ru-RU' });
    await send(page, 'Привет', '+7 927');
    await shows(page, '#msisdn-problem', 'Это не номер телефона');
    await shows(page, '#outcome .failure', /Не отправлено\s*RT_SMS_VALIDATION\s*Что делать: Исправьте сообщение/);
    gateway.nextSend('invalid_source_address');
    await send(page, 'Привет');
    await shows(page, '#outcome .failure', 'не согласовано с оператором');
    gateway.nextSend({ status: 503 });
    await page.click('#send');
    await shows(page, '#outcome .failure', 'Ответ шлюза не удалось разобрать');
    await page.click('#tab-many');
    await page.fill('#csv', '79270000001,Привет\n12345,нет\n79270000002,\n79270000003,раз,два');
    await page.click('#check');
    for (const words of ['Это не номер телефона', 'Такой текст отправить нельзя', 'заключите в кавычки']) {
      await shows(page, '#bulk-rows td', words);
    }
    // The remaining English words are codes, and terms of the provider and of files.
    const words = (await page.innerText('main')).match(/\b[a-z]{2,}\b/gi) ?? [];
    const known = /^(SMS|CSV|SHOP|utf|GSM|UCS|RT_SMS_\w+|invalid_source_address)$/;
    expect(words.filter((word) => !known.test(word))).toEqual([]);
  });

  it.each<[locale: string, cases: [n: number, button: string, wrong: string, read: string][]]>([
    [
      'en-US',
      [
        [1, 'Send 1 message', '1 row is wrong', '1 message, 1 SMS'],
        [2, 'Send 2 messages', '2 rows are wrong', '2 messages, 2 SMS'],
      ],
    ],
    [
      'ru-RU',
      [
        [1, 'Отправить 1 сообщение', '1 строка с ошибкой будет пропущена', '1 сообщение, к оплате 1 SMS'],
        [2, 'Отправить 2 сообщения', '2 строки с ошибкой будут пропущены', '2 сообщения, к оплате 2 SMS'],
        [5, 'Отправить 5 сообщений', '5 строк с ошибкой будут пропущены', '5 сообщений, к оплате 5 SMS'],
        [21, 'Отправить 21 сообщение', '21 строка с ошибкой будет пропущена', '21 сообщение, к оплате 21 SMS'],
      ],
    ],
  ])('counts in the right form: %s', async (locale, cases) => {
    const { url } = await startSample();
    const page = await open(`${url}/#many`, { locale });
    for (const [n, button, wrong, read] of cases) {
      const rows = Array.from({ length: n }, (_, at) => `${79_270_000_000 + at};Hello\n1;no`);
      await page.fill('#csv', rows.join('\n'));
      await page.click('#check');
      await shows(page, '#start', button);
      await shows(page, '#bulk-about .failure', wrong);
      await shows(page, '#bulk-about b', read);
      await page.click('#another');
    }
  });

  it('shows a good row once before it is sent, a wrong one with its reason, and no word of the program', async () => {
    const { gateway, url } = await startSample();
    const page = await open(`${url}/#many`);
    await page.fill('#csv', '79270000001;First\n79270000002;Second');
    await page.click('#check');
    await shows(page, '#bulk-first td', 'First');
    await page.locator('#bulk-list').waitFor({ state: 'hidden' });
    const text = await page.innerText('#many');
    expect(text.match(/First|927 000-00-01/g)).toEqual(['927 000-00-01', 'First']);
    expect(text).not.toMatch(/\b(false|true|null|undefined|NaN)\b/);
    await page.click('#another');
    await page.fill('#csv', '79270000001;First\n79270000002;Second\n79270000003;Third\n12345;no');
    await page.click('#check');
    await page.locator('#bulk-rows td').first().waitFor();
    expect(await page.locator('#bulk-rows tbody tr').count()).toBe(1);
    gateway.nextSend('invalid_field_msisdn');
    await page.click('#start');
    await shows(page, '#bar-text', 'Finished: 2 sent, 1 not sent.');
    await gateway.report(gateway.messages[0]!.uid, 'failed');
    await shows(page, '#bar-text', 'Finished: 1 sent, 1 not delivered, 1 not sent.');
    expect(await page.locator('#bulk-rows tbody tr').count()).toBe(4);
  });

  it.each(['en-US', 'ru-RU'])('can be read at 360 px, whole words and every reason: %s', async (locale) => {
    const { gateway, url } = await startSample();
    const page = await open(`${url}/#many`, { locale, viewport: { width: 360, height: 740 } });
    const rows = [
      '79270000001;Заказ собран и ждёт вас по адресу: проспект Энтузиастов, круглосуточно',
      '79270000002;Congratulations, your appointment is confirmed',
      '12345;no',
      '79270000003;one;too many',
    ];
    await page.fill('#csv', rows.join('\n'));
    await page.click('#check');
    await page.locator('#bulk-rows td').first().waitFor();
    const broken = () => page.evaluate<string[]>(`(${BROKEN_OR_OUT_OF_SIGHT})('#bulk td')`);
    expect(await broken()).toEqual([]);
    gateway.nextSend('invalid_field_msisdn');
    await page.click('#start');
    await page.locator('#bulk[data-state=done]').waitFor();
    await shows(page, '#bulk-rows td', 'RT_SMS_REJECTED');
    expect(await broken()).toEqual([]);
    expect(await seriousFindings(page)).toEqual([]);
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
    await shows(page, '#bulk-rows tr', /^20\s*12345\s*wrong\s*This is no phone number\. Number /);
    await shows(page, '#bulk-rows tr', /^200.*in quotes\. The row has 3 cells, not 2/);
    expect(gateway.requests.post).toBe(0);

    gateway.nextSend('invalid_field_msisdn');
    await page.click('#start');
    await page.locator('#bulk[data-state=done]').waitFor();
    await shows(page, '#bar-text', 'Finished: 997 sent, 1 not sent.');
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

  it('shows markup in a text as text', async () => {
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

  it('can be used with the keyboard alone', async () => {
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
  ] as const)('does not have serious findings of axe: %s', async (_, options) => {
    const { gateway, url } = await startSample();
    const page = await open(url, { ...options, reducedMotion: 'reduce' });
    const statuses = ['delivered', 'awaiting_report', 'failed', 'rejected', 'insufficient_balance', 'odd'];
    for (const status of statuses) {
      await send(page, `${status} ${XSS}`, `+7927000000${statuses.indexOf(status)}`);
      await shows(page, '#messages .text', status);
      await gateway.report(gateway.messages.at(-1)!.uid, status);
    }
    gateway.nextSend({ status: 503 });
    await send(page, 'no answer');
    await page.locator('#messages .tone-unknown').waitFor();
    await page.locator('#outcome .failure').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    // The page does not scroll to the side.
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
