import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OpenedFile, type Row } from './message-file.js';

let folder: string;
let path: string;
let file: OpenedFile | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rt-sms-rows-'));
  path = join(folder, 'm.csv');
});
afterEach(async () => {
  await file?.close();
  file = undefined;
});
afterAll(() => rm(folder, { recursive: true }));

async function open(content: string | Buffer, shortcode?: string): Promise<void> {
  await writeFile(path, content);
  file = await OpenedFile.open(path, undefined, shortcode);
}
async function rows(): Promise<Row[]> {
  const found: Row[] = [];
  for await (const row of file!.rows()) found.push(row);
  return found;
}

it('names the problems of a row', async () => {
  await open('sender,text,phone\nBANK,Hello,79270000001\n,Hello,79270000002\nBANK,,1,2\n');
  expect((await rows()).map(({ row, problems }) => [row, ...problems])).toEqual([
    [2],
    [3, 'shortcode is missing: set --shortcode or RT_SMS_SHORTCODE, or add a column for it'],
    [
      4,
      'has 4 cells, not 3: a text with , in it needs quotes',
      expect.stringMatching(/^msisdn \* is not a possible phone number/),
      expect.stringMatching(/^text must be/),
    ],
  ]);
});

it('names the file that cannot be read', async () => {
  await expect(OpenedFile.open('/none.csv')).rejects.toThrow(/^\/none\.csv: .*ENOENT/);
  await expect(OpenedFile.open(folder)).rejects.toThrow(/EISDIR/);
  await expect(open('PK\x03\x04')).rejects.toThrow(`${path}: this is an Excel workbook; save it as CSV`);
  await open('79270000001,"Hello');
  await expect(rows()).rejects.toThrow(`${path}: Row 1: a quote (") is opened and never closed`);
});

it('continues to read the opened file after it was replaced', async () => {
  await open('79270000001,one\n', 'SHOP');
  await rm(path);
  await writeFile(path, '79270000002,two\n');
  expect(await rows()).toMatchObject([{ msisdn: '79270000001', message: { text: 'one' }, problems: [] }]);
});
