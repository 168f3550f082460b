/** One measured figure and its bar. */
export interface Figure {
  what: string;
  value: number;
  /** Why it could not be measured. */
  failed?: string;
  unit?: string;
  /** The bar to reach; figures without one are for comparison. */
  bar?: { atLeast: number } | { atMost: number };
}

/** Runs a measurement. Its error becomes the result, so that other figures are still measured. */
export const attempt = <T>(measure: () => Promise<T>): Promise<T | Error> =>
  measure().catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));

export const figure = (what: string, result: number | Error, shown: Pick<Figure, 'unit' | 'bar'> = {}): Figure =>
  result instanceof Error ? { what, value: NaN, failed: result.message, ...shown } : { what, value: result, ...shown };

/** Sends the figures of a bench to `run.ts`, which started it. It is called once. */
export function report(figures: Figure[]): void {
  process.send!(figures, () => process.disconnect());
}

export const median = (values: number[]): number => percentile(values, 50);

export const percentile = (values: number[], percent: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * percent) / 100) - 1)]!;
};

/** Calls `work` for 0 … `count` - 1, with `width` calls in flight. */
export async function inFlight(width: number, count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
