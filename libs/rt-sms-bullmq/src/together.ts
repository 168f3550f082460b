/** A single write of so many steps does not keep the store from others for long. */
const MOST = 100;
/** Others do not wait longer for a write that has no end. */
const SLOW_MS = 5_000;

interface Asked<Step, Done> {
  step: Step;
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/**
 * Steps that come while others are on their way to the store go there together, as one write. One that nothing came of in
 * company is done again by itself: what is wrong with it is not to be the fault of the others.
 */
export class Together<Step, Done> {
  private readonly asked: Asked<Step, Done>[] = [];
  private isUnderWay = false;

  /**
   * @param write does all of the steps at once; `undefined` for one that it has left
   * @param alone does a single one, whatever it takes
   */
  constructor(
    private readonly write: (steps: Step[]) => Promise<(Done | undefined)[]>,
    private readonly alone: (step: Step) => Promise<Done>,
  ) {}

  do(step: Step): Promise<Done> {
    return new Promise((resolve, reject) => {
      this.asked.push({ step, resolve, reject });
      if (this.isUnderWay) return;
      this.isUnderWay = true;
      // Not yet: several answers of the gateway may have come at once.
      setImmediate(() => void this.go());
    });
  }

  private async go(): Promise<void> {
    while (this.asked.length > 0) {
      let timer: NodeJS.Timeout | undefined;
      const slow = new Promise((resolve) => (timer = setTimeout(resolve, SLOW_MS)));
      await Promise.race([this.end(this.asked.splice(0, MOST)), slow]);
      clearTimeout(timer);
    }
    this.isUnderWay = false;
  }

  private async end(batch: Asked<Step, Done>[]): Promise<void> {
    const done = await this.write(batch.map(({ step }) => step)).catch((): undefined[] => []);
    for (const [index, { step, resolve, reject }] of batch.entries()) {
      const own = done[index];
      if (own === undefined) this.alone(step).then(resolve, reject);
      else resolve(own);
    }
  }
}
