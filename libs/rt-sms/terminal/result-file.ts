import { ftruncateSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { fileProblem, UsageError } from './answer.js';
import { chunksOf } from './message-file.js';

const HEADER = 'row,msisdn,outcome,uid,error\n';
const LINE = /^(\d+),([\d*]+),(sending|sent|rejected|not_sent|unknown),[^,]*,[^,]*$/;

/**
 * What became of each row, for people and for the next run. A row is written as `sending` before its request may leave, so
 * that one whose end was not written down is known to be unknown. The last line of a row counts.
 */
export class ResultFile {
  /** Open for writing since `begin`. */
  private file: FileHandle | undefined;

  private constructor(
    private readonly path: string,
    /** Of earlier runs, by row: the masked number and the outcome, with a comma between. */
    private readonly known: ReadonlyMap<number, string>,
    /** Bytes of whole lines. */
    private size: number,
    private readonly locked: boolean,
  ) {}

  /**
   * Reads what earlier runs have left, and reserves the file for this process; nothing is created or changed before `begin`.
   * @throws UsageError if it is not a result file, or another process has it
   */
  static async open(path: string): Promise<ResultFile> {
    lock(path);
    try {
      return await ResultFile.read(path, true);
    } catch (error) {
      unlock(path);
      throw error;
    }
  }

  /**
   * Reads what earlier runs have left, and leaves the file to them.
   * @throws UsageError if it is not a result file
   */
  static async read(path: string, locked = false): Promise<ResultFile> {
    try {
      const { known, size } = await readLines(path);
      return new ResultFile(path, known, size, locked);
    } catch (error) {
      throw new UsageError(`${path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  /** Creates the file, or cuts off an incomplete last line that a sudden end has left: its request did not leave. */
  async begin(): Promise<void> {
    try {
      this.file = await open(this.path, 'a+');
      await this.file.truncate(this.size);
      if (this.size > 0) return;
      writeSync(this.file.fd, HEADER);
      this.size = HEADER.length;
    } catch (error) {
      throw new UsageError(`${this.path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  /** The highest row of earlier runs. */
  get last(): number {
    let last = 0;
    for (const row of this.known.keys()) last = Math.max(last, row);
    return last;
  }

  /**
   * What became of the row in earlier runs, as far as it matters: it was sent, or nobody can know.
   * @throws UsageError if that was another number's
   */
  outcomeOf(row: number, masked: string): 'sent' | 'unknown' | undefined {
    const [msisdn, outcome] = this.known.get(row)?.split(',') ?? [];
    if (outcome === undefined || outcome === 'rejected' || outcome === 'not_sent') return undefined;
    if (msisdn !== masked) throw this.stranger(`row ${row} is ${masked || 'no number'}, and was ${msisdn}`);
    return outcome === 'sent' ? outcome : 'unknown';
  }

  stranger(why: string): UsageError {
    return new UsageError(`${this.path} is about other rows than these: ${why}. Name another file with --results`);
  }

  /** Resolves once what was written is on the disk. */
  async flush(): Promise<void> {
    await this.file?.datasync();
  }

  write(row: number, masked: string, outcome: string, uid = '', error = ''): void {
    const line = `${row},${masked},${outcome},${uid},${error.replace(/[^\w.-]/g, '_')}\n`;
    const { fd } = this.file!;
    try {
      if (writeSync(fd, line) < line.length) throw new Error(`${this.path} takes no more: is the disk full?`);
      this.size += line.length;
    } catch (error) {
      // A part of a line would spoil the next one.
      ftruncateSync(fd, this.size);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.flush();
    await this.file?.close();
    if (this.locked) unlock(this.path);
  }
}

/** What stands in the whole lines of a file, and how many bytes they have; nothing if there is no file. */
async function readLines(path: string): Promise<{ known: Map<number, string>; size: number }> {
  const known = new Map<number, string>();
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { known, size: 0 };
  }
  // The same few masks again and again, as one string each.
  const strings = new Map<string, string>();
  let rest = '';
  let line = 0;
  let size = 0;
  try {
    for await (const chunk of chunksOf(file)) {
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) {
        const [, row, masked, outcome] = LINE.exec(text) ?? [];
        if (++line === 1 ? `${text}\n` !== HEADER : row === undefined)
          throw new Error(`line ${line} is not one of a result file; the file is left as it is`);
        size += text.length + 1;
        if (row === undefined) continue;
        const value = `${masked},${outcome}`;
        if (!strings.has(value)) strings.set(value, value);
        known.set(Number(row), strings.get(value)!);
      }
    }
  } finally {
    await file.close();
  }
  if (line === 0 && !HEADER.startsWith(rest)) throw new Error('it is not a result file; it is left as it is');
  return { known, size };
}

/** Two runs at once would send everything twice. */
function lock(path: string): void {
  const file = `${path}.lock`;
  for (;;) {
    try {
      return writeFileSync(file, String(process.pid), { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new UsageError((error as Error).message);
    }
    const pid = Number(readFileSync(file, 'utf8'));
    if (pid !== process.pid && isAlive(pid))
      throw new UsageError(`${path} is in use by process ${pid}; if that is something else, delete ${file}`);
    rmSync(file);
  }
}

const unlock = (path: string) => rmSync(`${path}.lock`, { force: true });

function isAlive(pid: number): boolean {
  try {
    // Of an empty file 0, this process's own group: it is being written.
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
