import 'reflect-metadata';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import type { Browser, Page } from 'playwright-core';
import { openPage } from './chromium.js';

const SECRET = 'a-secret-of-sixteen';
const WINDOW = { viewport: { width: 1180, height: 680 }, colorScheme: 'light', reducedMotion: 'reduce' } as const;

/** Messages for the pictures, with senders and statuses. */
const STORY = [
  ['+79270000001', 'Your code is 4821. Tell it to nobody.', 'BANK', 'delivered'],
  [
    '+79270000002',
    'Заказ №42 собран и ждёт вас по адресу: ул. Ленина, 5. Ежедневно с 9:00 до 21:00.',
    'SHOP',
    'delivered',
  ],
  ['+79270000003', 'Your table for two is booked for 19:00.', 'BISTRO', 'failed'],
  ['+375291234567', 'Запись к врачу завтра в 10:30, кабинет 7.', 'CLINIC', 'awaiting_report'],
  ['+79270000004', 'The courier comes today from 14 to 16.', 'POST', 'rejected'],
] as const;

/** Sets the same times in all pictures: for a row by its place, elsewhere the times of the chosen row. */
async function fixTimes(page: Page, chosen: number): Promise<void> {
  await page.evaluate(`(() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const row = texts.currentNode.parentElement.closest('li, [aria-posinset]');
      const place = row?.getAttribute('aria-posinset') ?? (row?.closest('#messages') ? [...row.parentElement.children].indexOf(row) + 1 : ${chosen});
      const time = '10:' + String(42 - place * 3).padStart(2, '0') + ':07';
      const text = texts.currentNode.data.replace(/\\d\\d:\\d\\d:\\d\\d/g, time);
      if (text !== texts.currentNode.data) texts.currentNode.data = text;
    }
  })()`);
}

/** Takes `sample.png` and `inbox.png`, in this folder: both pages with the same messages and times. */
export async function takePictures(browser: Browser, folder: string): Promise<void> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, inbox: true, seed: 42 });
  const { login, password, url } = gateway.options;
  Object.assign(process.env, {
    RT_SMS_LOGIN: login,
    RT_SMS_PASSWORD: password,
    RT_SMS_URL: url,
    RT_SMS_SHORTCODE: 'SHOP',
    RT_SMS_CALLBACK_SECRETS: SECRET,
    INBOX_URL: gateway.inboxUrl,
  });
  const { AppModule } = await import('../../apps/sample/src/app.module.js');
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  const appUrl = await app.getUrl();
  gateway.callTo(`${appUrl}/rt-sms/callback/${SECRET}`);

  const post = (body: object) =>
    fetch(`${appUrl}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  for (const [msisdn, text, shortcode, status] of STORY) {
    await post({ msisdn, text, shortcode });
    await gateway.report(gateway.messages.at(-1)!.uid, status, status === 'rejected' ? { err: '11' } : {});
  }
  gateway.nextSend('invalid_source_address');
  await post({ msisdn: '+79270000005', text: 'See you at the opening!', shortcode: 'GALLERY' });

  await mkdir(folder, { recursive: true });
  try {
    const { page: sample } = await openPage(browser, `${appUrl}/`, WINDOW);
    await sample.fill('#msisdn', '+7 927 000-00-06');
    await sample.fill('#shortcode', 'SHOP');
    await sample.fill('#text', 'Дарим 20 % на второй заказ до воскресенья');
    await sample.locator('#count').filter({ hasText: 'UCS-2' }).waitFor();
    await sample.locator('#messages li').nth(5).waitFor();
    await fixTimes(sample, 1);
    await sample.screenshot({ path: join(folder, 'sample.png') });

    const { page: inbox } = await openPage(browser, gateway.inboxUrl!, {
      ...WINDOW,
      viewport: { width: 1360, height: 720 },
    });
    await inbox.locator('#messages [aria-posinset="2"]:not([hidden])').click();
    await inbox.locator('.bubble.current').waitFor();
    await fixTimes(inbox, 2);
    await inbox.screenshot({ path: join(folder, 'inbox.png') });
  } finally {
    await app.close();
    await gateway.close();
  }
}
