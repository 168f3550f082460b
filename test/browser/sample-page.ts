import { AppModule } from '../../apps/sample/src/app.module.js';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import type { Browser, Page } from 'playwright-core';
import { atEnd, start } from '../platforms.js';
import { gatewayInEnvironment, SECRET } from '../sample/environment.js';
import { openPage } from './chromium.js';

/** Starts the sample with a gateway that has an inbox; `variables` are further ones of its account. */
export async function startSample(
  variables: Record<string, string> = {},
): Promise<{ gateway: RtSmsSimulator; url: string }> {
  const gateway = await gatewayInEnvironment({ inbox: true }, { RT_SMS_CALLBACK_SECRETS: SECRET, ...variables });
  process.env.INBOX_URL = gateway.inboxUrl;
  atEnd(() => delete process.env.INBOX_URL);
  const { url } = await start('express', { imports: [AppModule] });
  gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
  return { gateway, url };
}

/** Opens a page that must not complain, except about requests that fail on purpose with one of the statuses `refused`. */
export async function openSample(
  browser: Browser,
  url: string,
  options: Parameters<typeof openPage>[2],
  refused: readonly number[],
): Promise<Page> {
  const { page, complaints } = await openPage(browser, url, options);
  const onPurpose = refused.map((status) => `Failed to load resource: the server responded with a status of ${status}`);
  atEnd(async () => {
    await page.context().close();
    expect(complaints.filter((complaint) => !onPurpose.some((text) => complaint.startsWith(text)))).toEqual([]);
  });
  page.setDefaultTimeout(20_000);
  return page;
}

/** Resolves once an element with this text is shown. */
export const shows = (page: Page, selector: string, text: string | RegExp): Promise<void> =>
  page.locator(selector).filter({ hasText: text }).first().waitFor();
