/** Writes in one batch at most, so that a batch does not block the store for long. */
const MAX_BATCH = 100;
/** Milliseconds after which the next batch no longer waits for the one in flight. */
const SLOW_MS = 5_000;

interface PendingWrite<Step, Done> {
  step: Step;
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/**
 * Combines writes that arrive while another is in flight into one batch. A write that the batch did not do is repeated alone, so
 * that a fault in one does not affect the others.
 */
export class WriteBatcher<Step, Done> {
  private readonly pending: PendingWrite<Step, Done>[] = [];
  private isRunning = false;

  /**
   * @param writeMany does all writes at once; returns `undefined` for each one that it skipped
   * @param writeOne does a single write
   */
  constructor(
    private readonly writeMany: (steps: Step[]) => Promise<(Done | undefined)[]>,
    private readonly writeOne: (step: Step) => Promise<Done>,
  ) {}

  write(step: Step): Promise<Done> {
    return new Promise((resolve, reject) => {
      this.pending.push({ step, resolve, reject });
      if (this.isRunning) return;
      this.isRunning = true;
      // Deferred by one turn of the event loop, because several answers of the gateway may have arrived at once.
      setImmediate(() => void this.run());
    });
  }

  private async run(): Promise<void> {
    while (this.pending.length > 0) {
      let timer: NodeJS.Timeout | undefined;
      const slow = new Promise((resolve) => (timer = setTimeout(resolve, SLOW_MS)));
      await Promise.race([this.runBatch(this.pending.splice(0, MAX_BATCH)), slow]);
      clearTimeout(timer);
    }
    this.isRunning = false;
  }

  private async runBatch(batch: PendingWrite<Step, Done>[]): Promise<void> {
    const done = await this.writeMany(batch.map(({ step }) => step)).catch((): undefined[] => []);
    for (const [index, { step, resolve, reject }] of batch.entries()) {
      const result = done[index];
      if (result === undefined) this.writeOne(step).then(resolve, reject);
      else resolve(result);
    }
  }
}
