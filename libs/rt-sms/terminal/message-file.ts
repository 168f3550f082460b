import { open, type FileHandle } from 'node:fs/promises';
import { MessageFile, MessageFileError, type MessageRow } from 'nestjs-rt-sms/message-file';
import { fileProblem, UsageError } from './answer.js';

/** A row with its problems as whole phrases. */
export interface Row extends Omit<MessageRow, 'problems'> {
  readonly problems: readonly string[];
}

const CHUNK = 65_536;

/** An open file of messages. It stays open during the run, so a file that replaces it is not read. */
export class OpenedFile {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly file: MessageFile,
  ) {}

  /** @throws UsageError if the file cannot be read, or is not a file of messages */
  static async open(path: string, encoding?: string, shortcode?: string): Promise<OpenedFile> {
    let handle: FileHandle | undefined;
    try {
      const opened = await open(path);
      handle = opened;
      const file = await MessageFile.open(() => chunksOf(opened), { encoding, shortcode });
      return new OpenedFile(path, handle, file);
    } catch (error) {
      await handle?.close();
      throw new UsageError(`${path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  get encoding(): string {
    return this.file.encoding;
  }

  /** @throws UsageError if the columns are not recognised, a quote is not closed, or the file is empty */
  async *rows(): AsyncGenerator<Row> {
    try {
      for await (const row of this.file.rows()) yield { ...row, problems: problemsOf(row) };
    } catch (error) {
      if (!(error instanceof MessageFileError)) throw error;
      throw new UsageError(`${this.path}: ${error.message}`, { cause: error });
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

function problemsOf({ message, problems }: MessageRow): string[] {
  const phrases = problems.map(({ field, message: what }) => (field === 'columns' ? what : `${field} ${what}`));
  if (message.shortcode === undefined)
    phrases.push('shortcode is missing: set --shortcode or RT_SMS_SHORTCODE, or add a column for it');
  return phrases;
}

/** Reads the whole file. A stream is not used here, because it would close the file at its end. */
export async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let at = 0; ;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
