import { pipeline } from 'node:stream';
import { validateSync } from 'class-validator';
import { CsvError, parse } from 'csv-parse';
import { countryOf, parseMsisdn } from '../message/msisdn.js';
import { SmsMessageDto, type SmsMessage } from '../message/sms-message.js';
import { decodedText, examineCsv, MAX_ROW, type CsvFormat, type MessageFileSource } from './csv-format.js';
import { MessageFileError } from './message-file-error.js';

/** Problem of one row. */
export interface MessageRowProblem {
  /** Invalid cell, or `columns` if the row has too many cells. */
  readonly field: 'columns' | 'msisdn' | 'text' | 'shortcode';
  /** Phrase that continues a sentence starting with the field's name. It contains no text and not the full number. */
  readonly message: string;
}

/** One row of a file. Empty rows are skipped. */
export interface MessageRow {
  /** Number of the row, from 1, as a spreadsheet counts: with the header and empty rows, without a first line `sep=;`. */
  readonly row: number;
  /** Message as it is in the file, without the characters that mark a spreadsheet cell as text. */
  readonly message: SmsMessage;
  /** Recipient as it is sent, digits only; empty if the number is invalid. */
  readonly msisdn: string;
  /** ISO 3166 code of the number's country, if it has one. */
  readonly country?: string;
  /** Problems of the row; empty if the message can be sent. */
  readonly problems: readonly MessageRowProblem[];
}

/** Options for reading a file of messages. */
export interface MessageFileOptions {
  /** Encoding of the file, a label that `TextDecoder` accepts. @default detected: UTF-8, UTF-16 or Windows-1251 */
  encoding?: string | undefined;
  /** Sender name of rows without one. @default the sender name of the account */
  shortcode?: string | undefined;
  /**
   * Maximum number of messages, for programs that keep all of them in memory. A larger file is rejected. @default no limit
   */
  maxRows?: number | undefined;
}

type Column = keyof typeof HEADINGS;
/** Index of each column, and the number of cells in a row. */
type Layout = Readonly<Record<Column, number>> & { readonly width: number };

const HEADINGS = {
  msisdn: /^(msisdn|phone|phone number|number|tel|телефон|номер|номер телефона)$/i,
  text: /^(text|message|sms|текст|сообщение|смс)$/i,
  shortcode: /^(shortcode|sender|from|отправитель|имя отправителя)$/i,
};
const NO_HEADINGS: Layout = { msisdn: 0, text: 1, shortcode: -1, width: 2 };
/** True for a cell that is a number and not a heading: after punctuation it starts with a digit. */
const STARTS_WITH_DIGIT = /^[^\p{L}\p{N}]*\p{Nd}/u;
/** `="79270000001"`: a formula that prevents a spreadsheet from reading a text as a number. */
const TEXT_FORMULA = /^\s*="((?:[^"]|"")*)"\s*$/;
/** Errors that a spreadsheet shows in place of a text that it reads as a formula, such as `-50% today`. */
const SPREADSHEET_ERROR =
  /^#(?:NAME\?|REF!|VALUE!|N\/A|DIV\/0!|NUM!|NULL!|SPILL!|CALC!|ИМЯ\?|ССЫЛКА!|ЗНАЧ!|Н\/Д|ДЕЛ\/0!|ЧИСЛО!|ПУСТО!)$/;

/**
 * A CSV file of messages in the format of `npx nestjs-rt-sms bulk`: cells separated by commas, semicolons or tabs, empty rows
 * allowed, additions of spreadsheets (`sep=;`, `="…"`, `'…`) removed. The file is read row by row in constant memory, and can
 * be read several times.
 */
export class MessageFile {
  /** Encoding in which the file is read. */
  readonly encoding: string;
  /** Separator of the cells. */
  readonly delimiter: string;

  private constructor(
    private readonly source: MessageFileSource,
    private readonly format: CsvFormat,
    private readonly options: MessageFileOptions,
  ) {
    this.encoding = format.encoding;
    this.delimiter = format.delimiter;
  }

  /**
   * Reads a file once to detect its format. `source` returns the bytes from the beginning each time it is called:
   * `() => createReadStream(path)` or `() => [buffer]`.
   * @throws {MessageFileError} if the file is not a text, is empty, or has no separator
   * @throws {RangeError} if the encoding does not exist
   */
  static async open(source: MessageFileSource, options: MessageFileOptions = {}): Promise<MessageFile> {
    return new this(source, await examineCsv(source, options.encoding), options);
  }

  /**
   * Reads the rows one after the other, without headings and empty rows. The first row either names the columns, in any order,
   * or is a number and a text.
   * @throws {MessageFileError} if the columns cannot be identified, a quote is not closed, or there are no or too many messages
   */
  async *rows(): AsyncGenerator<MessageRow> {
    const { delimiter, format } = this;
    const { maxRows = Infinity } = this.options;
    const records = parse({
      delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true,
      relax_quotes: true,
      max_record_size: MAX_ROW,
    });
    pipeline(decodedText(this.source, this.encoding), records, () => undefined);
    let row = format.hasSeparatorLine ? -1 : 0;
    let layout: Layout | undefined;
    let messages = 0;
    try {
      for await (const record of records as AsyncIterable<string[]>) {
        if (++row === 0) continue;
        const cells = record.map(withoutFormula);
        while (cells.at(-1)?.trim() === '') cells.pop();
        if (cells.length === 0) continue;
        if (!layout) {
          const headings = headingsIn(cells, row);
          layout = headings ?? NO_HEADINGS;
          if (headings) continue;
        }
        if (++messages > maxRows)
          throw new MessageFileError('too_many_rows', `at most ${maxRows} messages are accepted; split the file`, row);
        yield this.read(row, cells, layout);
      }
    } catch (error) {
      if (!(error instanceof CsvError)) throw error;
      // The parser runs ahead and drops rows that were not read here, so its count is used.
      const before = Number(error.records) - (format.hasSeparatorLine ? 1 : 0);
      throw new MessageFileError('quote', 'a quote (") is opened and never closed', before + 1);
    }
    if (messages === 0) throw new MessageFileError('empty', 'there are no messages in this file');
  }

  private read(row: number, cells: readonly string[], layout: Layout): MessageRow {
    const cell = (at: number) => cells[at] ?? '';
    const shortcode = cell(layout.shortcode).trim() || this.options.shortcode;
    const message: SmsMessage = {
      // A leading apostrophe marks a spreadsheet cell as text.
      msisdn: cell(layout.msisdn).replace(/^\s*'/, ''),
      text: cell(layout.text),
      ...(shortcode === undefined ? {} : { shortcode }),
    };
    const problems: MessageRowProblem[] = [];
    // A text that was split at a delimiter inside it must not be sent.
    if (cells.length > layout.width) {
      const why = `a text with ${this.delimiter === '\t' ? 'a tab' : this.delimiter} in it needs quotes`;
      problems.push({ field: 'columns', message: `has ${cells.length} cells, not ${layout.width}: ${why}` });
    }
    const number = parseMsisdn(message.msisdn);
    if ('problem' in number) problems.push({ field: 'msisdn', message: number.problem });
    for (const { property, constraints } of validateSync(Object.assign(new SmsMessageDto(), message))) {
      if (property !== 'text' && property !== 'shortcode') continue;
      const [what = 'is invalid'] = Object.values(constraints ?? {});
      problems.push({ field: property, message: what.replace(`${property} `, '') });
    }
    if (SPREADSHEET_ERROR.test(message.text.trim()))
      problems.push({ field: 'text', message: 'is a spreadsheet error: correct the cell and save the file again' });
    if ('problem' in number) return { row, message, msisdn: '', problems };
    const country = countryOf(number.msisdn);
    return { row, message, msisdn: number.msisdn, ...(country === undefined ? {} : { country }), problems };
  }
}

const withoutFormula = (cell: string) => TEXT_FORMULA.exec(cell)?.[1]?.replaceAll('""', '"') ?? cell;

/** Reads the headings; `undefined` if the row is a message. */
function headingsIn(cells: readonly string[], row: number): Layout | undefined {
  const names = cells.map((cell) => cell.replace(/\p{Cf}/gu, '').trim());
  const columns = (column: Column) => [...names.keys()].filter((at) => HEADINGS[column].test(names[at]!));
  const found = { msisdn: columns('msisdn'), text: columns('text'), shortcode: columns('shortcode') };
  const twice = Object.values(found).find((places) => places.length > 1);
  if (twice && found.text.length > 0) {
    const both = twice.map((at) => names[at]).join(' and ');
    throw new MessageFileError('no_columns', `the columns ${both} have the same meaning; rename all but one`, row);
  }
  const at = (column: Column) => found[column][0] ?? -1;
  const layout = { msisdn: at('msisdn'), text: at('text'), shortcode: at('shortcode'), width: cells.length };
  if (layout.msisdn >= 0 && layout.text >= 0) return layout;
  if (STARTS_WITH_DIGIT.test(cells[0]!)) return undefined;
  const accepted = 'a number and a text, or the names of such columns (msisdn and text, телефон and текст)';
  throw new MessageFileError('no_columns', `this row must contain ${accepted}`, row);
}
