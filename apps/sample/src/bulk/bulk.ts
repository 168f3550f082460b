import { randomUUID } from 'node:crypto';
import { countSegments, type SmsMessage } from 'nestjs-rt-sms';
import type { MessageFile, MessageRow, MessageRowProblem } from 'nestjs-rt-sms/message-file';
import { Subject } from 'rxjs';
import type { Message, MessageStatus } from '../messages/message.dto.js';

export const BULK_STATES = ['ready', 'sending', 'stopped', 'done'] as const;
export type BulkState = (typeof BULK_STATES)[number];
/** Status of a row: `ready` to be sent, `wrong` (invalid), or the status of its message. */
export type RowStatus = 'ready' | 'wrong' | MessageStatus;

/** A row of the file with its outcome; the text is in the file and in the journal. */
export interface BulkRow {
  row: number;
  msisdn: string;
  status: RowStatus;
  uid?: string;
  errorCode?: string;
  error?: Message['error'];
  /** Problem of a `wrong` row. */
  problem?: MessageRowProblem;
}

/** Data that the page shows before sending. */
export interface BulkAbout {
  id: string;
  encoding: string;
  delimiter: string;
  segments: number;
  /** The first valid messages as they were read. */
  first: { row: number; msisdn: string; text: string; shortcode?: string }[];
}

export interface BulkProgress {
  id: string;
  state: BulkState;
  rows: number;
  counts: Partial<Record<RowStatus, number>>;
  /** Error that stopped it before its end. */
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
  readonly first: BulkAbout['first'] = [];
  private segments = 0;
  private readonly counts = new Map<RowStatus, number>();
  private readonly ending = new AbortController();

  private constructor(private readonly file: MessageFile) {}

  /**
   * Reads and checks all rows.
   * @throws MessageFileError
   */
  static async check(file: MessageFile): Promise<Bulk> {
    const bulk = new Bulk(file);
    for await (const row of file.rows()) bulk.add(row);
    return bulk;
  }

  get about(): BulkAbout {
    const { id, segments, first } = this;
    return { id, encoding: this.file.encoding, delimiter: this.file.delimiter, segments, first };
  }

  get progress(): BulkProgress {
    const { id, state, error } = this;
    return { id, state, rows: this.rows.length, counts: Object.fromEntries(this.counts), ...(error && { error }) };
  }

  get signal(): AbortSignal {
    return this.ending.signal;
  }

  /** Stops before the next message. */
  stop(): void {
    this.ending.abort();
  }

  become(state: BulkState, error?: BulkProgress['error']): void {
    this.state = state;
    this.error = error;
    this.changes$.next();
  }

  /** Reads the file again and yields the valid messages; calls `next` with the row before each of them. */
  async *messages(next: (row: BulkRow) => void): AsyncIterable<SmsMessage> {
    let index = 0;
    for await (const { message } of this.file.rows()) {
      if (this.signal.aborted) return;
      const result = this.rows[index++]!;
      if (result.status !== 'ready') continue;
      next(result);
      yield message;
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

  private add({ row, message, msisdn, problems: [problem] }: MessageRow): void {
    const status = problem ? 'wrong' : 'ready';
    const shown = (msisdn || String(message.msisdn)).slice(0, 40);
    this.rows.push({ row, msisdn: shown, status, ...(problem && { problem }) });
    this.count(status, 1);
    if (problem) return;
    const { text, shortcode } = message;
    this.segments += countSegments(text).segments;
    if (this.first.length < SHOWN_FIRST) this.first.push({ row, msisdn, text, ...(shortcode && { shortcode }) });
  }

  private count(status: RowStatus, change: number): void {
    this.counts.set(status, (this.counts.get(status) ?? 0) + change);
  }
}
