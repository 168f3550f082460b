import { APP } from './app.js';
import { CONDITIONS } from './conditions.js';
import { DETAIL } from './detail.js';
import { DOM } from './dom.js';
import { HTML } from './html.js';
import { LIST } from './list.js';
import { STYLE } from './style.js';
import { WORDS } from './words.js';

const CODE = 'text/javascript; charset=utf-8';

/**
 * What a browser loads, by path. The files are kept as strings, so that they are found alike in both builds and in
 * tests; the scripts are plain modules and write what comes from outside by `textContent` only.
 */
export const PAGE: Readonly<Record<string, { readonly type: string; readonly body: string }>> = {
  '/': { type: 'text/html; charset=utf-8', body: HTML },
  '/inbox/style.css': { type: 'text/css; charset=utf-8', body: STYLE },
  '/inbox/app.js': { type: CODE, body: APP },
  '/inbox/conditions.js': { type: CODE, body: CONDITIONS },
  '/inbox/detail.js': { type: CODE, body: DETAIL },
  '/inbox/dom.js': { type: CODE, body: DOM },
  '/inbox/list.js': { type: CODE, body: LIST },
  '/inbox/words.js': { type: CODE, body: WORDS },
};
