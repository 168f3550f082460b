import { openCsv, rowsOf, type CsvRow } from './csv.js';

const windows1251 = (text: string): Buffer =>
  Buffer.from(
    [...text].map((character) => {
      const code = character.codePointAt(0)!;
      if (character === 'ё') return 0xb8;
      return code >= 0x410 && code <= 0x44f ? code - 0x410 + 0xc0 : code;
    }),
  );

async function read(file: string | Buffer): Promise<CsvRow[]> {
  const rows: CsvRow[] = [];
  for await (const row of rowsOf(openCsv(Buffer.from(file)))) rows.push(row);
  return rows;
}

const NUMBER = '+7 927 000-00-01';

describe('a file of messages', () => {
  it.each([
    ['commas', `${NUMBER},"Hello, you",SHOP\n`],
    ['semicolons', `${NUMBER};"Hello, you";SHOP\n`],
    ['tabs', `${NUMBER}\tHello, you\tSHOP\r\n`],
    ['a byte order mark', `\uFEFF${NUMBER};Hello, you;SHOP`],
    ['quotes all over', `"${NUMBER}";"Hello, you";"SHOP"`],
    ['named columns', `msisdn;text;sender\n${NUMBER};Hello, you;SHOP`],
    ['named columns in another order, and one more', `Отправитель;Имя;Текст;Телефон\nSHOP;Ann;Hello, you;${NUMBER}`],
    ['line ends of three kinds', `phone,message,from\r\n\n\r${NUMBER},"Hello, you",SHOP\r\n`],
  ])('may have %s', async (_, file) => {
    const [first, ...others] = await read(file);
    expect(first).toMatchObject({ msisdn: NUMBER, text: 'Hello, you', shortcode: 'SHOP' });
    expect(others).toEqual([]);
  });

  it.each([
    ['utf-8', Buffer.from('79270000001;Ваш заказ, ёлки')],
    ['windows-1251', windows1251('79270000001;Ваш заказ, ёлки')],
    ['utf-16le', Buffer.from('\uFEFF79270000001\tВаш заказ, ёлки', 'utf16le')],
  ])('may be in %s', async (encoding, file) => {
    expect(openCsv(file).encoding).toBe(encoding);
    await expect(read(file)).resolves.toEqual([{ row: 1, msisdn: '79270000001', text: 'Ваш заказ, ёлки' }]);
  });

  it('names rows as a spreadsheet does, with empty ones and texts of several lines', async () => {
    const file = [
      'телефон;текст',
      '',
      '79270000001;"one\ntwo"',
      ';',
      '79270000002;"say ""hi"""',
      '  ; ',
      '79270000003;1" of rain',
    ];
    await expect(read(file.join('\n'))).resolves.toEqual([
      { row: 3, msisdn: '79270000001', text: 'one\ntwo' },
      { row: 5, msisdn: '79270000002', text: 'say "hi"' },
      { row: 7, msisdn: '79270000003', text: '1" of rain' },
    ]);
  });

  it('does not take the rest of a text without quotes for a sender', async () => {
    await expect(read('79270000001,Hello\n79270000002,Hello, Ivan')).resolves.toMatchObject([
      { row: 1 },
      { row: 2, columns: { found: 3, expected: 2 } },
    ]);
  });

  it.each([
    ['nothing', '', 'empty', undefined],
    ['white space', ' \n\r\n', 'empty', undefined],
    ['names only', 'msisdn,text\n', 'empty', undefined],
    ['numbers only', '\n79270000001\n79270000002', 'no_separator', 2],
    ['other columns', 'name;city\nAnn;Omsk', 'no_columns', 1],
    ['a workbook of Excel', Buffer.from('PK\x03\x04....'), 'not_text', undefined],
    ['a picture', Buffer.from([0x89, 0x50, 0, 0, 1]), 'not_text', undefined],
    ['a quote that is never closed', '79270000001;a\n79270000002;"b\n79270000003;c', 'quote', 2],
  ])('cannot be read with %s in it', async (_, file, problem, row) => {
    const failure = expect(read(file)).rejects;
    await failure.toMatchObject({ problem, ...(row !== undefined && { row }) });
  });
});
