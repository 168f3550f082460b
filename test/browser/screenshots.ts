// npm run pictures: takes the pictures in docs/images again.
import { fileURLToPath } from 'node:url';
import { startChromium } from './chromium.js';
import { takePictures } from './pictures.js';

const browser = await startChromium();
try {
  await takePictures(browser, fileURLToPath(new URL('../../docs/images', import.meta.url)));
} finally {
  await browser.close();
}
