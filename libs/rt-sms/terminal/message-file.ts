import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { validateSync } from 'class-validator';
import { CsvError, parse } from 'csv-parse';
import {
  isRtSmsError,
  normalizeMsisdn,
  SmsMessageDto,
  type RtSmsValidationError,
  type SmsMessage,
} from 'nestjs-rt-sms';
import { fileProblem, UsageError } from './answer.js';

/** A row that is not empty. */
export interface Row {
  /** From 1, as a spreadsheet counts: the header and empty rows too. */
  readonly row: number;
  readonly message: SmsMessage;
  /** As it will be sent; empty if it is wrong. */
  readonly msisdn: string;
  readonly problems: readonly string[];
}

/** Where a row has what, and how many cells. */
interface Layout {
  readonly msisdn: number;
  readonly text: number;
  readonly shortcode: number;
  readonly width: number;
}

const NAMES = {
  msisdn: /^(msisdn|phone|number|телефон|номер)$/i,
  text: /^(text|message|текст|сообщение)$/i,
  shortcode: /^(shortcode|sender|отправитель|имя отправителя)$/i,
};
const NO_HEADER: Layout = { msisdn: 0, text: 1, shortcode: -1, width: 2 };
/** Characters: more than any message has. What an open quote swallows is not kept in memory. */
const MAX_ROW = 100_000;
const CHUNK = 65_536;

/** A CSV file of messages, read row by row as often as one likes. What takes its name meanwhile changes nothing. */
export class MessageFile {
  private constructor(
    private readonly file: FileHandle,
    readonly encoding: string,
    private readonly delimiter: string,
    /** For rows that name no sender. */
    private readonly shortcode: string | undefined,
  ) {}

  /** @throws UsageError where it cannot be read, or is no text */
  static async open(path: string, encoding?: string, shortcode?: string): Promise<MessageFile> {
    let file: FileHandle | undefined;
    try {
      file = await open(path);
      const found = await examine(file, encoding);
      return new MessageFile(file, found.encoding, found.delimiter, shortcode);
    } catch (error) {
      await file?.close();
      throw new UsageError(`${path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  /** @throws UsageError where a quote is not closed */
  async *rows(): AsyncGenerator<Row> {
    const records = parse({
      delimiter: this.delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true,
      relax_quotes: true,
      max_record_size: MAX_ROW,
    });
    pipeline(decoded(this.file, this.encoding), records, () => undefined);
    let row = 0;
    let layout: Layout | undefined;
    try {
      for await (const cells of records as AsyncIterable<string[]>) {
        row++;
        while (cells.at(-1)?.trim() === '') cells.pop();
        if (cells.length === 0) continue;
        const header = layout ? undefined : headerIn(cells);
        layout ??= header ?? NO_HEADER;
        if (!header) yield this.read(row, cells, layout);
      }
    } catch (error) {
      if (!(error instanceof CsvError)) throw error;
      throw new UsageError(`after row ${row}: a quote is not closed (${error.code})`, { cause: error });
    }
  }

  close(): Promise<void> {
    return this.file.close();
  }

  private read(row: number, cells: readonly string[], layout: Layout): Row {
    const cell = (at: number) => cells[at] ?? '';
    const shortcode = cell(layout.shortcode).trim() || this.shortcode;
    const message = {
      msisdn: cell(layout.msisdn),
      text: cell(layout.text),
      ...(shortcode === undefined ? {} : { shortcode }),
    };
    const problems: string[] = [];
    // A text that has lost its end to a delimiter of its own must not go out.
    if (cells.length > layout.width)
      problems.push(`has ${cells.length} cells, not ${layout.width}: a text with ${this.delimiter} in it needs quotes`);
    let msisdn = '';
    try {
      msisdn = normalizeMsisdn(message.msisdn);
    } catch (error) {
      if (!isRtSmsError(error)) throw error;
      problems.push(...(error as RtSmsValidationError).problems);
    }
    for (const { property, constraints } of validateSync(Object.assign(new SmsMessageDto(), message)))
      if (property !== 'msisdn') problems.push(...Object.values(constraints ?? {}));
    if (shortcode === undefined)
      problems.push('shortcode is missing: --shortcode, RT_SMS_SHORTCODE, or a column of it');
    return { row, message, msisdn, problems };
  }
}

function headerIn(cells: readonly string[]): Layout | undefined {
  const at = (column: keyof typeof NAMES) => cells.findIndex((cell) => NAMES[column].test(cell.trim()));
  const layout = { msisdn: at('msisdn'), text: at('text'), shortcode: at('shortcode'), width: cells.length };
  return layout.msisdn < 0 || layout.text < 0 ? undefined : layout;
}

/** From the beginning to the end. A stream would close the file with itself. */
export async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let at = 0; ;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function* decoded(file: FileHandle, encoding: string): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding);
  for await (const chunk of chunksOf(file)) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

/** Which encoding and which delimiter; the whole file is looked through for what is no UTF-8. */
async function examine(file: FileHandle, wanted?: string): Promise<{ encoding: string; delimiter: string }> {
  const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
  const utf16 = buffer.readUInt16BE() === 0xfffe;
  let encoding = wanted ?? (utf16 ? 'utf-16le' : 'utf-8');
  let wrong = 0;
  let right = 0;
  for await (const text of decoded(file, encoding)) {
    if (text.includes('\0')) throw new Error('this is no text; save it as CSV');
    wrong += text.match(/\uFFFD/g)?.length ?? 0;
    right += text.match(/[\u0080-\uFFFC]/g)?.length ?? 0;
  }
  if (wrong > right && encoding === 'utf-8' && wanted === undefined) encoding = 'windows-1251';
  // Read as windows-1251, a damaged UTF-8 text would go out as letter salad.
  else if (wrong > 0)
    throw new Error(`${wrong} characters are no ${encoding}; mend them, or give the right --encoding`);
  let head = '';
  for await (const text of decoded(file, encoding)) if ((head += text).length > MAX_ROW) break;
  // The first one outside of quotes: it stands behind a number or a heading, which have none in them.
  const [, delimiter = ','] = /^(?:"[^"]*"|[^",;\t])*([,;\t])/.exec(head) ?? [];
  return { encoding, delimiter };
}
