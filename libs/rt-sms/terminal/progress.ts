type Counts = Readonly<Record<string, number>>;

const BAR = 20;
const REDRAWN_MS = 100;

/** Shows progress: a bar on a terminal, otherwise a line for every twentieth. */
export class Progress {
  private readonly began = performance.now();
  private drawnAt = 0;
  private step = 0;

  constructor(
    private readonly total: number,
    title: string,
    private readonly out: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'> = process.stderr,
  ) {
    this.print(title);
  }

  show(counts: Counts): void {
    const now = performance.now();
    const done = Object.values(counts).reduce((sum, count) => sum + count);
    const step = Math.floor((done / this.total) * BAR);
    if (this.out.isTTY ? done < this.total && now - this.drawnAt < REDRAWN_MS : step === this.step) return;
    this.drawnAt = now;
    this.step = step;
    const perSecond = (done * 1_000) / (now - this.began);
    const left = Math.round((this.total - done) / perSecond);
    const line = [
      `[${'#'.repeat(step).padEnd(BAR, '-')}] ${done}/${this.total}`,
      ...Object.entries(counts).flatMap(([name, count]) => (count > 0 ? [`${name.replace('_', ' ')} ${count}`] : [])),
      `${Math.round(perSecond)}/s`,
      ...(left > 0 ? [`${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`] : []),
    ].join('  ');
    this.out.write(this.out.isTTY ? `\r${line.slice(0, this.out.columns - 1)}\x1b[K` : `${line}\n`);
  }

  /** Prints a separate line. */
  print(text: string): void {
    this.end();
    this.out.write(`${text}\n`);
  }

  /** Ends the bar, so that further output starts on a new line. */
  end(): void {
    if (this.out.isTTY && this.drawnAt > 0) this.out.write('\n');
    this.drawnAt = 0;
  }
}

/** `1 row`, `2 rows`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
