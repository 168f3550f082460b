import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { jest } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { openPage, startChromium } from './chromium.js';
import { takePictures } from './pictures.js';

jest.setTimeout(120_000);

const images = resolve(import.meta.dirname, '../../docs/images');
const folder = mkdtempSync(join(tmpdir(), 'rt-sms-pictures-'));
let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
}, 300_000);
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

/** Mean difference of two pictures, 0 to 1, after both are reduced so that single letters do not count. */
async function difference(one: string, other: string): Promise<number> {
  const { page } = await openPage(browser, 'about:blank');
  const [first, second] = [one, other].map((file) => readFileSync(file).toString('base64'));
  const result = await page.evaluate<number>(`(async () => {
    const pixels = async (data) => {
      const image = new Image();
      image.src = 'data:image/png;base64,' + data;
      await image.decode();
      const canvas = new OffscreenCanvas(64, 36);
      const context = canvas.getContext('2d');
      context.imageSmoothingQuality = 'high';
      context.drawImage(image, 0, 0, 64, 36);
      return { data: context.getImageData(0, 0, 64, 36).data, size: image.width + 'x' + image.height };
    };
    const [a, b] = [await pixels('${first}'), await pixels('${second}')];
    if (a.size !== b.size) return 1;
    return a.data.reduce((sum, value, at) => sum + Math.abs(value - b.data[at]), 0) / a.data.length / 255;
  })()`);
  await page.close();
  return result;
}

it('the pictures in docs/images show both pages as they look now (else: npm run pictures)', async () => {
  await takePictures(browser, folder);
  const differences = await Promise.all(
    ['sample.png', 'inbox.png'].map((name) => difference(join(folder, name), join(images, name))),
  );
  for (const one of differences) expect(one).toBeLessThan(0.01);
  // Another page differs by more, so the comparison can fail.
  await expect(difference(join(folder, 'sample.png'), join(images, 'inbox.png'))).resolves.toBeGreaterThan(0.04);
});
