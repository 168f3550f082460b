import { jest } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { seriousFindings, startChromium } from './chromium.js';
import { openSample, shows, startSample } from './sample-page.js';

jest.setTimeout(60_000);

let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
}, 300_000);
afterAll(() => browser?.close());

const NUMBER = '8 927 000-00-01';

const open = (url: string, options: Parameters<typeof openSample>[2] = {}): Promise<Page> =>
  openSample(browser, url, options, [409, 422, 429, 503]);
const openSignIn = async (url: string, options: Parameters<typeof openSample>[2] = {}) => {
  const page = await open(`${url}/sign-in`, options);
  await page.locator('#start:not(:empty)').waitFor();
  return page;
};
const focused = (page: Page) => page.evaluate<string>('document.activeElement.id');

async function ask(page: Page, number = NUMBER): Promise<void> {
  await page.fill('#msisdn', number);
  await page.click('#start');
}
/** The code that a person reads in the inbox. */
async function codeInInbox(page: Page): Promise<string> {
  const inbox = await open((await page.locator('#inbox').getAttribute('href'))!);
  const text = await inbox.locator('.bubble.current').innerText();
  return /\d{6}/.exec(text)![0];
}
const wrong = (code: string) => code.replace(/.$/, (digit) => String((Number(digit) + 1) % 10));

describe('signing in by phone', () => {
  it('number, code from the inbox, in; a wrong code first', async () => {
    const { gateway, url } = await startSample();
    const page = await openSignIn(url);
    expect(await page.title()).toBe('Sign in by phone');
    await ask(page);
    await shows(page, '#sent-to', 'The code was sent to +7927*****01.');
    expect(await focused(page)).toBe('code');
    const field = page.locator('#code');
    expect(await field.getAttribute('autocomplete')).toBe('one-time-code');
    expect(await field.getAttribute('inputmode')).toBe('numeric');
    const code = await codeInInbox(page);
    // The last line is bound to the host, so that browsers offer the code there only.
    expect(gateway.messages[0]!.text.split('\n').at(-1)).toBe(`@localhost #${code}`);

    await page.fill('#code', wrong(code));
    await page.click('#verify');
    await shows(page, '#problem', 'The code is wrong. Attempts left: 4.');
    expect([await focused(page), await field.getAttribute('aria-invalid')]).toEqual(['code', 'true']);
    await page.fill('#code', `${code.slice(0, 3)} ${code.slice(3)}`);
    await page.click('#verify');
    await shows(page, '#done', 'You are signed in as +7 927 000-00-01.');
    expect(await focused(page)).toBe('done');
    expect(await page.locator('#code-form').isHidden()).toBe(true);
  });

  it('says in words what is wrong, in both languages', async () => {
    const { gateway, url } = await startSample();
    const page = await openSignIn(url);
    await page.click('#start');
    await shows(page, '#problem', 'Enter your phone number.');
    await ask(page, '12345');
    await shows(page, '#problem', 'This is not a phone number.');
    gateway.nextSend('invalid_source_address');
    await ask(page);
    await shows(page, '#problem', 'The code could not be sent.');
    await page.click('#language');
    await shows(page, '#problem', 'Не удалось отправить код. Попробуйте позже.');
    await ask(page);
    await shows(page, '#sent-to', 'Код отправлен на номер +7927*****01.');
    await page.click('#verify');
    await shows(page, '#problem', 'Введите код из SMS.');
    for (let left = 4; left >= 0; left--) {
      await page.fill('#code', 'x');
      await page.click('#verify');
      await shows(page, '#problem', left > 0 ? `Осталось попыток: ${left}.` : 'попыток больше нет');
    }
    await page.click('#verify');
    await shows(page, '#problem', 'Слишком много неверных кодов.');
    await page.click('#language');
    await shows(page, '#problem', 'Too many wrong codes. Request a new code.');
    await page.click('#back');
    expect(await focused(page)).toBe('msisdn');
    await page.click('#start');
    await shows(page, '#sent-to', 'The code was sent');
    await page.fill('#code', await codeInInbox(page));
    await page.click('#verify');
    await shows(page, '#done', 'You are signed in');
  });

  it('counts down to the moment when the same code can be sent again', async () => {
    const { gateway, url } = await startSample();
    const page = await open('about:blank');
    await page.clock.install();
    await page.goto(`${url}/sign-in`);
    await page.locator('#start:not(:empty)').waitFor();
    await ask(page);
    await shows(page, '#resend', /^Send again in (1:00|0:5\d)$/);
    expect(await page.locator('#resend').isDisabled()).toBe(true);
    await page.clock.runFor(30_000);
    await shows(page, '#resend', /^Send again in 0:(30|2\d)$/);
    await page.clock.runFor(31_000);
    await shows(page, '#resend', /^Send again$/);
    await shows(page, '#notice', 'You can have the code sent again.');
    // Only the clock of the page has moved, and the server decides.
    await page.click('#resend');
    await shows(page, '#problem', 'The code was sent a moment ago.');
    expect(gateway.messages).toHaveLength(1);
  });

  it('shows that the SMS was not delivered', async () => {
    const { gateway, url } = await startSample();
    const page = await openSignIn(url);
    const connected = page.waitForResponse((response) => response.url().endsWith('/undelivered'));
    await ask(page);
    await connected;
    await gateway.report(gateway.messages[0]!.uid, 'failed');
    await shows(page, '#notice', 'The SMS was not delivered.');
  });

  it('can be used with the keyboard alone', async () => {
    const { url } = await startSample();
    const page = await openSignIn(url);
    expect(await focused(page)).toBe('msisdn');
    await page.keyboard.type(NUMBER);
    await page.keyboard.press('Enter');
    await shows(page, '#sent-to', 'The code was sent');
    await page.keyboard.type(await codeInInbox(page));
    await page.keyboard.press('Enter');
    await shows(page, '#done', 'You are signed in');
  });

  it.each([
    ['light', {}],
    ['dark and Russian', { colorScheme: 'dark', locale: 'ru-RU' }],
    ['small', { viewport: { width: 360, height: 740 } }],
  ] as const)('does not have serious findings of axe: %s', async (_, options) => {
    const { url } = await startSample();
    const page = await openSignIn(url, { ...options, reducedMotion: 'reduce' });
    expect(await seriousFindings(page)).toEqual([]);
    await ask(page);
    await page.locator('#code').waitFor();
    await page.fill('#code', '1');
    await page.click('#verify');
    await page.locator('#problem:not(:empty)').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
  });
});
