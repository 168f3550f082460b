import { isUtf8 } from 'node:buffer';
import { Readable } from 'node:stream';
import { CsvError, parse, type Info } from 'csv-parse';
import { isRtSmsError, normalizeMsisdn } from 'nestjs-rt-sms';

export const CSV_PROBLEMS = ['empty', 'not_text', 'no_separator', 'no_columns', 'quote', 'too_many_rows'] as const;
export type CsvProblem = (typeof CSV_PROBLEMS)[number];

/** A file that cannot be read; `row` is its row as a spreadsheet counts them, 1 first. */
export class UnreadableCsv extends Error {
  constructor(
    readonly problem: CsvProblem,
    message: string,
    readonly row?: number,
  ) {
    super(row === undefined ? message : `Row ${row}: ${message}`);
  }
}

/** A row as it is in the file. */
export interface CsvRow {
  row: number;
  msisdn: string;
  text: string;
  shortcode?: string;
  /** It has not as many cells as the first row. */
  columns?: { found: number; expected: number };
}

/** A file of messages: its bytes as UTF-8, and how it is written. */
export interface Csv {
  utf8: Buffer;
  encoding: 'utf-8' | 'utf-16le' | 'windows-1251';
  delimiter: string;
}

const MAX_ROWS = 200_000;
const CHUNK_BYTES = 65_536;
const DELIMITERS = new Set([',', ';', '\t']);
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const UTF16_BOM = Buffer.from([0xff, 0xfe]);
/** Excel's workbook is a ZIP archive. */
const ZIP = Buffer.from('PK\x03\x04');

const NAMES: Readonly<Record<'msisdn' | 'text' | 'shortcode', readonly string[]>> = {
  msisdn: ['msisdn', 'phone', 'phone number', 'number', 'tel', 'телефон', 'номер', 'номер телефона'],
  text: ['text', 'message', 'sms', 'текст', 'сообщение', 'смс'],
  shortcode: ['shortcode', 'sender', 'from', 'отправитель', 'имя отправителя'],
};

/**
 * Finds out how a file is written: UTF-8 (with or without a byte order mark), UTF-16 with one, else Windows-1251; the
 * separator is the first comma, semicolon or tab outside of quotes, for neither a number nor a column's name holds one.
 * @throws UnreadableCsv
 */
export function openCsv(bytes: Buffer): Csv {
  if (bytes.subarray(0, 4).equals(ZIP))
    throw new UnreadableCsv('not_text', 'this is an Excel workbook; save it as CSV');
  let utf8 = bytes;
  let encoding: Csv['encoding'] = 'utf-8';
  if (bytes.subarray(0, 2).equals(UTF16_BOM)) encoding = 'utf-16le';
  else if (!isUtf8(bytes)) encoding = 'windows-1251';
  if (encoding !== 'utf-8') utf8 = Buffer.from(new TextDecoder(encoding).decode(bytes));
  if (utf8.subarray(0, 3).equals(BOM)) utf8 = utf8.subarray(3);
  if (utf8.subarray(0, CHUNK_BYTES).includes(0)) throw new UnreadableCsv('not_text', 'this is no text file');
  return { utf8, encoding, delimiter: delimiterOf(utf8) };
}

function delimiterOf(utf8: Buffer): string {
  let quoted = false;
  let blank = true;
  let row = 1;
  for (const byte of utf8) {
    const character = String.fromCharCode(byte);
    if (character === '"') quoted = !quoted;
    if (quoted) continue;
    if (DELIMITERS.has(character)) return character;
    if (character !== '\n') blank &&= character.trim() === '';
    else if (blank) row++;
    else break;
  }
  if (blank) throw new UnreadableCsv('empty', 'there is nothing in this file');
  throw new UnreadableCsv('no_separator', 'no comma, semicolon or tab parts a number from a text', row);
}

/**
 * The rows of a file one after the other, empty ones left out. A first row without a phone number names the columns, in any
 * order; without such a one they are number, text and, perhaps, sender.
 * @throws UnreadableCsv
 */
export async function* rowsOf({ utf8, delimiter }: Csv): AsyncIterable<CsvRow> {
  const chunks = function* () {
    for (let at = 0; at < utf8.length; at += CHUNK_BYTES) yield utf8.subarray(at, at + CHUNK_BYTES);
  };
  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    info: true,
    // A text may have quotes in it, though it should be in quotes itself then.
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: true,
  });
  let columns: Columns | undefined;
  let found = 0;
  try {
    for await (const { record, info } of Readable.from(chunks()).pipe(parser) as AsyncIterable<{
      record: string[];
      info: Info;
    }>) {
      const row = info.records + info.empty_lines;
      if (record.every((cell) => cell.trim() === '')) continue;
      if (!columns) {
        columns = columnsOf(record, row);
        if (columns.named) continue;
      }
      if (++found > MAX_ROWS) throw new UnreadableCsv('too_many_rows', `at most ${MAX_ROWS} messages are taken`, row);
      const { msisdn, text, shortcode, count } = columns;
      const sender = shortcode === undefined ? '' : (record[shortcode] ?? '').trim();
      yield {
        row,
        msisdn: (record[msisdn] ?? '').trim(),
        text: record[text] ?? '',
        ...(sender !== '' && { shortcode: sender }),
        ...(record.length !== count && { columns: { found: record.length, expected: count } }),
      };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const row = Number(error.records ?? 0) + Number(error.empty_lines ?? 0) + 1;
    throw new UnreadableCsv('quote', 'a quote (") is opened and never closed, or not where it may be', row);
  }
  if (found === 0) throw new UnreadableCsv('empty', 'there are no messages in this file');
}

interface Columns {
  named: boolean;
  count: number;
  msisdn: number;
  text: number;
  shortcode: number | undefined;
}

function columnsOf(record: readonly string[], row: number): Columns {
  const count = record.length;
  if (record.some(isNumber)) return { named: false, count, msisdn: 0, text: 1, shortcode: count > 2 ? 2 : undefined };
  const names = record.map((cell) => cell.trim().toLowerCase());
  const at = (field: keyof typeof NAMES) => names.findIndex((name) => NAMES[field].includes(name));
  const [msisdn, text, shortcode] = [at('msisdn'), at('text'), at('shortcode')];
  if (msisdn < 0 || text < 0) {
    throw new UnreadableCsv(
      'no_columns',
      'this is neither a number and a text, nor the names of two such columns (msisdn and text, телефон and текст)',
      row,
    );
  }
  return { named: true, count, msisdn, text, shortcode: shortcode < 0 ? undefined : shortcode };
}

function isNumber(cell: string): boolean {
  try {
    normalizeMsisdn(cell);
    return true;
  } catch (error) {
    if (isRtSmsError(error)) return false;
    throw error;
  }
}
