import { randomUUID } from 'node:crypto';
import { validateSync } from 'class-validator';
import { countSegments, normalizeMsisdn, RtSmsValidationError, SmsMessageDto, type SmsMessage } from 'nestjs-rt-sms';
import { Subject } from 'rxjs';
import type { Message, MessageStatus } from '../messages/message.dto.js';
import { rowsOf, type Csv, type CsvRow } from './csv.js';

export const BULK_STATES = ['ready', 'sending', 'stopped', 'done'] as const;
export type BulkState = (typeof BULK_STATES)[number];
/** Of a row: not sent yet, cannot be sent, or where its message is. */
export type RowStatus = 'ready' | 'wrong' | MessageStatus;

/** A row of the file, and what became of it; the text is in the file and in the journal. */
export interface BulkRow {
  row: number;
  msisdn: string;
  status: RowStatus;
  uid?: string;
  errorCode?: string;
  error?: Message['error'];
  /** Why it is `wrong`. */
  problem?: { field: 'columns' | 'msisdn' | 'text' | 'shortcode'; message: string };
}

/** What a page shows before anything is sent. */
export interface BulkAbout {
  id: string;
  encoding: Csv['encoding'];
  delimiter: string;
  segments: number;
  /** The first messages as they were read. */
  first: CsvRow[];
}

export interface BulkProgress {
  id: string;
  state: BulkState;
  rows: number;
  counts: Partial<Record<RowStatus, number>>;
  /** Why it was stopped before its end. */
  error?: { code?: string; message: string };
}

const SHOWN_FIRST = 5;

/** One file of messages: checked as a whole before the first is sent, then sent row by row. */
export class Bulk {
  readonly id = randomUUID();
  state: BulkState = 'ready';
  error: BulkProgress['error'];
  readonly rows: BulkRow[] = [];
  readonly changes$ = new Subject<void>();
  readonly first: CsvRow[] = [];
  private segments = 0;
  private readonly counts = new Map<RowStatus, number>();
  private readonly ending = new AbortController();

  private constructor(
    private readonly csv: Csv,
    private readonly shortcode: string | undefined,
  ) {}

  /**
   * Reads and checks every row; `shortcode` is the sender of rows without one.
   * @throws UnreadableCsv
   */
  static async check(csv: Csv, shortcode: string | undefined): Promise<Bulk> {
    const bulk = new Bulk(csv, shortcode);
    for await (const row of rowsOf(csv)) bulk.checkRow(row);
    return bulk;
  }

  get about(): BulkAbout {
    const { id, segments, first } = this;
    return { id, encoding: this.csv.encoding, delimiter: this.csv.delimiter, segments, first };
  }

  get progress(): BulkProgress {
    const { id, state, error } = this;
    return { id, state, rows: this.rows.length, counts: Object.fromEntries(this.counts), ...(error && { error }) };
  }

  get signal(): AbortSignal {
    return this.ending.signal;
  }

  /** Nothing more is begun. */
  stop(): void {
    this.ending.abort();
  }

  become(state: BulkState, error?: BulkProgress['error']): void {
    this.state = state;
    this.error = error;
    this.changes$.next();
  }

  /** What can be sent, read from the file once more; `next` is told of the row that is about to go. */
  async *messages(next: (row: BulkRow) => void): AsyncIterable<SmsMessage> {
    let index = 0;
    for await (const row of rowsOf(this.csv)) {
      if (this.signal.aborted) return;
      const result = this.rows[index++]!;
      if (result.status !== 'ready') continue;
      next(result);
      yield this.messageOf(row);
    }
  }

  change(
    row: BulkRow,
    { status, uid, errorCode, error }: Pick<BulkRow, 'status' | 'uid' | 'errorCode' | 'error'>,
  ): void {
    this.count(row.status, -1);
    this.count(status, 1);
    Object.assign(row, { status, ...(uid && { uid }), ...(errorCode && { errorCode }), ...(error && { error }) });
    this.changes$.next();
  }

  private checkRow(row: CsvRow): void {
    const problem = problemOf(row, this.messageOf(row));
    const status = problem ? 'wrong' : 'ready';
    const msisdn =
      problem?.field === 'msisdn' || problem?.field === 'columns' ? row.msisdn : normalizeMsisdn(row.msisdn);
    this.rows.push({ row: row.row, msisdn: msisdn.slice(0, 40), status, ...(problem && { problem }) });
    this.count(status, 1);
    if (problem) return;
    this.segments += countSegments(row.text).segments;
    if (this.first.length < SHOWN_FIRST) this.first.push({ ...row, msisdn });
  }

  private messageOf({ msisdn, text, shortcode = this.shortcode }: CsvRow): SmsMessage {
    return { msisdn, text, ...(shortcode !== undefined && { shortcode }) };
  }

  private count(status: RowStatus, change: number): void {
    this.counts.set(status, (this.counts.get(status) ?? 0) + change);
  }
}

function problemOf({ columns }: CsvRow, message: SmsMessage): BulkRow['problem'] {
  if (columns) {
    const { found, expected } = columns;
    const advice = 'put a text that holds the separator or a line break in quotes';
    return { field: 'columns', message: `has ${found} cells where the first row has ${expected}; ${advice}` };
  }
  try {
    normalizeMsisdn(message.msisdn);
  } catch (error) {
    if (!(error instanceof RtSmsValidationError)) throw error;
    return { field: 'msisdn', message: error.problems[0]!.replace('msisdn ', '') };
  }
  const [error] = validateSync(Object.assign(new SmsMessageDto(), message));
  if (!error) return undefined;
  const [what = 'is wrong'] = Object.values(error.constraints ?? {});
  return { field: error.property as 'text' | 'shortcode', message: what.replace(`${error.property} `, '') };
}
