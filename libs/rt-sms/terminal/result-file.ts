import { ftruncateSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { fileProblem, UsageError } from './answer.js';
import { chunksOf } from './message-file.js';

const HEADER = 'row,msisdn,outcome,uid,error\n';
const LINE = /^(\d+),([\d*]+),(sending|sent|rejected|not_sent|unknown),[^,]*,[^,]*$/;

/**
 * The outcome of each row, for people and for the next run. A row is written as `sending` before its request may leave; if
 * its outcome is then missing, the next run takes it for unknown. The last line of a row counts.
 */
export class ResultFile {
  /** The file, open for writing after `begin`. */
  private file: FileHandle | undefined;

  private constructor(
    private readonly path: string,
    /** Masked number and outcome of each row in earlier runs, joined by a comma. */
    private readonly earlier: ReadonlyMap<number, string>,
    /** Number of bytes in complete lines. */
    private size: number,
    private readonly locked: boolean,
  ) {}

  /**
   * Reads the results of earlier runs and locks the file for this process. The file is not created or changed before `begin`.
   * @throws UsageError if it is not a result file, or another process holds its lock
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
   * Reads the results of earlier runs without locking the file.
   * @throws UsageError if it is not a result file
   */
  static async read(path: string, locked = false): Promise<ResultFile> {
    try {
      const { earlier, size } = await readLines(path);
      return new ResultFile(path, earlier, size, locked);
    } catch (error) {
      throw new UsageError(`${path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  /** Creates the file, or removes an incomplete last line that a crash has left: its request did not leave. */
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
    for (const row of this.earlier.keys()) last = Math.max(last, row);
    return last;
  }

  /**
   * Outcome of the row in earlier runs, `undefined` if the row can be sent again.
   * @throws UsageError if the row had another number then
   */
  outcomeOf(row: number, masked: string): 'sent' | 'unknown' | undefined {
    const [msisdn, outcome] = this.earlier.get(row)?.split(',') ?? [];
    if (outcome === undefined || outcome === 'rejected' || outcome === 'not_sent') return undefined;
    if (msisdn !== masked) throw this.mismatch(`row ${row} is ${masked || 'no number'}, and was ${msisdn}`);
    return outcome === 'sent' ? outcome : 'unknown';
  }

  mismatch(why: string): UsageError {
    return new UsageError(`${this.path} belongs to other rows: ${why}. Name another file with --results`);
  }

  /** Resolves after all writes have reached the disk. */
  async flush(): Promise<void> {
    await this.file?.datasync();
  }

  write(row: number, masked: string, outcome: string, uid = '', error = ''): void {
    const line = `${row},${masked},${outcome},${uid},${error.replace(/[^\w.-]/g, '_')}\n`;
    const { fd } = this.file!;
    try {
      if (writeSync(fd, line) < line.length) throw new Error(`${this.path} cannot be written to: is the disk full?`);
      this.size += line.length;
    } catch (error) {
      // A partial line would corrupt the next one.
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

/** Reads the complete lines of a file and their size in bytes; a missing file is empty. */
async function readLines(path: string): Promise<{ earlier: Map<number, string>; size: number }> {
  const earlier = new Map<number, string>();
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { earlier, size: 0 };
  }
  // Most values occur many times; each of them is kept as one string.
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
          throw new Error(`line ${line} is not one of a result file; the file was not changed`);
        size += text.length + 1;
        if (row === undefined) continue;
        const value = `${masked},${outcome}`;
        if (!strings.has(value)) strings.set(value, value);
        earlier.set(Number(row), strings.get(value)!);
      }
    }
  } finally {
    await file.close();
  }
  if (line === 0 && !HEADER.startsWith(rest)) throw new Error('it is not a result file; it was not changed');
  return { earlier, size };
}

/** Locks the file, because two runs at once would send all rows twice. */
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
      throw new UsageError(`${path} is in use by process ${pid}; if that is another program, delete ${file}`);
    rmSync(file);
  }
}

const unlock = (path: string) => rmSync(`${path}.lock`, { force: true });

function isAlive(pid: number): boolean {
  try {
    // An empty lock file, which another process is writing, gives pid 0: this process's group, which is alive.
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
