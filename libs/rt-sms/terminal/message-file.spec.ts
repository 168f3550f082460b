import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageFile, type Row } from './message-file.js';

let folder: string;
let file: MessageFile | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rt-sms-rows-'));
});
afterEach(async () => {
  await file?.close();
  file = undefined;
});
afterAll(() => rm(folder, { recursive: true }));

async function read(content: string | Buffer, encoding?: string, shortcode: string | undefined = 'SHOP') {
  const path = join(folder, 'm.csv');
  await writeFile(path, content);
  await file?.close();
  file = undefined;
  file = await MessageFile.open(path, encoding, shortcode || undefined);
  const rows: Row[] = [];
  for await (const row of file.rows()) rows.push(row);
  return rows;
}
const brief = (rows: Row[]) =>
  rows.map(({ row, msisdn, message, problems }) => [row, msisdn, message.text, message.shortcode, ...problems]);

const TEXT = 'Привет; "мир", да';
const QUOTED = `"${TEXT.replaceAll('"', '""')}"`;
const windows1251 = (text: string) =>
  Buffer.from([...text].map((letter) => letter.charCodeAt(0)).map((code) => (code < 128 ? code : code - 0x350)));
const TABLE = `Телефон;Имя;Текст;Отправитель\r\n+7 (927) 000-00-01;Иван;${QUOTED};\r\n\r\n;;;\r\n89270000002;;${QUOTED};BANK\r\n`;

it.each([
  ['UTF-8', Buffer.from(TABLE), 'utf-8'],
  ['UTF-8 with a mark', Buffer.from(`\uFEFF${TABLE}`), 'utf-8'],
  ['Windows-1251', windows1251(TABLE), 'windows-1251'],
  ['UTF-16', Buffer.from(`\uFEFF${TABLE}`, 'utf16le'), 'utf-16le'],
  ['tabs', Buffer.from(TABLE.replace(/;(?! )/g, '\t')), 'utf-8'],
  ['commas', Buffer.from(TABLE.replace(/;(?! )/g, ',')), 'utf-8'],
  ['lone line feeds', Buffer.from(TABLE.replaceAll('\r', '')), 'utf-8'],
])('reads a table of %s', async (_, content, encoding) => {
  expect(brief(await read(content))).toEqual([
    [2, '79270000001', TEXT, 'SHOP'],
    [5, '79270000002', TEXT, 'BANK'],
  ]);
  expect(file!.encoding).toBe(encoding);
});

it('reads numbers and texts without a header', async () => {
  expect(brief(await read('+7 927 000-00-01;Скидка 5,5%\n89270000002;ООО "Ромашка"\n'))).toEqual([
    [1, '79270000001', 'Скидка 5,5%', 'SHOP'],
    [2, '79270000002', 'ООО "Ромашка"', 'SHOP'],
  ]);
  expect(brief(await read('"79270000001","one\ntwo"\n79270000002,three'))).toEqual([
    [1, '79270000001', 'one\ntwo', 'SHOP'],
    [2, '79270000002', 'three', 'SHOP'],
  ]);
});

it('says what is wrong with a row, without its text and number', async () => {
  const rows = await read(
    `792700000012,Hello\n79270000002,\n79270000003,Hello, Ivan\n79270000004,${'x'.repeat(40_000)}\n7.9E+10,Hello\n`,
  );
  expect(rows.map(({ row, problems }) => [row, problems.length])).toEqual([1, 2, 3, 4, 5].map((row) => [row, 1]));
  const [long, blank, cut, endless, spreadsheet] = rows.map(({ problems }) => problems[0]);
  expect(long).toMatch(/^msisdn 7927\*{6}12 has 12 digits/);
  expect(blank).toMatch(/^text must be a string that is not blank/);
  expect(cut).toBe('has 3 cells, not 2: a text with , in it needs quotes');
  expect(endless).toMatch(/^text must be .* 255 segments$/);
  expect(spreadsheet).toMatch(/^msisdn must be a phone number/);
});

it('needs a sender for each row', async () => {
  const rows = await read('sender,text,phone\nBANK,Hello,79270000001\n,Hello,79270000002\n', undefined, '');
  expect(rows.map(({ problems }) => problems)).toEqual([
    [],
    ['shortcode is missing: --shortcode, RT_SMS_SHORTCODE, or a column of it'],
  ]);
});

it.each([
  ['a damaged UTF-8 text', Buffer.concat([Buffer.from(TABLE), Buffer.from([0xd0])]), 'characters are no utf-8'],
  ['no text', Buffer.from('PK\x03\x04\0\0'), 'this is no text; save it as CSV'],
  [
    'an open quote',
    Buffer.from('79270000001,Hi\n79270000002,"Hello\n79270000003,Hi\n'),
    'after row 1: a quote is not closed',
  ],
  ['an endless quote', Buffer.from(`79270000001,"${'Hello\n'.repeat(50_000)}`), 'after row 0: a quote is not closed'],
])('refuses %s', async (_, content, problem) => {
  await expect(read(content)).rejects.toThrow(problem);
});

it('reads in the encoding that it is told', async () => {
  const [row] = await read(Buffer.from([...Buffer.from('79270000001,'), 0xf0, 0xd2]), 'koi8-r');
  expect(row!.message.text).toBe('Пр');
  await expect(read(windows1251(TABLE), 'utf-8')).rejects.toThrow('give the right --encoding');
  await expect(read('x', 'klingon')).rejects.toThrow(/klingon/);
});

it('says which file cannot be read', async () => {
  await expect(MessageFile.open('/none.csv')).rejects.toThrow(/^\/none\.csv: .*ENOENT/);
  await expect(MessageFile.open(folder)).rejects.toThrow(/EISDIR/);
});

it('goes on reading what it has opened', async () => {
  await read('79270000001,one\n');
  await rm(join(folder, 'm.csv'));
  await writeFile(join(folder, 'm.csv'), '79270000002,two\n');
  const rows: Row[] = [];
  for await (const row of file!.rows()) rows.push(row);
  expect(brief(rows)).toEqual([[1, '79270000001', 'one', 'SHOP']]);
});
