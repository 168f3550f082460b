import { MessageFileError } from './message-file-error.js';

/** Function that returns the bytes of a file. Each call starts at the beginning of the file. */
export type MessageFileSource = () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Format of a CSV file. */
export interface CsvFormat {
  readonly encoding: string;
  readonly delimiter: string;
  /** True if the first line is `sep=;`, an instruction for Excel that Excel does not show. */
  readonly hasSeparatorLine: boolean;
}

/** Maximum number of characters of a row, more than any message has. It bounds the memory for text after an open quote. */
export const MAX_ROW = 100_000;
/** First bytes of an Excel workbook, which is a ZIP archive. */
const ZIP = 'PK\x03\x04';
const BYTE_ORDER_MARKS: Record<string, string> = { '\xff\xfe': 'utf-16le', '\xfe\xff': 'utf-16be' };
const SEPARATOR_LINE = /^\uFEFF*"?sep=([^"\p{L}\p{N}\s]|\t)"?[,;\t ]*(?:[\r\n]|$)/iu;
const FIRST_LINE = /^\s*((?:"[^"]*"|[^"\r\n])*)/;
const QUOTED = /"[^"]*"/g;
// The comma in 79270000001,00 and 7,927E+10 does not separate cells if another separator or the end of the line follows.
const DECIMAL_COMMA = /\d,\d+(?:(?:[eе][+-]?\d+)?(?=[;\t])|[eе][+-]?\d+$)/giu;

/**
 * Detects the encoding (UTF-8, UTF-16 with a byte order mark, otherwise Windows-1251) and the separator of a file.
 * @throws {MessageFileError} if the file is not a text or has no separator
 */
export async function examineCsv(source: MessageFileSource, requested?: string): Promise<CsvFormat> {
  const start = await startOf(source);
  if (start === ZIP) throw new MessageFileError('not_text', 'this is an Excel workbook; save it as CSV');
  let encoding = requested ?? BYTE_ORDER_MARKS[start.slice(0, 2)] ?? 'utf-8';
  let wrong = 0;
  let right = 0;
  for await (const text of decodedText(source, encoding)) {
    if (text.includes('\0')) throw new MessageFileError('not_text', 'this is not a text file; save it as CSV');
    wrong += text.match(/\uFFFD/g)?.length ?? 0;
    right += text.match(/[\u0080-\uFFFC]/g)?.length ?? 0;
  }
  if (wrong > right && encoding === 'utf-8' && requested === undefined) encoding = 'windows-1251';
  else if (wrong > 0) {
    // Windows-1251 is not tried, because the recipients of a damaged UTF-8 text would receive unreadable messages.
    const fix = 'save the file as UTF-8, or specify its encoding';
    throw new MessageFileError('not_text', `${wrong} characters cannot be read as ${encoding}; ${fix}`);
  }
  let head = '';
  for await (const text of decodedText(source, encoding)) if ((head += text).length > MAX_ROW) break;
  const [, declared] = SEPARATOR_LINE.exec(head) ?? [];
  return { encoding, delimiter: declared ?? delimiterOf(head), hasSeparatorLine: declared !== undefined };
}

/** Decodes a file piece by piece and drops its byte order mark. */
export async function* decodedText(source: MessageFileSource, encoding: string): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding);
  for await (const chunk of source()) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

async function startOf(source: MessageFileSource): Promise<string> {
  let start = '';
  for await (const chunk of source()) {
    start += Buffer.from(chunk.subarray(0, ZIP.length)).toString('latin1');
    if (start.length >= ZIP.length) break;
  }
  return start.slice(0, ZIP.length);
}

/** Finds the first comma, semicolon or tab outside quotes. It follows a number or a heading, which contain none of them. */
function delimiterOf(head: string): string {
  const [before, line = ''] = FIRST_LINE.exec(head) ?? [];
  if (line.trim() === '' && head.trim() === '')
    throw new MessageFileError('empty', 'there are no messages in this file');
  const [delimiter] = /[,;\t]/.exec(line.replace(QUOTED, '').replace(DECIMAL_COMMA, '')) ?? [];
  if (delimiter !== undefined) return delimiter;
  const row = before!.slice(0, before!.length - line.length).split(/\r\n|\r|\n/).length;
  throw new MessageFileError('no_separator', 'no comma, semicolon or tab separates a number from a text', row);
}
