/** Why a file as a whole cannot be read. */
export type MessageFileProblem = 'empty' | 'not_text' | 'no_separator' | 'no_columns' | 'quote' | 'too_many_rows';

/** A file of messages cannot be read; nothing of it may be sent. */
export class MessageFileError extends Error {
  /** `MessageFileError`. */
  override readonly name = 'MessageFileError';

  constructor(
    /** Stable, for texts of your own. */
    readonly problem: MessageFileProblem,
    message: string,
    /** The row, from 1, as a spreadsheet counts; missing if it is the file as a whole. */
    readonly row?: number,
  ) {
    super(row === undefined ? message : `Row ${row}: ${message}`);
  }
}
