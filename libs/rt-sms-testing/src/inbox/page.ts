import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import folder from '../../page/folder.cjs';

/** A file of the page with its Content-Type. */
export interface PageFile {
  readonly type: string;
  readonly body: string;
}

const HTML = 'text/html; charset=utf-8';
const CSS = 'text/css; charset=utf-8';
const CODE = 'text/javascript; charset=utf-8';
const TYPES = {
  'index.html': HTML,
  'style.css': CSS,
  'app.js': CODE,
  'chips.js': CODE,
  'conditions.js': CODE,
  'detail.js': CODE,
  'dom.js': CODE,
  'exchange.js': CODE,
  'list.js': CODE,
  'message.js': CODE,
  'rows.js': CODE,
  'words.js': CODE,
} as const;

/** Reads the files of the page; the keys are the paths at which the inbox serves them. */
export function readPage(): ReadonlyMap<string, PageFile> {
  return new Map(
    Object.entries(TYPES).map(([name, type]) => [
      name === 'index.html' ? '/' : `/inbox/${name}`,
      { type, body: readFileSync(join(folder, name), 'utf8') },
    ]),
  );
}
