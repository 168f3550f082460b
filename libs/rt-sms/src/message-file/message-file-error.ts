/** Reason why a whole file cannot be read. */
export type MessageFileProblem = 'empty' | 'not_text' | 'no_separator' | 'no_columns' | 'quote' | 'too_many_rows';

/** A file of messages cannot be read. None of its messages may be sent. */
export class MessageFileError extends Error {
  /** Name of the class. */
  override readonly name = 'MessageFileError';

  constructor(
    /** Stable code, for your own error texts. */
    readonly problem: MessageFileProblem,
    message: string,
    /** Number of the row, from 1, as a spreadsheet counts; absent if the problem concerns the whole file. */
    readonly row?: number,
  ) {
    super(row === undefined ? message : `Row ${row}: ${message}`);
  }
}
