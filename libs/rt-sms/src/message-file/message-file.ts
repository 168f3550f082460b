import { pipeline } from 'node:stream';
import { validateSync } from 'class-validator';
import { CsvError, parse } from 'csv-parse';
import { countryOf, parseMsisdn } from '../message/msisdn.js';
import { SmsMessageDto, type SmsMessage } from '../message/sms-message.js';
import { decodedText, examineCsv, MAX_ROW, type CsvFormat, type MessageFileSource } from './csv-format.js';
import { MessageFileError } from './message-file-error.js';

/** What is wrong with one row. */
export interface MessageRowProblem {
  /** The cell that is wrong, or `columns` if there are too many. */
  readonly field: 'columns' | 'msisdn' | 'text' | 'shortcode';
  /** A phrase that continues the name of the field, without the text and the full number. */
  readonly message: string;
}

/** One row of a file that is not empty. */
export interface MessageRow {
  /** From 1, as a spreadsheet counts: the header and empty rows too, a first line `sep=;` not. */
  readonly row: number;
  /** As it is in the file, without the signs by which a spreadsheet marks a cell as text. */
  readonly message: SmsMessage;
  /** The number as it will be sent; empty if it is wrong. */
  readonly msisdn: string;
  /** ISO 3166 code of the number's country, if it has one. */
  readonly country?: string;
  /** Empty if the row can be sent. */
  readonly problems: readonly MessageRowProblem[];
}

/** How to read a file of messages. */
export interface MessageFileOptions {
  /** A name that `TextDecoder` knows. @default UTF-8, UTF-16 or Windows-1251, whichever the file is in */
  encoding?: string | undefined;
  /** Sender name of rows that have none. @default none: that of the account */
  shortcode?: string | undefined;
  /** A file with more messages is refused, for programs that keep all of them. @default no limit */
  maxRows?: number | undefined;
}

type Column = keyof typeof HEADINGS;
/** Where a row has what, and how many cells. */
type Layout = Readonly<Record<Column, number>> & { readonly width: number };

const HEADINGS = {
  msisdn: /^(msisdn|phone|phone number|number|tel|телефон|номер|номер телефона)$/i,
  text: /^(text|message|sms|текст|сообщение|смс)$/i,
  shortcode: /^(shortcode|sender|from|отправитель|имя отправителя)$/i,
};
const NO_HEADINGS: Layout = { msisdn: 0, text: 1, shortcode: -1, width: 2 };
/** The first sign that is more than punctuation is a digit: a number, not a heading. */
const STARTS_WITH_DIGIT = /^[^\p{L}\p{N}]*\p{Nd}/u;
/** `="79270000001"`: how a table keeps a spreadsheet from reading a text as a number. */
const TEXT_FORMULA = /^\s*="((?:[^"]|"")*)"\s*$/;
/** What a spreadsheet shows in place of a text that it took for a formula, `-50% today`. */
const SPREADSHEET_ERROR =
  /^#(?:NAME\?|REF!|VALUE!|N\/A|DIV\/0!|NUM!|NULL!|SPILL!|CALC!|ИМЯ\?|ССЫЛКА!|ЗНАЧ!|Н\/Д|ДЕЛ\/0!|ЧИСЛО!|ПУСТО!)$/;

/**
 * A CSV file of messages, as `npx nestjs-rt-sms bulk` reads it: a comma, a semicolon or a tab between the cells, any row
 * empty, what spreadsheets add (`sep=;`, `="…"`, `'…`) understood. Read row by row, as often as needed, in constant memory.
 */
export class MessageFile {
  /** In which encoding it is read. */
  readonly encoding: string;
  /** What separates its cells. */
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
   * Reads a file once, to find out how it is written. `source` gives its bytes from the beginning each time it is called:
   * `() => createReadStream(path)`, or `() => [buffer]`.
   * @throws {MessageFileError} if it is not a text, is empty, or nothing separates its cells
   * @throws {RangeError} if there is no such encoding
   */
  static async open(source: MessageFileSource, options: MessageFileOptions = {}): Promise<MessageFile> {
    return new this(source, await examineCsv(source, options.encoding), options);
  }

  /**
   * The rows one after the other, without the headings and empty ones. The first row names the columns, in any order, or is
   * a number and a text.
   * @throws {MessageFileError} if the columns are not known, a quote is not closed, or there are no rows or too many
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
          throw new MessageFileError('too_many_rows', `at most ${maxRows} messages are taken; split the file`, row);
        yield this.read(row, cells, layout);
      }
    } catch (error) {
      if (!(error instanceof CsvError)) throw error;
      // The parser is ahead of what was read here, and drops it.
      const before = Number(error.records) - (format.hasSeparatorLine ? 1 : 0);
      throw new MessageFileError('quote', 'a quote (") is opened and never closed', before + 1);
    }
    if (messages === 0) throw new MessageFileError('empty', 'there are no messages in this file');
  }

  private read(row: number, cells: readonly string[], layout: Layout): MessageRow {
    const cell = (at: number) => cells[at] ?? '';
    const shortcode = cell(layout.shortcode).trim() || this.options.shortcode;
    const message: SmsMessage = {
      // An apostrophe is a spreadsheet's mark of a text.
      msisdn: cell(layout.msisdn).replace(/^\s*'/, ''),
      text: cell(layout.text),
      ...(shortcode === undefined ? {} : { shortcode }),
    };
    const problems: MessageRowProblem[] = [];
    // A text that is cut at a delimiter of its own must not be sent.
    if (cells.length > layout.width) {
      const why = `a text with ${this.delimiter === '\t' ? 'a tab' : this.delimiter} in it needs quotes`;
      problems.push({ field: 'columns', message: `has ${cells.length} cells, not ${layout.width}: ${why}` });
    }
    const number = parseMsisdn(message.msisdn);
    if ('problem' in number) problems.push({ field: 'msisdn', message: number.problem });
    for (const { property, constraints } of validateSync(Object.assign(new SmsMessageDto(), message))) {
      if (property !== 'text' && property !== 'shortcode') continue;
      const [what = 'is wrong'] = Object.values(constraints ?? {});
      problems.push({ field: property, message: what.replace(`${property} `, '') });
    }
    if (SPREADSHEET_ERROR.test(message.text.trim()))
      problems.push({ field: 'text', message: 'is an error of the spreadsheet: correct the cell and save it again' });
    if ('problem' in number) return { row, message, msisdn: '', problems };
    const country = countryOf(number.msisdn);
    return { row, message, msisdn: number.msisdn, ...(country === undefined ? {} : { country }), problems };
  }
}

const withoutFormula = (cell: string) => TEXT_FORMULA.exec(cell)?.[1]?.replaceAll('""', '"') ?? cell;

/** Where the headings are; `undefined` if the row is a message. */
function headingsIn(cells: readonly string[], row: number): Layout | undefined {
  const names = cells.map((cell) => cell.replace(/\p{Cf}/gu, '').trim());
  const columns = (column: Column) => [...names.keys()].filter((at) => HEADINGS[column].test(names[at]!));
  const found = { msisdn: columns('msisdn'), text: columns('text'), shortcode: columns('shortcode') };
  const twice = Object.values(found).find((places) => places.length > 1);
  if (twice && found.text.length > 0) {
    const both = twice.map((at) => names[at]).join(' and ');
    throw new MessageFileError('no_columns', `the columns ${both} may both be meant; rename all but one`, row);
  }
  const at = (column: Column) => found[column][0] ?? -1;
  const layout = { msisdn: at('msisdn'), text: at('text'), shortcode: at('shortcode'), width: cells.length };
  if (layout.msisdn >= 0 && layout.text >= 0) return layout;
  if (STARTS_WITH_DIGIT.test(cells[0]!)) return undefined;
  const accepted = 'a number and a text, nor the names of two such columns (msisdn and text, телефон and текст)';
  throw new MessageFileError('no_columns', `this is neither ${accepted}`, row);
}
