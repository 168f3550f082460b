/** One measured figure, and what it has to reach. */
export interface Figure {
  what: string;
  value: number;
  unit?: string;
  /** Figures with none are there to compare. */
  bar?: { atLeast: number } | { atMost: number };
}

/** A bench is a program that is started by `run.ts` and tells its figures once. */
export function tell(figures: Figure[]): void {
  process.send!(figures, () => process.disconnect());
}

export const median = (values: number[]): number => percentile(values, 50);

export const percentile = (values: number[], percent: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * percent) / 100) - 1)]!;
};

/** Calls `work` for 0 … `count` - 1, always `width` at a time. */
export async function inFlight(width: number, count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
