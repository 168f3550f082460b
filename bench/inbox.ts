// The inbox of the simulator with 10,000 messages, compared with 100 of them: in turn, in a real Chromium.
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import type { Page } from 'playwright-core';
import { openPage, startChromium, XSS } from '../test/browser/chromium.js';
import { inFlight, median, report } from './figures.js';

const ROUNDS = 7;
const TEXTS = ['Ваш код 4821', XSS, 'Заказ №42 собран и ждёт вас по адресу: ул. Ленина, 5. Ежедневно с 9:00 до 21:00.'];

const WATCH = `
  new MutationObserver((_, observer) => {
    if (!document.querySelector('#messages [aria-posinset="1"]')) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (document.documentElement.dataset.renderedMs = performance.now())));
  }).observe(document, { childList: true, subtree: true });
  window.longMs = [];
  new PerformanceObserver((list) => window.longMs.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ entryTypes: ['longtask'] });`;
const SCROLL = `(async () => {
  const box = document.querySelector('#messages');
  window.longMs.length = 0;
  for (let n = 0; n < 150; n++) {
    box.scrollTop = n < 75 ? box.scrollTop + 700 : Math.random() * box.scrollHeight;
    await new Promise(requestAnimationFrame);
  }
  await new Promise((done) => setTimeout(done));
  return Math.max(0, ...window.longMs);
})()`;

const browser = await startChromium();

async function inboxOf(count: number) {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, inbox: true });
  const { login, password, url } = gateway.options;
  const authorization = `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;
  const headers = { authorization, 'content-type': 'application/json' };
  await inFlight(16, count, async (n) => {
    const body = JSON.stringify({ msisdn: String(79_270_000_000 + n), shortcode: 'SHOP', text: TEXTS[n % 3] });
    const { status } = await fetch(url, { method: 'POST', headers, body });
    if (status !== 200) throw new Error(`the simulator answered ${status}`);
  });
  const { page } = await openPage(browser, gateway.inboxUrl!);
  await page.addInitScript(WATCH);
  return { gateway, page, rendered: [] as number[], scrolled: [] as number[] };
}

/** Read from an attribute, because the page's policy forbids evaluating code in it. */
const renderedMs = async (page: Page) =>
  Number(await page.locator('html[data-rendered-ms]').getAttribute('data-rendered-ms'));

const inboxes = [await inboxOf(100), await inboxOf(10_000)] as const;
for (let round = 0; round < ROUNDS; round++) {
  for (const { page, rendered, scrolled } of inboxes) {
    await page.reload();
    rendered.push(await renderedMs(page));
    scrolled.push(await page.evaluate<number>(SCROLL));
  }
}
await browser.close();
for (const { gateway } of inboxes) await gateway.close();

const [few, many] = inboxes;
report([
  { what: 'the inbox, 100 messages: shown after', value: median(few.rendered), unit: 'ms' },
  { what: 'the inbox, 10,000 messages: shown after', value: median(many.rendered), unit: 'ms', bar: { atMost: 1_000 } },
  {
    what: 'the inbox: 10,000 messages ÷ 100',
    value: median(many.rendered.map((ms, round) => ms / few.rendered[round]!)),
  },
  { what: 'the inbox, 10,000 messages: longest task in scrolling', value: median(many.scrolled), unit: 'ms' },
]);
