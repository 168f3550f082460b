import * as fc from 'fast-check';
import { MessageFile, type MessageFileOptions, type MessageRow } from './index.js';

async function read(content: string | Buffer, options: MessageFileOptions = { shortcode: 'SHOP' }) {
  const file = await MessageFile.open(() => [Buffer.from(content)], options);
  const rows: MessageRow[] = [];
  for await (const row of file.rows()) rows.push(row);
  return { file, rows };
}
const messagesIn = async (content: string | Buffer, options?: MessageFileOptions) =>
  (await read(content, options)).rows.map(({ row, msisdn, message, problems }) => [
    row,
    msisdn,
    message.text,
    message.shortcode,
    ...problems.map(({ field, message: what }) => `${field} ${what}`),
  ]);
const problemsIn = async (content: string) => (await read(content)).rows.map(({ problems }) => problems);

const windows1251 = (text: string): Buffer =>
  Buffer.from(
    [...text].map((letter) => {
      const code = letter.codePointAt(0)!;
      if (letter === 'ё') return 0xb8;
      return code >= 0x410 && code <= 0x44f ? code - 0x410 + 0xc0 : code;
    }),
  );
const utf16be = (text: string) => Buffer.from(text, 'utf16le').swap16();

describe('a table', () => {
  const TEXT = 'Привет; "мир", да';
  const QUOTED = `"${TEXT.replaceAll('"', '""')}"`;
  const TABLE = `Телефон;Имя;Текст;Отправитель\r\n+7 (927) 000-00-01;Иван;${QUOTED};\r\n\r\n;;;\r\n89270000002;;${QUOTED};BANK\r\n`;

  it.each([
    ['UTF-8', Buffer.from(TABLE), 'utf-8'],
    ['UTF-8 with a byte order mark', Buffer.from(`\uFEFF${TABLE}`), 'utf-8'],
    ['UTF-8 with two byte order marks', Buffer.from(`\uFEFF\uFEFF${TABLE}`), 'utf-8'],
    ['Windows-1251', windows1251(TABLE), 'windows-1251'],
    ['UTF-16', Buffer.from(`\uFEFF${TABLE}`, 'utf16le'), 'utf-16le'],
    ['big-endian UTF-16', utf16be(`\uFEFF${TABLE}`), 'utf-16be'],
    ['tabs', Buffer.from(TABLE.replace(/;(?! )/g, '\t')), 'utf-8'],
    ['commas', Buffer.from(TABLE.replace(/;(?! )/g, ',')), 'utf-8'],
    ['lone line feeds', Buffer.from(TABLE.replaceAll('\r', '')), 'utf-8'],
    ['sep=;', Buffer.from(`sep=;\r\n${TABLE}`), 'utf-8'],
    ['a byte order mark and sep=;', Buffer.from(`\uFEFFSEP=;\r\n${TABLE}`), 'utf-8'],
    ['a quoted sep=;', Buffer.from(`"sep=;"\n${TABLE}`), 'utf-8'],
    ['sep=; filled up with cells', Buffer.from(`sep=;;;;\n${TABLE}`), 'utf-8'],
    ['sep=,', Buffer.from(`sep=,\n${TABLE.replace(/;(?! )/g, ',')}`), 'utf-8'],
    ['sep=|', Buffer.from(`sep=|\n${TABLE.replace(/;(?! )/g, '|')}`), 'utf-8'],
    ['sep= and a tab', Buffer.from(`sep=\t\n${TABLE.replace(/;(?! )/g, '\t')}`), 'utf-8'],
    ['sep=; in UTF-16', Buffer.from(`\uFEFFsep=;\n${TABLE}`, 'utf16le'), 'utf-16le'],
  ])('in %s is read; its rows are counted as in a spreadsheet', async (_, content, encoding) => {
    expect(await messagesIn(content)).toEqual([
      [2, '79270000001', TEXT, 'SHOP'],
      [5, '79270000002', TEXT, 'BANK'],
    ]);
    expect((await read(content)).file.encoding).toBe(encoding);
  });

  it('can name its columns in many ways', async () => {
    for (const names of ['msisdn;text;sender', 'Номер телефона;SMS;from', '="phone";="message";="shortcode"'])
      expect(await messagesIn(`${names}\n79270000001;Hello;BANK\n`)).toEqual([[2, '79270000001', 'Hello', 'BANK']]);
  });

  it('is read in the specified encoding', async () => {
    const koi8 = Buffer.from([...Buffer.from('79270000001,'), 0xf0, 0xd2]);
    expect(await messagesIn(koi8, { encoding: 'koi8-r' })).toEqual([[1, '79270000001', 'Пр', undefined]]);
    await expect(read(windows1251(TABLE), { encoding: 'utf-8' })).rejects.toMatchObject({ problem: 'not_text' });
    await expect(read('x', { encoding: 'klingon' })).rejects.toMatchObject({ name: 'RangeError' });
  });
});

describe('without headings', () => {
  it('a row is a number and a text', async () => {
    expect(await messagesIn('\n+7 927 000-00-01;Скидка 5,5%\n89270000002;ООО "Ромашка"\n')).toEqual([
      [2, '79270000001', 'Скидка 5,5%', 'SHOP'],
      [3, '79270000002', 'ООО "Ромашка"', 'SHOP'],
    ]);
    expect(await messagesIn('"79270000001","one\ntwo"\n79270000002,three')).toEqual([
      [1, '79270000001', 'one\ntwo', 'SHOP'],
      [2, '79270000002', 'three', 'SHOP'],
    ]);
  });

  it('a text that was split at its separator is not read as a text and a sender', async () => {
    expect(await problemsIn('79270000001,Hello, Ivan\n79270000002,Hello\n')).toEqual([
      [{ field: 'columns', message: 'has 3 cells, not 2: a text with , in it needs quotes' }],
      [],
    ]);
  });
});

describe('a cell that a spreadsheet has changed', () => {
  it.each([
    ['="79270000001";Hello'],
    ['"=""79270000001""";Hello'],
    ["'79270000001;Hello"],
    ['"\'79270000001";="Hello"'],
    ['\u202A+7 927 000-00-01\u202C;Hello'],
    ['"7927000\n0001";Hello'],
  ])('is restored if that is safe: %j', async (line) => {
    expect(await messagesIn(line)).toEqual([[1, '79270000001', 'Hello', 'SHOP']]);
  });

  it.each([
    ['7,927E+10;Hello', /^is in scientific notation, and the spreadsheet has rounded this number: format .* as text/],
    ['7.92700E+10;Hello', /the spreadsheet has rounded this number/],
    ['"7,927E+10",Hello', /the spreadsheet has rounded this number/],
    ['7,927E+10\tHello', /the spreadsheet has rounded this number/],
    ['phone;text\n7,927E+10;Hello', /the spreadsheet has rounded this number/],
    ['79270000001,00;Hello', /^is a decimal fraction: format its column in the spreadsheet as text/],
    ['8 (495) 123-45-67;Hello', /^can be read two ways, as \+7 495 … \(Russia\) and as \+84 95… \(Vietnam\)/],
  ])('otherwise is a problem with a fix: %j', async (content, message) => {
    expect(await problemsIn(content)).toEqual([[{ field: 'msisdn', message: expect.stringMatching(message) }]]);
  });

  it.each(['#NAME?', ' #ИМЯ? ', '#REF!', '#ЗНАЧ!', '#N/A'])('is not sent if it is an error: %s', async (text) => {
    expect(await problemsIn(`79270000001;${text}`)).toEqual([
      [{ field: 'text', message: 'is a spreadsheet error: correct the cell and save the file again' }],
    ]);
  });

  it('never shortens a text: a comma in a number is not a separator if another separator follows', () =>
    fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^[78]?9\d{9}(,\d{1,3})?$/),
        fc.constantFrom(';', '\t'),
        fc.stringMatching(/^[a-z][a-z ,]{0,20}$/),
        async (number, delimiter, text) => {
          const [row] = (await read(`${number}${delimiter}${text}`)).rows;
          if (row!.problems.length === 0) expect(row!.message.text).toBe(text);
        },
      ),
    ));
});

describe('a row', () => {
  it('has problems that do not show its text and number', async () => {
    const content = `792700000012,Hello\n79270000002,\n79270000003,Hello, Ivan\n79270000004,${'x'.repeat(40_000)}\n`;
    const problems = (await problemsIn(content)).map(([problem, ...more]) => [
      `${problem!.field} ${problem!.message}`,
      ...more,
    ]);
    expect(problems).toEqual([
      [expect.stringMatching(/^msisdn 7927\*{6}12 has 12 digits/)],
      [expect.stringMatching(/^text must be a string that is not blank/)],
      ['columns has 3 cells, not 2: a text with , in it needs quotes'],
      [expect.stringMatching(/^text must be .* 255 segments$/)],
    ]);
  });

  it('has the country of its number', async () => {
    const { rows } = await read('79270000001,a\n+375291234567,b\n87012345678,c\n1,d');
    expect(rows.map(({ country }) => country)).toEqual(['RU', 'BY', 'KZ', undefined]);
  });

  it('can be read several times', async () => {
    const { file } = await read('79270000001,a\n79270000002,b');
    for (let time = 0; time < 2; time++) {
      const rows: number[] = [];
      for await (const { row } of file.rows()) rows.push(row);
      expect(rows).toEqual([1, 2]);
    }
  });
});

const TOO_LONG = `79270000001,"${'Hello\n'.repeat(50_000)}`;

it.each([
  ['no content', '', 'empty', undefined],
  ['white space', ' \n\r\n', 'empty', undefined],
  ['headings only', 'msisdn,text\n', 'empty', undefined],
  ['sep=; only', 'sep=;\n', 'empty', undefined],
  ['numbers only', '\n79270000001\n79270000002', 'no_separator', 2],
  ['a rounded number only', '7,927E+10', 'no_separator', 1],
  ['other columns', 'name;city\nAnn;Omsk', 'no_columns', 1],
  ['other columns after sep=;', 'sep=;\n\nname;city\nAnn;Omsk', 'no_columns', 2],
  ['two columns for the number', 'Номер;Телефон;Текст\n1;79270000001;Hello', 'no_columns', 1],
  ['a workbook of Excel', Buffer.from('PK\x03\x04....'), 'not_text', undefined],
  ['a picture', Buffer.from([0x89, 0x50, 0, 0, 1]), 'not_text', undefined],
  ['damaged UTF-8', Buffer.concat([Buffer.from('79270000001,Привет'), Buffer.from([0xd0])]), 'not_text', undefined],
  ['a quote that is never closed', '79270000001;a\n79270000002;"b\n79270000003;c', 'quote', 2],
  ['an open quote after sep=; and empty rows', 'sep=;\n79270000001;a\n\n\n79270000002;"b', 'quote', 4],
  ['an endless quote', TOO_LONG, 'quote', 1],
  ['more rows than the limit', '79270000001,a\n\n79270000002,b\n79270000003,c', 'too_many_rows', 4],
])('a file with %s cannot be read', async (_, content, problem, row) => {
  await expect(read(content, { maxRows: 2 })).rejects.toMatchObject({ name: 'MessageFileError', problem, row });
});
