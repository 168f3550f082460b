import http from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { jest } from '@jest/globals';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import type { Browser, Page } from 'playwright-core';
import { atEnd } from '../platforms.js';
import { openPage, seriousFindings, startChromium, XSS } from './chromium.js';

jest.setTimeout(30_000);

let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
}, 300_000);
afterAll(() => browser?.close());

async function startGateway(options: RtSmsSimulatorOptions = {}): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, inbox: true, ...options });
  atEnd(() => gateway.close());
  return gateway;
}

/** The user's server; `next()` returns the query of the next callback. */
async function startReceiver() {
  const server = http.createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback?shop=1`,
    next: async () => {
      const [{ url = '' }] = (await once(server, 'request')) as [http.IncomingMessage];
      return Object.fromEntries(new URL(url, 'http://receiver').searchParams);
    },
  };
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
afterAll(() => agent.destroy());

async function send(gateway: RtSmsSimulator, text = 'Ваш код 4821', msisdn = '79270000001'): Promise<number> {
  const { login, password, url } = gateway.options;
  const headers = { 'content-type': 'application/json' };
  const request = http.request(url, { agent, method: 'POST', auth: `${login}:${password}`, headers });
  request.end(JSON.stringify({ msisdn, shortcode: 'SHOP', text }));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode ?? 0;
}

/** Sends a status request. */
async function ask(gateway: RtSmsSimulator, uid: string): Promise<void> {
  const { login, password, url } = gateway.options;
  const request = http.get(`${url}/${uid}`, { agent, auth: `${login}:${password}` });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'end');
}

async function open(gateway: RtSmsSimulator, options: Parameters<typeof openPage>[2] = {}): Promise<Page> {
  const { page, complaints } = await openPage(browser, gateway.inboxUrl!, options);
  atEnd(async () => {
    await page.context().close();
    expect(complaints).toEqual([]);
  });
  await page.waitForSelector('.live.on');
  return page;
}

const newest = (page: Page) => page.locator('#messages [aria-posinset="1"]:not([hidden])');
const hasText = (page: Page, selector: string, text: string) =>
  page.locator(selector).filter({ hasText: text }).first().waitFor();

describe('the inbox', () => {
  it('shows an arriving message, reports a status, and the callback arrives', async () => {
    const receiver = await startReceiver();
    const gateway = await startGateway({ callbackUrl: receiver.url });
    const page = await open(gateway);
    await page.locator('#empty h2').waitFor();

    await send(gateway, 'Заказ №42 собран');
    await newest(page).filter({ hasText: 'Заказ №42 собран' }).click();
    expect(await newest(page).locator('.msisdn').textContent()).toBe('+7 927 •••-••-01');
    await hasText(page, '.bubble.current', 'Заказ №42 собран');

    const callback = receiver.next();
    await page.click('[data-push=delivered]');
    const { uid } = gateway.messages[0]!;
    expect(await callback).toEqual({ shop: '1', id: uid, status: 'delivered', parts: '1' });
    await newest(page).filter({ hasText: 'delivered' }).filter({ hasText: '200' }).waitFor();
    await hasText(page, '.calls li', '→ 200');

    const again = receiver.next();
    await page.click('#resend');
    expect(await again).toMatchObject({ status: 'delivered' });
    await page.check('#push-lose');
    await page.fill('#push-err', '7');
    await page.click('[data-push=rejected]');
    await hasText(page, '#detail-status', 'rejected 7');
    await hasText(page, '.calls li', '→ lost');
  });

  it('shows the notice of its options in its head, as text', async () => {
    const page = await open(await startGateway({ notice: `Staging: only 7927… ${XSS}` }));
    await hasText(page, '#notice', `Staging: only 7927… ${XSS}`);
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await seriousFindings(page)).toEqual([]);
    const without = await open(await startGateway());
    expect(await without.locator('#notice').isHidden()).toBe(true);
  });

  it('can be used with the keyboard alone', async () => {
    const gateway = await startGateway();
    for (const text of ['alpha 1', 'beta 2', 'beta 3']) await send(gateway, text);
    const page = await open(gateway);
    await newest(page).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('beta');
    await page.locator('#messages [aria-setsize="2"]').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    await hasText(page, '.bubble.current', 'beta 2');
    await page.keyboard.press('f');
    await hasText(page, '#detail-status', 'failed');
    expect(gateway.messages.map(({ status }) => status)).toEqual(['accepted', 'failed', 'accepted']);
  });

  it('takes the keys of the list from the start, before anything was clicked', async () => {
    const gateway = await startGateway();
    for (const text of ['one', 'two', 'three']) await send(gateway, text);
    const page = await open(gateway);
    await page.locator('#messages [aria-selected=true]').filter({ hasText: 'three' }).waitFor();
    await page.keyboard.press('d');
    await hasText(page, '#detail-status', 'delivered');
    await page.keyboard.press('ArrowDown');
    await hasText(page, '.bubble.current', 'two');
    await page.keyboard.press('r');
    await hasText(page, '#detail-status', 'rejected');
    // The keys also work in the details; in a field they are letters.
    await page.click('[data-push=delivered]');
    await hasText(page, '#detail-status', 'delivered');
    await page.keyboard.press('f');
    await hasText(page, '#detail-status', 'failed');
    await page.fill('#push-other', '');
    await page.locator('#push-other').press('d');
    expect(await page.inputValue('#push-other')).toBe('d');
    expect(gateway.messages.map(({ status }) => status)).toEqual(['accepted', 'failed', 'delivered']);
  });

  it('shows all messages again when Esc empties the search', async () => {
    const gateway = await startGateway();
    for (const text of ['alpha', 'beta']) await send(gateway, text);
    const page = await open(gateway);
    await page.fill('#search', 'alpha');
    await page.locator('#messages [aria-setsize="1"]').first().waitFor();
    await page.locator('#search').press('Escape');
    await page.locator('#messages [aria-setsize="2"]').first().waitFor();
    expect(await page.inputValue('#search')).toBe('');
    expect(await page.evaluate('document.activeElement.id')).toBe('search');
    await page.keyboard.press('Escape');
    expect(await page.evaluate('document.activeElement.id')).toBe('messages');
  });

  it('distinguishes the probe of a health check from a failed request', async () => {
    const gateway = await startGateway();
    const page = await open(gateway);
    await ask(gateway, 'message-id-000000000000');
    await ask(gateway, 'message-id-000000000001');
    await page.click('#show-requests');
    const row = (n: number) => page.locator(`#requests [aria-posinset="${n}"]`);
    await row(2).filter({ hasText: 'health check, as expected' }).waitFor();
    expect(await row(2).locator('.bad').count()).toBe(0);
    expect(await row(1).locator('.bad').count()).toBe(1);
    await row(2).click();
    await hasText(page, '.exchanges summary', 'health check');
  });

  it('is Russian on the Russian page: statuses, what the buttons say, and what went wrong', async () => {
    const gateway = await startGateway();
    for (const status of ['delivered', 'awaiting_report', 'failed', 'insufficient_balance', 'odd', 'rejected']) {
      await send(gateway, status.replaceAll(/[a-z_]/g, 'ы'));
      await gateway.report(gateway.messages.at(-1)!.uid, status);
    }
    const page = await open(gateway, { locale: 'ru-RU' });
    await newest(page).filter({ hasText: 'отклонено' }).click();
    await hasText(page, '.push', 'доставлено');
    await page.click('[data-push=delivered]');
    await hasText(page, '#toast', 'доставлено');
    await page.fill('#search', 'нет средств');
    await page.locator('#messages [aria-setsize="1"]').first().waitFor();
    await page.fill('#search', 'insufficient');
    await page.locator('#messages [aria-setsize="1"]').first().waitFor();
    await page.click('#conditions-open');
    await page.fill('#set-callback', 'ftp://here');
    await page.locator('#set-callback').press('Enter');
    await hasText(page, '#toast', 'http://');
    await page.fill('#fault-times', '');
    await page.click('#fault-add');
    await hasText(page, '#toast', 'Число раз');
    expect(gateway.faults.send).toEqual([]);
    await page.locator('dialog summary').click();
    const words = (await page.innerText('body')).replaceAll(/https?:\/\/\S*|message-id-\w+/g, '');
    // The remaining English words are the provider's terms and names of the protocol.
    expect(words).not.toMatch(
      /\b(delivered|awaiting|failed|rejected|insufficient_balance|balance|accepted|must|lost|answer)\b/i,
    );
  });

  it.each(['en-US', 'ru-RU'])('shows the whole of every choice in a select, at any width: %s', async (locale) => {
    const gateway = await startGateway();
    for (const width of [360, 700, 1280]) {
      const page = await open(gateway, { locale, viewport: { width, height: 800 } });
      await page.click('#conditions-open');
      // A select without a fixed width is as wide as its longest choice.
      const cut = await page.evaluate<string[]>(`[...document.querySelectorAll('select')].filter((select) => {
        const copy = select.cloneNode(true);
        copy.style.cssText = 'position: absolute; visibility: hidden; width: max-content';
        select.after(copy);
        const wanted = copy.getBoundingClientRect().width;
        copy.remove();
        return wanted > select.getBoundingClientRect().width;
      }).map(({ id }) => id)`);
      expect({ width, cut }).toEqual({ width, cut: [] });
    }
  });

  it.each(['light', 'dark'] as const)(
    'shows that numbers are masked by more than a pale tint: %s',
    async (colorScheme) => {
      const gateway = await startGateway();
      const page = await open(gateway, { colorScheme, reducedMotion: 'reduce' });
      const contrast = () =>
        page.evaluate<number>(`(() => {
        const luminance = (color) => {
          const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
          });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const border = getComputedStyle(document.querySelector('#mask'));
        const bar = getComputedStyle(document.querySelector('.bar'));
        if (border.borderTopColor.endsWith(', 0)')) return 1;
        const [a, b] = [border.borderTopColor, bar.backgroundColor].map(luminance);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      })()`);
      await page.mouse.move(0, 0);
      expect(await contrast()).toBeGreaterThan(3);
      await page.locator('#mask').press('Enter');
      expect(await page.getAttribute('#mask', 'aria-pressed')).toBe('false');
      expect(await contrast()).toBe(1);
    },
  );

  it('shows markup in a text as text, and masks numbers until masking is off', async () => {
    const gateway = await startGateway();
    await send(gateway, XSS);
    const page = await open(gateway);
    await newest(page).click();
    expect(await newest(page).locator('.text').textContent()).toBe(XSS);
    expect(await page.textContent('.bubble.current p')).toBe(XSS);
    await page.click('.exchanges summary');
    await hasText(page, '.exchanges pre', '7927*****01');
    expect(await page.textContent('body')).not.toContain('79270000001');
    expect(await page.innerText('.curl')).toMatch(/^curl \\\n +-u "\$RT_SMS_LOGIN:\$RT_SMS_PASSWORD"/);
    await page.click('#mask');
    await hasText(page, '#messages .msisdn', '+7 927 000-00-01');
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await page.locator('.right img, .right script, .list img').count()).toBe(0);
  });

  it('sets a fault for the next request, and shows the request that met it', async () => {
    const gateway = await startGateway();
    const page = await open(gateway);
    await page.click('#conditions-open');
    await page.selectOption('#fault-what', { label: '503' });
    await page.click('#fault-add');
    await hasText(page, '.waiting li', '503');
    await page.locator('#set-loss').fill('40');
    await page.locator('#conditions-count').filter({ hasText: '2' }).waitFor({ state: 'attached' });
    expect(gateway.adjustments.loss).toBe(0.4);
    await page.keyboard.press('Escape');
    expect(await send(gateway)).toBe(503);
    await page.click('#show-requests');
    await page.locator('#requests [aria-posinset="1"]').filter({ hasText: 'fault: 503' }).click();
    await hasText(page, '.exchanges pre', 'HTTP/1.1 503');
    expect(gateway.messages).toEqual([]);
  });

  it.each([
    ['light', {}],
    ['dark and Russian', { colorScheme: 'dark', locale: 'ru-RU' }],
    ['small', { viewport: { width: 390, height: 844 } }],
  ] as const)('does not have serious findings of axe: %s', async (_, options) => {
    const receiver = await startReceiver();
    const gateway = await startGateway({ callbackUrl: receiver.url });
    // Colours cannot be checked during an animation.
    const page = await open(gateway, { ...options, reducedMotion: 'reduce' });
    await page.locator('#empty h2').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    for (const status of [
      'accepted',
      'delivered',
      'awaiting_report',
      'failed',
      'rejected',
      'insufficient_balance',
      'odd',
    ]) {
      await send(gateway, `${status} ${XSS}`);
      if (status !== 'accepted') await gateway.report(gateway.messages.at(-1)!.uid, status, { lost: status === 'odd' });
    }
    await newest(page).filter({ hasText: 'odd' }).waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await newest(page).click();
    await page.click('.exchanges summary');
    expect(await seriousFindings(page)).toEqual([]);
    if (await page.locator('.back').isVisible()) await page.click('.back');
    await page.click('#conditions-open');
    expect(await seriousFindings(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.click('#show-requests');
    await page.locator('#requests [aria-posinset="1"]').click();
    await page.locator('.exchanges pre').first().waitFor();
    expect(await seriousFindings(page)).toEqual([]);
  });

  // The bench `inbox` measures the time.
  it('renders only the visible ones of 10,000 messages, and finds the others', async () => {
    const gateway = await startGateway();
    let left = 10_000;
    const sender = async () => {
      for (let n = left--; n > 0; n = left--) await send(gateway, 'Ваш код 4821', String(79_270_000_000 + n));
    };
    await Promise.all(Array.from({ length: 16 }, sender));
    const page = await open(gateway);
    await page.locator('#count-messages').filter({ hasText: '10,000' }).waitFor();
    expect(await page.locator('#messages [role=option]').count()).toBeLessThan(60);
    await page.locator('#messages').press('End');
    await hasText(page, '#messages [aria-selected=true]:not([hidden])', '+7 927');
    await page.fill('#search', '79270000007');
    await page.locator('#messages [aria-setsize="1"]').first().waitFor();
  }, 90_000);
});
